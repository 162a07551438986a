"""Whether ours reaches in a quarter of the time what a plain recipe on the same network reaches on CamVid.

The plain recipe (`benchmarks/reference_camvid.py`, 25 minutes) had a test mean IoU of 0.417. Ours is
`recipes/camvid/train.yaml` with a budget of 6.25 minutes, three seeds one after the other; each is scored on the test
split at full size, which the budget does not count. Run it where nothing else runs:

    python benchmarks/time_to_accuracy.py CAMVID --out benchmarks/results/time_to_accuracy.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from machine import store

import pixelwise as pw
from pixelwise.config import fill, read_yaml
from pixelwise.training.options import TrainOptions

RECIPE = Path(__file__).parent.parent / "recipes" / "camvid"
PLAIN = Path(__file__).parent / "results" / "reference_camvid.json"


def main() -> None:
    """Train and score each seed, and write the scores beside the plain recipe's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--share", type=float, default=0.25, help="of the plain recipe's minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    plain = json.loads(PLAIN.read_text(encoding="utf-8"))
    minutes = given.share * plain["minutes"]
    runs = [one(given.data, minutes, seed) for seed in given.seeds]
    reached, wanted = mean(run["mean_iou"] for run in runs), plain["scores"]["mean_iou"]
    result: dict[str, Any] = {
        "command": f"python benchmarks/time_to_accuracy.py CAMVID --share {given.share}",
        "plain": {"minutes": plain["minutes"], "mean_iou": wanted, "seed": plain["seed"]},
        "minutes": minutes,
        "runs": runs,
        "mean_iou": reached,
        "reached": all(run["mean_iou"] >= wanted for run in runs),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
    }
    print(
        f"{minutes:g} minutes: mean test mean IoU {reached:.4f}; plain, {plain['minutes']:g} minutes: {wanted:.4f}"
    )
    store(given.out, result)


def one(folder: Path, minutes: float, seed: int) -> dict[str, Any]:
    """Train with one seed and score on the test split."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does
    data = pw.open_dataset(folder, classes=RECIPE / "classes.yaml")
    options = fill(TrainOptions(), read_yaml(RECIPE / "train.yaml")["options"])
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        pw.train(data, out=Path(scratch) / "run", options=replace(options, minutes=minutes, seed=seed))
        seconds = time.monotonic() - began
        scores = pw.evaluate(pw.load(Path(scratch) / "run" / "model.safetensors"), data.test)
        rows = (Path(scratch) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = max(json.loads(row).get("step", 0) for row in rows)
    found = {
        "seed": seed,
        "seconds": round(seconds, 1),
        "steps": steps,
        "mean_iou": round(scores.mean_iou, 4),
        "load_before": load,
    }
    print(json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    main()
