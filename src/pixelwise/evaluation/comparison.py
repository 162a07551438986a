"""Two models on the same images, each of one run or of several with other seeds; and several runs summed up.

Both models see the same images, so what an image does to both of them cancels: the influence of a unit on the
difference is the difference of its influences, averaged over the runs. The variance of the difference has two levels,
units of images and runs: `var(units) + var(runs A) / runs A + var(runs B) / runs B`, with the degrees of freedom of
Welch and Satterthwaite, so that two or three runs make a wide interval. One run says nothing about other seeds: then
the interval is about these very networks, and the comparison says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.classification import Interval
from pixelwise.data.groups import Groups
from pixelwise.errors import DataError
from pixelwise.evaluation.intervals import (
    NOTE,
    Floats,
    Influences,
    influences,
    quantile,
    share_interval,
)
from pixelwise.evaluation.overlaps import accuracy, check_images, image_counts
from pixelwise.evaluation.units import Units, units_of
from pixelwise.metrics import Scores
from pixelwise.metrics.overlap import iou
from pixelwise.ops.rates import or_none


@dataclass(frozen=True)
class Difference:
    """A score of two models and how far the second is above the first.

    `p` is how often so large a difference would come up between equal models. All are NaN where the score is undefined
    for one of them.
    """

    name: str
    first: float
    second: float
    difference: float
    interval: Interval
    p: float
    reliable: bool

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.interval[0] > 0 or self.interval[1] < 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, what is undefined as None."""
        known = not math.isnan(self.difference)
        return {
            "name": self.name,
            "first": or_none(self.first),
            "second": or_none(self.second),
            "difference": self.difference if known else None,
            "interval": list(self.interval) if known else None,
            "p": self.p if known else None,
            "interval_reliable": self.reliable,
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """Mean IoU, pixel accuracy and the IoU of each class of two models on the same images.

    `runs` are the mean IoU of each run of the first and of the second model.
    """

    mean_iou: Difference
    pixel_accuracy: Difference
    classes: tuple[Difference, ...]
    runs: tuple[tuple[float, ...], tuple[float, ...]]
    images: int
    units: Units

    @property
    def rows(self) -> tuple[Difference, ...]:
        """All of them, the means first."""
        return self.mean_iou, self.pixel_accuracy, *self.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know, in full sentences."""
        notes = [self.units.note] if self.units.note else []
        if min(map(len, self.runs)) < 2:
            notes.append(
                "one run of a model says nothing about other seeds: this is about these networks only"
            )
        return (*notes, *_marked([one for one in self.rows if one.p >= 0]))

    def as_dict(self) -> dict[str, Any]:
        """The content of `compare.json`."""
        return {
            "mean_iou": self.mean_iou.as_dict(),
            "pixel_accuracy": self.pixel_accuracy.as_dict(),
            "classes": [one.as_dict() for one in self.classes],
            "runs": [list(values) for values in self.runs],
            "images": self.images,
            "interval_units": self.units.count,
            "interval_units_origin": self.units.origin,
            "interval_notes": list(self.notes),
        }


@dataclass(frozen=True)
class RunsEstimate:
    """A score of several runs: each value, their mean, their standard deviation, the interval over runs and images."""

    name: str
    values: tuple[float, ...]
    mean: float
    deviation: float
    interval: Interval
    reliable: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, what is undefined as None."""
        known = not math.isnan(self.mean)
        return {
            "name": self.name,
            "values": [or_none(value) for value in self.values],
            "mean": self.mean if known else None,
            "standard_deviation": or_none(self.deviation),
            "interval": list(self.interval) if known else None,
            "interval_reliable": self.reliable,
        }


@dataclass(frozen=True, eq=False)
class RunsSummary:
    """Several runs of one recipe on the same images."""

    mean_iou: RunsEstimate
    pixel_accuracy: RunsEstimate
    classes: tuple[RunsEstimate, ...]
    images: int
    units: Units

    @property
    def rows(self) -> tuple[RunsEstimate, ...]:
        """All of them, the means first."""
        return self.mean_iou, self.pixel_accuracy, *self.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know, in full sentences."""
        runs = len(self.mean_iou.values)
        few = f"{runs} runs: the interval takes Student's t with few degrees of freedom" if runs < 5 else ""
        alone = "one run says nothing about other seeds: the interval is over images only"
        notes = [note for note in (self.units.note, alone if runs < 2 else few) if note]
        return (*notes, *_marked([one for one in self.rows if one.mean >= 0]))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {
            "mean_iou": self.mean_iou.as_dict(),
            "pixel_accuracy": self.pixel_accuracy.as_dict(),
            "classes": [one.as_dict() for one in self.classes],
            "images": self.images,
            "interval_units": self.units.count,
            "interval_units_origin": self.units.origin,
            "interval_notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class _Pooled:
    """Runs of one model: scores [runs, S], their influences averaged over runs, the variance that runs add [S]."""

    values: Floats
    images: Influences
    variance: Floats

    @property
    def freedom(self) -> int:
        return len(self.values) - 1


def compare_runs(
    first: Sequence[Scores], second: Sequence[Scores], groups: Groups | Units | Sequence[str]
) -> Comparison:
    """How far the runs `second` are above the runs `first`; all were scored on the same images, in the same order.

    Raises:
        DataError: other images or classes, or scores without counts per image.
    """
    names = _names([*first, *second])
    units = groups if isinstance(groups, Units) else units_of(groups)
    one, other = _pooled(first, units), _pooled(second, units)
    between = Influences(
        other.images.values - one.images.values,
        other.images.of_unit - one.images.of_unit,
        other.images.of_image - one.images.of_image,
        units,
    )
    rows = []
    for k, name in enumerate(("mean IoU", "pixel accuracy", *names)):
        parts = [(float(between.variance[k]), float(between.freedom[k]))]
        parts += [(float(model.variance[k]), model.freedom) for model in (one, other) if model.freedom]
        value = float(between.values[k])
        interval, p = _tested(value, parts) if units.count > 1 else ((-1.0, 1.0), 1.0)
        # Equal models differ nowhere; then it counts how many units the score itself has.
        seen = between if between.variance[k] > 0 else one.images
        reliable = bool(seen.reliable[k])
        if math.isnan(value):
            interval, p = (math.nan, math.nan), math.nan
        means = float(one.images.values[k]), float(other.images.values[k])
        rows.append(Difference(name, *means, value, interval, p, reliable))
    runs = tuple(one.values[:, 0].tolist()), tuple(other.values[:, 0].tolist())
    return Comparison(rows[0], rows[1], tuple(rows[2:]), runs, len(units.of), units)


def compare_apart(first: Scores, second: Scores, groups: tuple[Groups, Groups]) -> Difference:
    """How far the mean IoU `second` is above `first`, each of a model on images of its own.

    Raises:
        DataError: other classes, or scores without counts per image.
    """
    _names([first, second])
    both = [_pooled([scores], units_of(given)) for scores, given in zip((first, second), groups, strict=True)]
    one, other = (model.images for model in both)
    value = float(other.values[0] - one.values[0])
    parts = [(float(model.variance[0]), float(model.freedom[0])) for model in (one, other)]
    alone = min(one.units.count, other.units.count) < 2
    interval, p = ((-1.0, 1.0), 1.0) if alone else _tested(value, parts)
    if math.isnan(value):
        interval, p = (math.nan, math.nan), math.nan
    reliable = bool(one.reliable[0] and other.reliable[0])
    return Difference("mean IoU", float(one.values[0]), float(other.values[0]), value, interval, p, reliable)


def summarise_runs(runs: Sequence[Scores], groups: Groups | Units | Sequence[str]) -> RunsSummary:
    """Mean, standard deviation and interval over runs and images of scores of the same images.

    Raises:
        DataError: other images or classes, or scores without counts per image.
    """
    names = _names(runs)
    units = groups if isinstance(groups, Units) else units_of(groups)
    pooled = _pooled(runs, units)
    rows = []
    for k, name in enumerate(("mean IoU", "pixel accuracy", *names)):
        parts = [(float(pooled.images.variance[k]), float(pooled.images.freedom[k]))]
        if pooled.freedom:
            parts.append((float(pooled.variance[k]), pooled.freedom))
        variance, freedom = _together(parts)
        mean = float(pooled.images.values[k])
        rows.append(
            RunsEstimate(
                name=name,
                values=tuple(pooled.values[:, k].tolist()),
                mean=mean,
                deviation=float(pooled.values[:, k].std(ddof=1)) if pooled.freedom else math.nan,
                interval=share_interval(mean, variance, freedom, units.count),
                reliable=bool(pooled.images.reliable[k]),
            )
        )
    return RunsSummary(rows[0], rows[1], tuple(rows[2:]), len(units.of), units)


def _marked(rows: Sequence[Difference | RunsEstimate]) -> tuple[str, ...]:
    """A sentence that names those with a mark, if there are any."""
    rare = [one.name for one in rows if not one.reliable]
    return (f"{', '.join(rare)}: {NOTE}",) if rare else ()


def _names(runs: Sequence[Scores]) -> list[str]:
    named = [[score.name for score in scores.classes] for scores in runs]
    if not named or any(names != named[0] for names in named):
        raise DataError(
            "these scores are of different classes", remedy="compare models that know the same classes"
        )
    return named[0]


def _pooled(runs: Sequence[Scores], units: Units) -> _Pooled:
    """Mean IoU, pixel accuracy and IoU per class of each run."""
    values, units_moved, images_moved = [], [], []
    for scores in runs:
        counts = image_counts(scores)
        check_images(len(counts), len(units.of))
        classes = influences(counts, iou, units, mean=True)
        pixels = influences(counts, accuracy, units)
        values.append(_ordered(classes.values, pixels.values))
        units_moved.append(_ordered(classes.of_unit, pixels.of_unit))
        images_moved.append(_ordered(classes.of_image, pixels.of_image))
    table = np.stack(values)
    variance = table.var(axis=0, ddof=1) / len(table) if len(table) > 1 else np.zeros(table.shape[1])
    moved = Influences(
        table.mean(0), np.mean(units_moved, axis=0), np.mean(images_moved, axis=0), units, (0,)
    )
    return _Pooled(table, moved, variance)


def _ordered(classes: Floats, pixels: Floats) -> Floats:
    """The mean over classes, which comes last, then pixel accuracy, then the classes."""
    return np.concatenate([classes[..., -1:], pixels, classes[..., :-1]], axis=-1)


def _tested(value: float, parts: Sequence[tuple[float, float]]) -> tuple[Interval, float]:
    """The interval of a difference and its p value, both of the same t test."""
    from scipy.special import stdtr

    variance, freedom = _together(parts)
    if variance <= 0:
        return (value, value), 1.0 if value == 0 else 0.0
    reach = quantile(freedom) * math.sqrt(variance)
    return (value - reach, value + reach), float(2 * stdtr(freedom, -abs(value) / math.sqrt(variance)))


def _together(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Sum of independent (variance, degrees of freedom), and the degrees of freedom of the sum."""
    total = sum(variance for variance, _ in parts)
    if not total > 0:
        return 0.0, 1.0
    return total, 1 / sum((variance / total) ** 2 / freedom for variance, freedom in parts)
