"""The two first ideas for segmentation and what they cost: row 32 of the course.

Parameters, multiply-adds, memory and seconds of a training step and of a prediction at 180 x 240, batch 2, for the
sliding patch classifier, the network without pooling and encoder-decoders; and, from the runs of run.py that are in
WORK, the seconds of processor time until each has the validation score with which each of the two first ideas ends.
A score counts from the first validation that reaches it; validations see a part of the images, more of them where a
network is quick.

    python recipes/course/cost.py --work course-work
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from run import experiments
from stored import store

DATA = "camvid"
SIZE = (180, 240)
CLASSES = 11
FIRST = ("patch", "fullres")
LATER = ("fcn8s", "segnet", "hourglass", "unet", "deeplabv3plus", "asymmetric_unet")
FINER = "patch, every 2 pixels"  # no run: as fine as the others
Curve = list[tuple[float, float]]


def measure(name: str) -> dict[str, Any]:
    """Costs of one contender; run in a process of its own, so that the peak memory is its own."""
    import torch

    import pixelwise as pw
    from pixelwise.config import fill

    options = fill(pw.TrainOptions(), experiments()[f"{name.partition(',')[0]}@{DATA}"].options)
    if name == FINER:
        options = fill(options, {"network": {"patch": [32, 2]}})
    torch.manual_seed(0)
    net = pw.build(options.model, encoder=options.encoder, classes=CLASSES, options=options.network)
    images = torch.randn(2, 3, *SIZE)
    labels = torch.randint(0, CLASSES, (2, *SIZE))
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    training, predicting = [], []
    for _ in range(4):
        net.train()
        began = time.perf_counter()
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        training.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net.eval()
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            net(images)
            predicting.append(time.perf_counter() - began)
    facts = pw.describe(net, size=SIZE)
    return {
        "network": name,
        "parameters": facts.parameters,
        "million_multiply_adds_per_image": round(facts.multiply_adds / 1e6, 1),
        "training_memory_mib": round((peak - start) / 1024, 1),
        "training_step_seconds": round(median(training[1:]), 3),
        "prediction_seconds": round(median(predicting[1:]), 3),
    }


def curves(name: str, work: Path) -> list[Curve]:
    """Seconds and mean IoU of every validation of each finished run of `name`."""
    found = []
    for run in sorted((work / "runs").glob(f"{name}@{DATA}-seed*")):
        if (run / "test").exists():
            rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            found.append([(row["seconds"], row["mean_iou"]) for row in rows if "mean_iou" in row])
    return found


def until(score: float, listed: Sequence[Curve]) -> float | None:
    """Seconds until each run has `score` for the first time, on average; None if one of them never has it."""
    reached = [
        next((seconds for seconds, value in curve if round(value, 4) >= score), None) for curve in listed
    ]
    known = [seconds for seconds in reached if seconds is not None]
    return round(fmean(known), 1) if known and len(known) == len(reached) else None


def equal_accuracy(work: Path) -> dict[str, dict[str, float | None]]:
    """For each of the first ideas that has been trained: the score it ends with, and the seconds of every network."""
    every = {name: curves(name, work) for name in (*FIRST, *LATER)}
    found: dict[str, dict[str, float | None]] = {}
    for name in FIRST:
        if every[name]:
            score = round(fmean(curve[-1][1] for curve in every[name]), 4)
            found[name] = {"score": score} | {
                other: until(score, listed) for other, listed in every.items() if listed
            }
            if found[name][name] is None:  # one seed stays below the mean of all
                found[name][name] = round(fmean(curve[-1][0] for curve in every[name]), 1)
    return found


def table(rows: Sequence[dict[str, Any]], equal: dict[str, dict[str, float | None]]) -> str:
    """Costs and seconds as Markdown."""
    heads = [
        "network",
        "parameters",
        "million multiply-adds",
        "training memory, MiB",
        "step, s",
        "prediction, s",
    ]
    heads += [f"s to {found['score']:.3f} ({name})" for name, found in equal.items()]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for row in rows:
        name = row["network"]
        cells = [f"{value:,}" if not isinstance(value, str) else value for value in row.values()]
        for found in equal.values():
            seconds = found.get(name)
            cells.append(
                "no run" if name not in found else "not reached" if seconds is None else f"{seconds:.0f}"
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure each contender alone, read the runs, print and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("course-work"), help="folder of the runs")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one)))
        return
    rows = []
    for name in (FIRST[0], FINER, *FIRST[1:], *LATER):
        call = [sys.executable, __file__, "--one", name]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], file=sys.stderr, flush=True)
    equal = equal_accuracy(given.work)
    print(table(rows, equal))
    command = "python recipes/course/cost.py --work course-work"
    store("cost", {"command": command, "size": SIZE, "batch": 2, "rows": rows, "equal_accuracy": equal})


if __name__ == "__main__":
    main()
