"""A localizer on a split with masks: its class and its box against those of the largest object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.classification import Interval, wilson_interval
from pixelwise.data.dataset import Split
from pixelwise.evaluation.answers import Progress, answers
from pixelwise.evaluation.checks import check_split
from pixelwise.evaluation.report import confusion_csv, split_facts, write_report
from pixelwise.evaluation.scores import extremes
from pixelwise.files import locked
from pixelwise.infer.images import localize_all
from pixelwise.models.localizer import Localizer
from pixelwise.ops.boxes import Corners, box_iou, to_corners
from pixelwise.ops.objects import main_object
from pixelwise.ops.rates import or_none
from pixelwise.report.frames import PREDICTION, TRUTH, framed
from pixelwise.report.pictures import display_rgb
from pixelwise.report.tables import csv_text
from pixelwise.report.tasks import Find, localization_page
from pixelwise.types import Confusion, Image, Labels

SHOWN = 6
"""Worst and best images in the report, of each."""

SIDE = 384
"""Pixels that a picture in the report has along its longer side, at least about half as many."""

ENOUGH = 0.5
"""A box counts as found from this IoU on, as in the detection challenges."""


@dataclass(frozen=True)
class Located:
    """What is true of an image, or said of it: a class and the corners of a box, None without an object."""

    index: int
    box: Corners | None


@dataclass(frozen=True)
class LocatedScore:
    """Scores of the images whose main object is of one class; `images` are those of the truth."""

    name: str
    recall: float
    mean_box_iou: float
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, an undefined score as None."""
        return {
            "name": self.name,
            "recall": or_none(self.recall),
            "mean_box_iou": or_none(self.mean_box_iou),
            "images": self.images,
        }


@dataclass(frozen=True, eq=False)
class LocalizationScores:
    """How well class and box fit the largest object of each image.

    `mean_box_iou` and `found` (the share with the right class and an IoU of at least 0.5) are over the images that
    have an object; `accuracy` of the class also over those `without_object`, where the background is right. Images
    without any label are `left_out`. Intervals are Wilson's, of 95 %, for independent images. `confusion` is int64
    [K, K], rows truth; `image_box_iou` has one value per image, NaN without an object.
    """

    mean_box_iou: float
    accuracy: float
    accuracy_interval: Interval
    found: float
    found_interval: Interval
    classes: tuple[LocatedScore, ...]
    confusion: Confusion
    images: int
    without_object: int
    left_out: int
    image_box_iou: tuple[float, ...]

    @property
    def headline(self) -> tuple[str, float]:
        """The score that training maximises."""
        return "mean_box_iou", self.mean_box_iou

    def as_dict(self) -> dict[str, Any]:
        """The content of `scores.json`: plain values, an undefined score as None."""
        return {
            "mean_box_iou": or_none(self.mean_box_iou),
            "accuracy": or_none(self.accuracy),
            "accuracy_interval": list(self.accuracy_interval),
            "found": or_none(self.found),
            "found_interval": list(self.found_interval),
            "images": self.images,
            "without_object": self.without_object,
            "left_out": self.left_out,
            "classes": [score.as_dict() for score in self.classes],
            "confusion": self.confusion.tolist(),
        }


def evaluate_localizer(
    network: Localizer,
    split: Split,
    *,
    out: str | Path | None = None,
    title: str = "",
    progress: Progress | None = None,
) -> LocalizationScores:
    """Locate the main object of every image of `split` and compare with the largest one of its labels.

    Args:
        network: Runs on the device it is on, in the precision of its bundle.
        split: Images with masks.
        out: Folder for `scores.json`, `confusion.csv`, `images.csv` and `report.html`; without it nothing is
            written.
        title: Heading of the report.
        progress: Called with the images done and their number.

    Raises:
        LayoutError: the dataset has a class per image.
        ClassesError: network and dataset have other classes.
        DataError: the split is empty, or an image does not suit the network; the file is named.
        OutputError: `out` is in use, full or read-only.
    """
    check_split(network, split)
    if out is None:
        return _scores(network, *_ask(network, split, progress))
    with locked(out) as folder:  # before the work: a folder that is in use should not cost an hour
        truths, said = _ask(network, split, progress)
        scores = _scores(network, truths, said)
        worst, best = extremes(scores.image_box_iou, SHOWN)
        names = [spec.name for spec in network.classes]

        def find(index: int) -> Find:
            return _find(split, index, truths[index], said[index], names)

        page = localization_page(
            scores.as_dict(),
            network.classes,
            title=title or f"{network.encoder_name} on {split.name}",
            facts=split_facts(network, split, _facts(network, scores)),
            worst=[find(index) for index in worst],
            best=[find(index) for index in best],
        )
        tables = {
            "confusion.csv": confusion_csv(scores.confusion, names),
            "images.csv": csv_text(_HEAD, _rows(split, names, truths, said)),
        }
        write_report(folder, scores.as_dict(), page, tables)
    return scores


def localization_scores(
    truths: Sequence[Located | None], said: Sequence[Located], names: Sequence[str]
) -> LocalizationScores:
    """All scores of what was said of images, against what is true of them; None is left out."""
    matrix = np.zeros((len(names), len(names)), np.int64)
    image_box_iou = tuple(_overlap(truth, one) for truth, one in zip(truths, said, strict=True))
    right: list[list[bool]] = [[] for _ in names]
    overlaps: list[list[float]] = [[] for _ in names]
    found: list[bool] = []
    for truth, one, overlap in zip(truths, said, image_box_iou, strict=True):
        if truth is None:
            continue
        matrix[truth.index, one.index] += 1
        right[truth.index].append(truth.index == one.index)
        if truth.box is not None:
            overlaps[truth.index].append(overlap)
            found.append(truth.index == one.index and overlap >= ENOUGH)
    every = [hit for hits in right for hit in hits]
    return LocalizationScores(
        mean_box_iou=_mean([value for values in overlaps for value in values]),
        accuracy=_mean(every),
        accuracy_interval=wilson_interval(sum(every), len(every)),
        found=_mean(found),
        found_interval=wilson_interval(sum(found), len(found)),
        classes=tuple(
            LocatedScore(name, _mean(hits), _mean(values), len(hits))
            for name, hits, values in zip(names, right, overlaps, strict=True)
        ),
        confusion=matrix,
        images=len(truths),
        without_object=len(every) - len(found),
        left_out=len(truths) - len(every),
        image_box_iou=image_box_iou,
    )


_HEAD = (
    "image",
    "true",
    "predicted",
    "box_iou",
    *(f"{kind}_{side}" for kind in ("true", "predicted") for side in ("top", "left", "bottom", "right")),
)


def _ask(
    network: Localizer, split: Split, progress: Progress | None
) -> tuple[list[Located | None], list[Located]]:
    background = network.options.background

    def read(index: int) -> tuple[Image, Located | None]:
        sample = split[index]
        return sample.image, _truth(sample.labels, background)

    def ask(images: Sequence[Image]) -> Sequence[Located]:
        shares, boxes = localize_all(network, images)
        size = images[0].shape[0], images[0].shape[1]
        return [
            Located(int(share.argmax()), to_corners(box.tolist(), size))
            for share, box in zip(shares, boxes, strict=True)
        ]

    found = [(one.truth, one.said) for one in answers(network, split, read, ask, progress)]
    return [truth for truth, _ in found], [said for _, said in found]


def _truth(labels: Labels, background: int | None) -> Located | None:
    main = main_object(labels, background)
    if main is not None:
        return Located(main[0], to_corners(main[1], (labels.shape[0], labels.shape[1])))
    if background is not None and (labels == background).any():
        return Located(background, None)
    return None


def _scores(
    network: Localizer, truths: Sequence[Located | None], said: Sequence[Located]
) -> LocalizationScores:
    return localization_scores(truths, said, [spec.name for spec in network.classes])


def _overlap(truth: Located | None, said: Located) -> float:
    if truth is None or truth.box is None or said.box is None:
        return math.nan
    return box_iou(truth.box, said.box)


def _facts(network: Localizer, scores: LocalizationScores) -> dict[str, object]:
    background = network.options.background
    name = "none" if background is None else network.classes[background].name
    return {
        "background": name,
        "images": f"{scores.images:,}, {scores.without_object:,} of them without an object",
    }


def _rows(
    split: Split, names: Sequence[str], truths: Sequence[Located | None], said: Sequence[Located]
) -> list[list[object]]:
    rows: list[list[object]] = []
    for image, truth, one in zip(split.names, truths, said, strict=True):
        overlap = _overlap(truth, one)
        rows.append(
            [
                image,
                "" if truth is None else names[truth.index],
                names[one.index],
                "" if math.isnan(overlap) else f"{overlap:.4f}",
                *_cells(None if truth is None else truth.box),
                *_cells(one.box),
            ]
        )
    return rows


def _cells(box: Corners | None) -> list[str]:
    return [""] * 4 if box is None else [f"{value:.1f}" for value in box]


def _find(split: Split, index: int, truth: Located | None, said: Located, names: Sequence[str]) -> Find:
    picture = display_rgb(split.image(index))
    scale = max(1, SIDE // max(picture.shape[:2]))
    # so that frames are thin in small images too
    picture = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    boxes = [(truth.box if truth is not None else None, TRUTH), (said.box, PREDICTION)]
    scaled = [([scale * side for side in box], spec) for box, spec in boxes if box is not None]
    name = "" if truth is None else names[truth.index]
    return Find(split.names[index], framed(picture, scaled), name, names[said.index], _overlap(truth, said))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
