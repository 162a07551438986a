"""Pictures of results: row 43 of the course.

    python recipes/course/figure.py compare --data camvid --work course-work --out docs/pictures/networks.png
    python recipes/course/figure.py compare --data aerial_tiles --work course-work --out aerial.png
    python recipes/course/figure.py look --model course-work/runs/unet@camvid-seed0 --data camvid --out look.png

`compare` shows every network that has been trained on the dataset on the same test images, with its mean IoU. `look`
shows one network on one image: image, truth, prediction, overlay, error map, the probability of every class, and the
mean activation of every level of the encoder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from run import experiments

import pixelwise as pw
from pixelwise.data.dataset import Split
from pixelwise.infer.predictor import evaluating
from pixelwise.report.pictures import colored, display_rgb, error_map, overlay
from pixelwise.types import IGNORE, Sample


def grid(cells: list[list[tuple[str, Any]]], out: Path, *, width: float = 2.4) -> None:
    """Rows of titled pictures (arrays) as one PNG; one-band pictures in false colours."""
    rows, columns = len(cells), max(len(row) for row in cells)
    height, across = cells[0][0][1].shape[:2]
    figure = Figure(figsize=(width * columns, (width * height / across + 0.25) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, line in zip(cells, axes, strict=True):
        for place in line:
            place.set_axis_off()
        for (title, picture), place in zip(row, line, strict=False):
            place.imshow(picture, cmap="magma" if picture.ndim == 2 else None, interpolation="nearest")
            place.set_title(title, fontsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def compare(data: str, work: Path, out: Path, *, count: int = 3) -> None:
    """All finished segmenters on `data`, seed 0, on the same test images."""
    runs = finished(data, work)
    split = pw.open_dataset(work / "data" / data).test
    samples = telling(split, count)
    columns = [
        [("image", display_rgb(sample.image)) for sample in samples],
        [("truth", colored(sample.labels, split.classes)) for sample in samples],
    ]
    for title, run in runs.items():
        model = pw.load(run)
        labels = [pw.predict(model, sample.image) for sample in samples]
        columns.append([(title, colored(one, split.classes)) for one in labels])
    grid([list(row) for row in zip(*columns, strict=True)], out, width=1.8)


def telling(split: Split, count: int) -> list[Sample]:
    """From each of `count` equal parts of the split the first image with the most classes in its truth."""
    shown = [len(np.unique(sample.labels[sample.labels != IGNORE])) for sample in split]
    parts = np.array_split(np.arange(len(split)), min(count, len(split)))
    return [split[max(part.tolist(), key=lambda index: shown[index])] for part in parts]


def finished(data: str, work: Path) -> dict[str, Path]:
    """Runs of the segmentation networks on `data`, by name and mean IoU, in the order of experiments.yaml."""
    runs = {}
    for name, experiment in experiments().items():
        segments = experiment.options.get("task", "segment") == "segment"
        beginnings = experiment.shows.startswith("40")  # one network with several beginnings
        scores = work / "runs" / f"{name}-seed0" / "test" / "scores.json"
        if experiment.data == data and segments and not beginnings and scores.exists():
            score = json.loads(scores.read_text(encoding="utf-8"))["mean_iou"]
            runs[f"{experiment.name} {score:.3f}"] = scores.parent.parent
    if not runs:
        raise SystemExit(f"no finished run on {data} in {work / 'runs'}: python recipes/course/run.py --list")
    return runs


def look(model: pw.Segmenter, sample: Sample, out: Path) -> None:
    """One network on one image."""
    labels = pw.predict(model, sample.image)
    rgb = display_rgb(sample.image)
    pixels = torch.from_numpy(sample.image.copy()).permute(2, 0, 1)[None]
    with evaluating(model):
        ready = model.prepare(pixels)
        probabilities = model(ready).softmax(1)[0]
        maps = model.encoder(model.frame.framed(ready))
    first = [
        ("image", rgb),
        ("truth", colored(sample.labels, model.classes)),
        ("prediction", colored(labels, model.classes)),
        ("overlay", overlay(rgb, labels, model.classes)),
        ("wrong pixels in red", error_map(rgb, sample.labels, labels)),
    ]
    chances = [(spec.name, p.numpy()) for spec, p in zip(model.classes, probabilities, strict=True)]
    levels = [
        (f"level {k}: {m.shape[1]} x {m.shape[2]} x {m.shape[3]}", np.asarray(m[0].mean(0)))
        for k, m in enumerate(maps, start=1)
    ]
    pieces = first + chances + levels
    grid([pieces[start : start + 5] for start in range(0, len(pieces), 5)], out)


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["compare", "look"])
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, default=Path("course-work"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.what == "compare":
        compare(given.data, given.work, given.out)
    else:
        sample = pw.open_dataset(given.work / "data" / given.data).test[given.index]
        look(pw.load(given.model), sample, given.out)


if __name__ == "__main__":
    main()
