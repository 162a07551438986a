"""Intervals of the scores that overlap gives, from the counts per image that `Scores` keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pixelwise.data.groups import Groups
from pixelwise.errors import DataError
from pixelwise.evaluation.intervals import NOTE, Estimate, Floats, Measure, estimates, influences
from pixelwise.evaluation.units import Units, units_of
from pixelwise.metrics import Scores
from pixelwise.metrics.overlap import (
    ImageCounts,
    dice,
    frequency_weighted_iou,
    iou,
    pixel_accuracy,
    precision,
    recall,
)


@dataclass(frozen=True)
class ClassIntervals:
    """The scores of one class with their intervals."""

    name: str
    iou: Estimate
    dice: Estimate
    precision: Estimate
    recall: Estimate

    def as_dict(self) -> dict[str, Any]:
        """The keys that `scores.json` has for a class with intervals."""
        return {
            "name": self.name,
            "iou_interval": _bounds(self.iou),
            "dice_interval": _bounds(self.dice),
            "precision_interval": _bounds(self.precision),
            "recall_interval": _bounds(self.recall),
            "interval_reliable": self.iou.reliable,
        }


@dataclass(frozen=True, eq=False)
class ScoreIntervals:
    """The scores of a dataset with their 95 % intervals, over other images of its kind."""

    mean_iou: Estimate
    pixel_accuracy: Estimate
    mean_dice: Estimate
    frequency_weighted_iou: Estimate
    classes: tuple[ClassIntervals, ...]
    units: Units

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of an interval should know, in full sentences; empty where there is nothing to say."""
        notes = [self.units.note] if self.units.note else []
        defined = [score for score in self.classes if score.iou.value >= 0]
        rare = [score.name for score in defined if not score.iou.reliable]
        if len(rare) == len(defined) and not self.mean_iou.reliable:
            return (*notes, f"every score: {NOTE}")
        if not self.mean_iou.reliable:
            notes.append(f"mean IoU: {NOTE}")
        if rare:
            notes.append(f"{', '.join(rare)}: {NOTE}")
        return tuple(notes)

    def as_dict(self) -> dict[str, Any]:
        """The keys that `scores.json` has where intervals are computed."""
        return {
            "mean_iou_interval": _bounds(self.mean_iou),
            "pixel_accuracy_interval": _bounds(self.pixel_accuracy),
            "mean_dice_interval": _bounds(self.mean_dice),
            "frequency_weighted_iou_interval": _bounds(self.frequency_weighted_iou),
            "interval_reliable": self.mean_iou.reliable,
            "interval_units": self.units.count,
            "interval_units_origin": self.units.origin,
            "interval_notes": list(self.notes),
            "classes": [score.as_dict() for score in self.classes],
        }


def score_intervals(scores: Scores, groups: Groups | Units | Sequence[str]) -> ScoreIntervals:
    """The intervals of `scores`, whose images belong to `groups` (see `pixelwise.data.groups`), in order.

    Raises:
        DataError: the scores were not counted image by image, or the groups are those of other images.
    """
    counts, units = image_counts(scores), groups if isinstance(groups, Units) else units_of(groups)
    check_images(len(counts), len(units.of))

    def of(measure: Measure, *, mean: bool = False) -> tuple[Estimate, ...]:
        return estimates(influences(counts, measure, units, mean=mean))

    ious, dices, precisions, recalls = (of(CLASS_MEASURES[name], mean=True) for name in CLASS_MEASURES)
    rows = zip((one.name for one in scores.classes), ious, dices, precisions, recalls, strict=False)
    return ScoreIntervals(
        mean_iou=ious[-1],
        pixel_accuracy=of(accuracy)[0],
        mean_dice=dices[-1],
        frequency_weighted_iou=of(frequency_weighted)[0],
        classes=tuple(ClassIntervals(*row) for row in rows),
        units=units,
    )


def image_counts(scores: Scores) -> ImageCounts:
    """The counts per image [images, K, 3] of scores that have them.

    Raises:
        DataError: the scores were made of one matrix for all images.
    """
    if scores.image_counts is None or not len(scores.image_counts):
        raise DataError(
            "these scores have no counts per image, so nothing tells how they vary",
            remedy="evaluate the images one by one, with ScoreCounter.add or pixelwise.evaluate",
        )
    return scores.image_counts


def check_images(images: int, grouped: int) -> None:
    """Refuse groups of other images."""
    if images != grouped:
        raise DataError(
            f"{grouped} groups for {images} images",
            remedy="give one group per image, in the order of the images",
        )


def accuracy(counts: Floats) -> Floats:
    """Pixel accuracy as a `Measure` of one score [..., 1]."""
    return pixel_accuracy(counts)[..., None]


def frequency_weighted(counts: Floats) -> Floats:
    """The frequency-weighted IoU as a `Measure` of one score [..., 1]."""
    return frequency_weighted_iou(counts)[..., None]


CLASS_MEASURES: dict[str, Measure] = {"iou": iou, "dice": dice, "precision": precision, "recall": recall}


def _bounds(estimate: Estimate) -> list[float] | None:
    bounds: list[float] | None = estimate.as_dict()["interval"]
    return bounds
