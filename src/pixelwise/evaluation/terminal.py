"""Scores as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pixelwise.classification import ClassificationScores, Interval
from pixelwise.evaluation.evaluated import Evaluation
from pixelwise.evaluation.localization import LocalizationScores
from pixelwise.evaluation.reconstruction import ReconstructionScores
from pixelwise.metrics import Scores

AnyScores = Scores | ClassificationScores | ReconstructionScores | LocalizationScores


def render(scores: AnyScores) -> str:
    """The scores of any task as a text table.

    >>> import numpy as np
    >>> from pixelwise.metrics import scores_from_confusion
    >>> print(render(scores_from_confusion(np.array([[3, 1], [0, 4]]), ["road", "house"], images=1)))
    class    IoU   Dice  precision  recall  pixels
    road   0.750  0.857      1.000   0.750       4
    house  0.800  0.889      0.800   1.000       4
    mean IoU 0.775   pixel accuracy 0.875   mean Dice 0.873   1 image, 8 pixels
    """
    if isinstance(scores, ClassificationScores):
        return "\n".join(_classification(scores))
    if isinstance(scores, ReconstructionScores):
        return "\n".join(_reconstruction(scores))
    if isinstance(scores, LocalizationScores):
        return "\n".join(_localization(scores))
    return "\n".join(_segmentation(scores))


def _segmentation(scores: Scores) -> list[str]:
    lines = _table(
        ("class", "IoU", "Dice", "precision", "recall", "pixels"),
        [
            (one.name, *_numbers(one.iou, one.dice, one.precision, one.recall), f"{one.pixels:,}")
            for one in scores.classes
        ],
    )
    lines.append(
        f"mean IoU {_number(scores.mean_iou)}   pixel accuracy {_number(scores.pixel_accuracy)}"
        f"   mean Dice {_number(scores.mean_dice)}   {_images(scores.images)}, {scores.pixels:,} pixels"
    )
    if isinstance(scores, Evaluation):
        lines += _trust(scores)
    if scores.undefined:
        lines.append(f"in neither truth nor prediction, left out of the means: {', '.join(scores.undefined)}")
    return lines


def _trust(scores: Evaluation) -> list[str]:
    lines = []
    if scores.intervals is not None:
        lines.append(
            f"95 % interval of mean IoU {_interval(scores.intervals.mean_iou.interval)},"
            f" drawn: {scores.intervals.units.origin}"
        )
        lines += [f"note: {note}" for note in scores.intervals.notes]
    if scores.boundary is not None and scores.calibration is not None:
        lines.append(
            f"boundary IoU {_number(scores.boundary.mean_boundary_iou)}"
            f"   boundary F {_number(scores.boundary.mean_boundary_f)}"
            f"   calibration error {_number(scores.calibration.ece)}"
        )
    return lines


def _classification(scores: ClassificationScores) -> list[str]:
    lines = _table(
        ("class", "F1", "precision", "recall", "images"),
        [
            (one.name, *_numbers(one.f1, one.precision, one.recall), f"{one.images:,}")
            for one in scores.classes
        ],
    )
    lines.append(
        f"accuracy {_number(scores.accuracy)} {_interval(scores.accuracy_interval)}"
        f"   mean recall {_number(scores.mean_recall)}   {_images(scores.images)}"
    )
    if scores.roc is not None:
        lines.append(
            f"area under the ROC curve {_number(scores.roc.area)} {_interval(scores.roc.area_interval)}"
        )
    return lines


def _reconstruction(scores: ReconstructionScores) -> list[str]:
    psnr = "" if math.isnan(scores.psnr) else f"   PSNR {scores.psnr:.2f} dB"
    return [
        f"explained variance {_number(scores.explained_variance)}   mean squared error"
        f" {scores.mean_squared_error:.4g}   mean absolute error {scores.mean_absolute_error:.4g}{psnr}"
        f"   {_images(scores.images)}"
    ]


def _localization(scores: LocalizationScores) -> list[str]:
    lines = _table(
        ("class", "box IoU", "recall", "images"),
        [(one.name, *_numbers(one.mean_box_iou, one.recall), f"{one.images:,}") for one in scores.classes],
    )
    lines.append(
        f"mean box IoU {_number(scores.mean_box_iou)}"
        f"   class accuracy {_number(scores.accuracy)} {_interval(scores.accuracy_interval)}"
        f"   right class and IoU >= 0.5 {_number(scores.found)} {_interval(scores.found_interval)}"
        f"   {_images(scores.images)}, {scores.without_object:,} without an object"
    )
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [_line(row, widths) for row in (head, *rows)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([row[0].ljust(widths[0]), *numbers])


def _numbers(*values: float) -> tuple[str, ...]:
    return tuple(_number(value) for value in values)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _interval(bounds: Interval) -> str:
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _images(count: int) -> str:
    return f"{count:,} {'image' if count == 1 else 'images'}"
