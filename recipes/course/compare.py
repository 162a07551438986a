"""The difference between two networks of the comparison, with its interval over seeds and images.

Both are trained with several seeds (`run.py`). Every test image is judged by every run; mean IoU comes from the counts
of all images together. The 95 % interval is a bootstrap of 2000 rounds that draws seeds for each network by itself and
blocks of neighbouring images for both together, since frames of a video are alike.

    python recipes/course/compare.py asymmetric_unet unet --data camvid --work course-work
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pixelwise as pw
from pixelwise.ops.confusion import confusion

RESULTS = Path(__file__).resolve().parent.parent / "results"
BLOCK = 15  # neighbouring images that are drawn together


def counts(run: Path, split: pw.Split) -> NDArray[np.int64]:
    """One confusion matrix per test image: [images, K, K]."""
    model = pw.load(run)
    return np.stack(
        [confusion(sample.labels, pw.predict(model, sample.image), len(model.classes)) for sample in split]
    )


def mean_iou(table: NDArray[np.int64]) -> float:
    """Mean IoU of counts added up, over the classes that occur."""
    hits = np.diagonal(table, axis1=-2, axis2=-1).astype(float)
    union = table.sum(-1) + table.sum(-2) - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.nanmean(hits / union))


def difference(first: NDArray[Any], second: NDArray[Any], *, rounds: int = 2000) -> dict[str, Any]:
    """Of counts [seeds, images, K, K]: means over seeds, their difference and its interval."""
    rng = np.random.default_rng(0)
    images = first.shape[1]
    starts = np.arange(0, images, BLOCK)

    def score(runs: NDArray[Any], seeds: NDArray[Any], places: NDArray[Any]) -> float:
        return float(np.mean([mean_iou(runs[seed, places].sum(0)) for seed in seeds]))

    drawn = []
    for _ in range(rounds):
        chosen = rng.choice(starts, len(starts))
        places = np.concatenate([np.arange(start, min(start + BLOCK, images)) for start in chosen])
        one, other = (rng.integers(len(runs), size=len(runs)) for runs in (first, second))
        drawn.append(score(first, one, places) - score(second, other, places))
    everything = np.arange(images)
    means = [score(runs, np.arange(len(runs)), everything) for runs in (first, second)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "means": [round(value, 4) for value in means],
        "difference": round(means[0] - means[1], 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def main() -> None:
    """Judge, compare, store and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--data", required=True, help="as in experiments.yaml")
    parser.add_argument("--work", type=Path, default=Path("course-work"))
    given = parser.parse_args()
    split = pw.open_dataset(given.work / "data" / given.data).test
    runs = {
        name: sorted((given.work / "runs").glob(f"{name}@{given.data}-seed*"))
        for name in (given.first, given.second)
    }
    tables = {name: np.stack([counts(run, split) for run in found]) for name, found in runs.items()}
    names = list(tables)
    result = {
        "experiment": f"{names[0]} - {names[1]}@{given.data}",
        "command": f"python recipes/course/compare.py {names[0]} {names[1]} --data {given.data}",
        "seeds": {name: [int(run.name[-1]) for run in found] for name, found in runs.items()},
        "images": len(split),
        "block": BLOCK,
        **difference(tables[names[0]], tables[names[1]]),
    }
    path = RESULTS / f"{names[0]}-{names[1]}+{given.data}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
