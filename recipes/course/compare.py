"""The difference between two networks of the comparison, with its interval over seeds and images.

Both are trained with several seeds (`run.py`). Every test image is judged by every run; mean IoU comes from the counts
of all images together. The 95 % interval and the p value are those of `pixelwise compare`: over seeds and over blocks
of neighbouring images, since frames of a video are alike (docs/intervals.md).

    python recipes/course/compare.py asymmetric_unet unet --data camvid --work course-work
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from stored import store

import pixelwise as pw
from pixelwise.data.groups import find_groups
from pixelwise.evaluation.comparison import compare_runs


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
    scores = {name: [pw.evaluate(pw.load(run), split) for run in found] for name, found in runs.items()}
    found = compare_runs(scores[given.second], scores[given.first], find_groups(split))
    result = {
        "experiment": f"{given.first} - {given.second}@{given.data}",
        "command": f"python recipes/course/compare.py {given.first} {given.second} --data {given.data}",
        "seeds": {name: [int(run.name[-1]) for run in listed] for name, listed in runs.items()},
        "images": len(split),
        "drawn": found.units.origin,
        "means": [round(found.mean_iou.second, 4), round(found.mean_iou.first, 4)],
        "difference": round(found.mean_iou.difference, 4),
        "interval": [round(bound, 4) for bound in found.mean_iou.interval],
        "p": round(found.mean_iou.p, 4),
    }
    store(f"{given.first}-{given.second}+{given.data}", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
