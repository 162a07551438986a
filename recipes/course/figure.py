"""Pictures of results: rows 41 and 43 of the course.

    python recipes/course/figure.py compare --data camvid --work course-work --out docs/pictures/networks.png
    python recipes/course/figure.py compare --data aerial_tiles --work course-work --out aerial.png
    python recipes/course/figure.py look --model course-work/runs/unet@camvid-seed0 --data camvid --out look.png
    python recipes/course/figure.py tasks --model course-work/runs/unet@camvid-seed0 --data camvid --out tasks.png

`compare` shows every network that has been trained on the dataset on the same test images, with its mean IoU. `look`
shows one network on one image: image, truth, prediction, overlay, error map, the probability of every class, and the
mean activation of every level of the encoder. `tasks` shows what each of the four tasks answers on one image, read off
the class map of one network. Images are those of --work, where run.py has prepared them, or of --datasets, the folder
that holds the datasets by name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from run import experiments, opened

import pixelwise as pw
from pixelwise.data.dataset import Split
from pixelwise.infer.predictor import evaluating
from pixelwise.ops.boxes import to_corners
from pixelwise.ops.colors import distinct_colors
from pixelwise.ops.objects import Object, main_object, objects
from pixelwise.report.frames import framed
from pixelwise.report.pictures import colored, display_rgb, error_map, overlay
from pixelwise.types import IGNORE, ClassSpec, Sample

THINGS = ("sign_symbol", "car", "pedestrian", "bicyclist")
"""Classes of which an image shows single objects."""

ACROSS = 7
"""Pictures in a row of `look`."""


def grid(
    cells: list[list[tuple[str, Any]]], out: Path, *, classes: Sequence[ClassSpec], width: float = 2.4
) -> None:
    """Rows of titled pictures (arrays) as one PNG, the colours of the classes below; one band in false colours."""
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
    handles = [Patch(facecolor=spec.color, edgecolor="0.5", label=spec.name) for spec in classes]
    columns_below = min(len(classes), max(3, round(width * columns)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns_below, fontsize=7, frameon=False)
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
    grid([list(row) for row in zip(*columns, strict=True)], out, classes=split.classes, width=1.8)


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
    rows = [pieces[start : start + ACROSS] for start in range(0, len(pieces), ACROSS)]
    grid(rows, out, classes=model.classes, width=1.5)


def tasks(model: pw.Segmenter, sample: Sample, out: Path) -> None:
    """What each task answers on one image, all of it read off the class map of `model`."""
    labels, rgb = pw.predict(model, sample.image), display_rgb(sample.image)
    main = main_object(labels, None)
    if main is None:
        raise SystemExit(f"{sample.name} holds no class")
    index, box = main
    corners = to_corners(box, (labels.shape[0], labels.shape[1]))
    stuff = [k for k, spec in enumerate(model.classes) if spec.name not in THINGS]
    found = objects(labels, skip=stuff, min_area=max(1, labels.size // 2000))
    boxes = [(one.box, model.classes[one.class_index]) for one in found]
    single = (rgb * 0.35).astype(np.uint8)
    for one, color in zip(found, distinct_colors(max(2, len(found))), strict=False):
        single[_inside(labels, one)] = ClassSpec("object", color).rgb
    pieces = [
        ("image", rgb),
        (f"one class, one box: {model.classes[index].name}", framed(rgb, [(corners, model.classes[index])])),
        (f"a class and a box each: {len(found)} objects", framed(rgb, boxes)),
        ("their pixels: those that touch are one", single),
        ("a class for each pixel", colored(labels, model.classes)),
    ]
    grid([pieces], out, classes=model.classes)


def _inside(labels: Any, one: Object) -> Any:
    """The pixels [H, W] of the object `one` of a class map."""
    numbered, count = scipy.ndimage.label(labels == one.class_index, np.ones((3, 3)))
    top, left, bottom, right = one.box
    pixels = np.bincount(numbered[top:bottom, left:right].ravel(), minlength=count + 1)
    pixels[0] = 0
    return numbered == int(np.flatnonzero(pixels == one.area)[0])


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["compare", "look", "tasks"])
    parser.add_argument("--data", required=True, help="as in experiments.yaml")
    parser.add_argument("--datasets", type=Path, help="read the images from here, and not from --work")
    parser.add_argument("--work", type=Path, default=Path("course-work"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.what == "compare":
        compare(given.data, given.work, given.out)
        return
    if given.datasets is None:
        split = pw.open_dataset(given.work / "data" / given.data).test
    else:
        experiment = next(one for one in experiments().values() if one.data == given.data)
        split = opened(experiment, given.datasets, given.work).test
    draw = look if given.what == "look" else tasks
    draw(pw.load(given.model), split[given.index], given.out)


if __name__ == "__main__":
    main()
