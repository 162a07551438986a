"""Pictures of results: row 43 of the course.

    python recipes/course/figure.py compare --data camvid --work course-work --out docs/pictures/networks.png
    python recipes/course/figure.py look --model course-work/runs/unet@camvid-seed0 --data camvid --out look.png

`compare` shows every trained network on the same test images. `look` shows one network on one image: image, truth,
prediction, overlay, error map, the probability of every class, and the mean activation of every level of the encoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import pixelwise as pw
from pixelwise.infer.predictor import evaluating
from pixelwise.report.pictures import colored, display_rgb, error_map, overlay
from pixelwise.types import Sample


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
    """All runs on `data`, seed 0, on the same evenly spaced test images."""
    runs = sorted((work / "runs").glob(f"*@{data}-seed0"))
    samples = list(pw.open_dataset(work / "data" / data).test.evenly(count))
    cells: list[list[tuple[str, Any]]] = [[("image", display_rgb(sample.image)) for sample in samples]]
    models = {run.name.partition("@")[0]: pw.load(run) for run in runs}
    classes = next(iter(models.values())).classes
    cells.append([("truth", colored(sample.labels, classes)) for sample in samples])
    for name, model in models.items():
        cells.append([(name, colored(pw.predict(model, sample.image), classes)) for sample in samples])
    grid([list(column) for column in zip(*cells, strict=True)], out, width=1.8)


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
