"""How many masks that were moved `check` finds among right ones, and how many right ones it names.

python benchmarks/moved_masks.py DATA [--classes FILE] [--share 0.04] [--seed 0] [--out FILE]

Every mask is moved sideways once, to the left or to the right by a share of the width; what comes in is unlabelled.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from machine import store

from pixelwise.data.alignment import outlines
from pixelwise.data.dataset import open_dataset
from pixelwise.data.displaced import Peak, find_displaced, find_peak
from pixelwise.types import IGNORE, Image, Labels


def peak_of(image: Image, labels: Labels) -> Peak | None:
    """Where the labels fit best."""
    found = outlines(image, labels)
    return None if found is None else find_peak(found)


def moved(labels: Labels, by: int) -> Labels:
    """Labels `by` columns further to the right."""
    result = np.roll(labels, by, axis=1)
    if by > 0:
        result[:, :by] = IGNORE
    elif by < 0:
        result[:, by:] = IGNORE
    return result


def measure(data: Path, classes: Path | None, share: float, seed: int) -> dict[str, Any]:
    """Counts over all splits."""
    rng = np.random.default_rng(seed)
    dataset = open_dataset(data, classes=classes)
    untouched, found, exact, masks = [], 0, 0, 0
    for split in (dataset.train, dataset.val, dataset.test):
        for index in range(len(split)):
            sample, mask = split[index], Path(f"{split.name}/{index}")
            masks += 1
            peak = peak_of(sample.image, sample.labels)
            if peak is not None:
                untouched.append((mask, peak))
            by = int(sample.labels.shape[1] * share) * int(rng.choice([-1, 1]))
            peak = peak_of(sample.image, moved(sample.labels, by))
            found += peak is not None and peak.elsewhere
            exact += (
                peak is not None and peak.elsewhere and abs(peak.columns + by) <= 4 and abs(peak.rows) <= 4
            )
    named = find_displaced(untouched)
    follows = bool(find_displaced([*untouched, (Path("one"), Peak(9, 9, 99.0, 0.0))]))
    return {
        "masks": masks,
        "follow_edges_as_a_rule": follows,
        "named_untouched": [str(mask) for mask, _ in named],
        "moved_found": found,
        "moved_measured_within_4_pixels": exact,
        "share": share,
        "seed": seed,
    }


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--classes", type=Path)
    parser.add_argument("--share", type=float, default=0.04, help="of the width")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result = measure(given.data, given.classes, given.share, given.seed)
    print(json.dumps(result, indent=1))
    store(given.out, result)


if __name__ == "__main__":
    main()
