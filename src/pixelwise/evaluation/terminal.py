"""Scores as text for a terminal."""

from __future__ import annotations

import math

from pixelwise.classification import ClassificationScores, Interval
from pixelwise.evaluation.evaluated import Evaluation
from pixelwise.evaluation.localization import LocalizationScores
from pixelwise.evaluation.reconstruction import ReconstructionScores
from pixelwise.metrics import Scores
from pixelwise.metrics.boundaryscores import BoundaryScores
from pixelwise.report.tables import aligned, number

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


def render_boundary(scores: BoundaryScores) -> str:
    """Boundary scores as a text table; distances where they were measured.

    >>> import numpy as np
    >>> from pixelwise.metrics.boundary import BoundaryCounter
    >>> counter = BoundaryCounter(["ground", "house"], width=1)
    >>> counter.add(np.eye(3, dtype=np.uint8), np.eye(3, dtype=np.uint8))
    >>> print(render_boundary(counter.scores()))
    class   boundary IoU  boundary F  precision  recall  mean HD95 px  mean ASSD px
    ground         1.000       1.000      1.000   1.000         0.000         0.000
    house          1.000       1.000      1.000   1.000         0.000         0.000
    mean boundary IoU 1.000 (width 1 px)   mean boundary F 1.000 (tolerance 1 px)
    """
    heads = ["class", "boundary IoU", "boundary F", "precision", "recall"]
    if scores.unit:
        heads += [f"mean HD95 {scores.unit}", f"mean ASSD {scores.unit}"]
    rows = []
    for one in scores.classes:
        values = [one.boundary_iou, one.boundary_f, one.boundary_precision, one.boundary_recall]
        if scores.unit:
            values += [one.image_mean_hd95, one.image_mean_assd]
        rows.append([one.name, *(number(value) for value in values)])
    lines = aligned(heads, rows)
    lines.append(
        f"mean boundary IoU {number(scores.mean_boundary_iou)} (width {_span(*scores.width)} px)"
        f"   mean boundary F {number(scores.mean_boundary_f)} (tolerance {_span(*scores.tolerance)} px)"
    )
    if scores.undefined:
        lines.append(f"without a contour, left out of the means: {', '.join(scores.undefined)}")
    return "\n".join(lines)


def _segmentation(scores: Scores) -> list[str]:
    lines = aligned(
        ("class", "IoU", "Dice", "precision", "recall", "pixels"),
        [
            (one.name, *_numbers(one.iou, one.dice, one.precision, one.recall), f"{one.pixels:,}")
            for one in scores.classes
        ],
    )
    lines.append(
        f"mean IoU {number(scores.mean_iou)}   pixel accuracy {number(scores.pixel_accuracy)}"
        f"   mean Dice {number(scores.mean_dice)}   {_images(scores.images)}, {scores.pixels:,} pixels"
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
            f" over {scores.intervals.units.origin}"
        )
        lines += [f"note: {note}" for note in scores.intervals.notes]
    if scores.boundary is not None and scores.calibration is not None:
        means = scores.boundary_intervals.means if scores.boundary_intervals is not None else {}
        iou, f = (
            f" {_interval(means[name].interval)}" if name in means else ""
            for name in ("mean_boundary_iou", "mean_boundary_f")
        )
        lines.append(
            f"boundary IoU {number(scores.boundary.mean_boundary_iou)}{iou}"
            f"   boundary F {number(scores.boundary.mean_boundary_f)}{f}"
            f"   calibration error {number(scores.calibration.ece)}"
        )
    return lines


def _classification(scores: ClassificationScores) -> list[str]:
    lines = aligned(
        ("class", "F1", "precision", "recall", "images"),
        [
            (one.name, *_numbers(one.f1, one.precision, one.recall), f"{one.images:,}")
            for one in scores.classes
        ],
    )
    lines.append(
        f"accuracy {number(scores.accuracy)} {_interval(scores.accuracy_interval)}"
        f"   mean recall {number(scores.mean_recall)}   {_images(scores.images)}"
    )
    if scores.roc is not None:
        lines.append(
            f"area under the ROC curve {number(scores.roc.area)} {_interval(scores.roc.area_interval)}"
        )
    if scores.grouped:
        lines.append(f"95 % intervals over {scores.interval_units:,} units, {scores.interval_units_origin}")
    return lines + [f"note: {note}" for note in scores.interval_notes]


def _reconstruction(scores: ReconstructionScores) -> list[str]:
    psnr = "" if math.isnan(scores.psnr) else f"   PSNR {scores.psnr:.2f} dB"
    return [
        f"explained variance {number(scores.explained_variance)}   mean squared error"
        f" {scores.mean_squared_error:.4g}   mean absolute error {scores.mean_absolute_error:.4g}{psnr}"
        f"   {_images(scores.images)}"
    ]


def _localization(scores: LocalizationScores) -> list[str]:
    lines = aligned(
        ("class", "box IoU", "recall", "images"),
        [(one.name, *_numbers(one.mean_box_iou, one.recall), f"{one.images:,}") for one in scores.classes],
    )
    lines.append(
        f"mean box IoU {number(scores.mean_box_iou)}"
        f"   class accuracy {number(scores.accuracy)} {_interval(scores.accuracy_interval)}"
        f"   right class and IoU >= 0.5 {number(scores.found)} {_interval(scores.found_interval)}"
        f"   {_images(scores.images)}, {scores.without_object:,} without an object"
    )
    return lines


def _numbers(*values: float) -> tuple[str, ...]:
    return tuple(number(value) for value in values)


def _interval(bounds: Interval) -> str:
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _images(count: int) -> str:
    return f"{count:,} {'image' if count == 1 else 'images'}"
