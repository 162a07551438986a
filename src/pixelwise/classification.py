"""Scores of classifications: one class per image, judged by counts, by ranks and with intervals.

With the images of a class that are found (`tp`), missed (`fn`) and claimed wrongly (`fp`): precision = tp / (tp + fp),
recall = tp / (tp + fn), F1 = 2 tp / (2 tp + fp + fn). What would be divided by zero is NaN here, null in JSON, and
left out of the means. The intervals made here are of 95 % and hold for images that are independent of each other;
for pictures of one patient or frames of one film `evaluation.grouped` puts those over groups in their place.

Wilson: Probable Inference, the Law of Succession, and Statistical Inference, 1927
(https://doi.org/10.1080/01621459.1927.10502953). Hanley, McNeil: The Meaning and Use of the Area under a Receiver
Operating Characteristic (ROC) Curve, 1982 (https://doi.org/10.1148/radiology.143.1.7063747). Newcombe: Confidence
Intervals for an Effect Size Measure Based on the Mann-Whitney Statistic, Part 2, Statistics in Medicine 25, 2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.ops.rates import NAN, Z95, or_none, ratio
from pixelwise.types import Confusion

Interval = tuple[float, float]


@dataclass(frozen=True)
class CategoryScore:
    """Scores of one class, each in 0..1 or NaN where undefined; `images` are those of the truth."""

    name: str
    precision: float
    recall: float
    f1: float
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, an undefined score as None."""
        return {
            "name": self.name,
            "precision": or_none(self.precision),
            "recall": or_none(self.recall),
            "f1": or_none(self.f1),
            "images": self.images,
        }


@dataclass(frozen=True)
class RocCurve:
    """What each threshold on the probability of the class `positive` finds, and at what price.

    An image is called positive from `thresholds[k]` on; the first one is infinite. `area` is the probability that an
    image of the class gets a higher probability than one of the other class, ties counted half.
    """

    positive: str
    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]
    thresholds: tuple[float, ...]
    area: float
    area_interval: Interval

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the infinite threshold as None."""
        return {
            "positive": self.positive,
            "area": self.area,
            "area_interval": list(self.area_interval),
            "false_positive_rate": list(self.false_positive_rate),
            "true_positive_rate": list(self.true_positive_rate),
            "thresholds": [None if math.isinf(value) else value for value in self.thresholds],
        }


@dataclass(frozen=True, eq=False)
class ClassificationScores:
    """How well the most probable classes fit the true ones.

    `mean_recall` is the mean over the classes that occur in the truth, also known as balanced accuracy; `confusion`
    is int64 [K, K], rows truth; `roc` is there for two classes that both occur. `interval_units` says how many images,
    or groups of images, the intervals take as independent of each other; 0 if nothing is known about the images.
    """

    accuracy: float
    accuracy_interval: Interval
    mean_recall: float
    classes: tuple[CategoryScore, ...]
    confusion: Confusion
    images: int
    roc: RocCurve | None = None
    interval_reliable: bool = True
    interval_units: int = 0
    interval_units_origin: str = ""
    interval_notes: tuple[str, ...] = ()

    @property
    def headline(self) -> tuple[str, float]:
        """The score that training maximises."""
        return "accuracy", self.accuracy

    @property
    def grouped(self) -> bool:
        """Whether the intervals are over groups of images that are alike."""
        return self.interval_units_origin not in ("", "images")

    def as_dict(self) -> dict[str, Any]:
        """The content of `scores.json`: plain values, an undefined score as None."""
        intervals = {
            "interval_reliable": self.interval_reliable,
            "interval_units": self.interval_units,
            "interval_units_origin": self.interval_units_origin,
            "interval_notes": list(self.interval_notes),
        }
        return {
            "accuracy": or_none(self.accuracy),
            "accuracy_interval": list(self.accuracy_interval),
            **(intervals if self.interval_units else {}),
            "mean_recall": or_none(self.mean_recall),
            "images": self.images,
            "classes": [score.as_dict() for score in self.classes],
            "confusion": self.confusion.tolist(),
            "roc": None if self.roc is None else self.roc.as_dict(),
        }


def classification_scores(
    probabilities: NDArray[Any], targets: NDArray[Any], names: Sequence[str]
) -> ClassificationScores:
    """All scores of probabilities [N, K] for images whose classes are `targets` [N], in 0..K-1.

    Raises:
        DataError: shapes that do not belong together, or values out of range.

    >>> scores = classification_scores(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), "ab")
    >>> round(scores.accuracy, 3), scores.mean_recall, scores.roc.area
    (0.667, 0.75, 1.0)
    """
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    _check(probabilities, targets, len(names))
    matrix = np.zeros((len(names), len(names)), np.int64)
    np.add.at(matrix, (targets, probabilities.argmax(axis=1)), 1)
    hits, truth, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = ratio(hits, predicted), ratio(hits, truth)
    f1 = ratio(2 * hits, truth + predicted)
    right, images = int(hits.sum()), len(targets)
    return ClassificationScores(
        accuracy=right / images if images else NAN,
        accuracy_interval=wilson_interval(right, images),
        mean_recall=float(np.nanmean(recall)) if images else NAN,
        classes=tuple(
            CategoryScore(name, float(precision[k]), float(recall[k]), float(f1[k]), int(truth[k]))
            for k, name in enumerate(names)
        ),
        confusion=matrix,
        images=images,
        roc=roc_curve(probabilities[:, 1], targets == 1, names[1])
        if len(names) == 2 and truth.all()
        else None,
    )


def wilson_interval(successes: int, trials: int) -> Interval:
    """Wilson's 95 % interval of a share, and 0..1 if nothing was tried.

    >>> [round(bound, 4) for bound in wilson_interval(10, 10)]
    [0.7225, 1.0]
    """
    if trials == 0:
        return 0.0, 1.0
    share, square = successes / trials, Z95**2 / trials
    centre = (share + square / 2) / (1 + square)
    reach = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def roc_curve(scores: NDArray[Any], positive: NDArray[np.bool_], name: str) -> RocCurve:
    """The ROC curve of scores [N] for images that are `positive` or not [N]; both kinds must occur.

    Points on a straight line between their neighbours are left out.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order].astype(np.float64), positive[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each run of equal scores
    found = np.append(0, np.cumsum(hits)[last])
    claimed = np.append(0, np.cumsum(~hits)[last])
    thresholds = np.append(np.inf, ranked[last])
    area = float(np.sum(np.diff(claimed) * (found[1:] + found[:-1])) / 2 / (found[-1] * claimed[-1]))
    bends = np.diff(found)[1:] * np.diff(claimed)[:-1] != np.diff(found)[:-1] * np.diff(claimed)[1:]
    kept = np.concatenate([[True], bends, [True]])
    return RocCurve(
        positive=name,
        false_positive_rate=tuple((claimed[kept] / claimed[-1]).tolist()),
        true_positive_rate=tuple((found[kept] / found[-1]).tolist()),
        thresholds=tuple(thresholds[kept].tolist()),
        area=area,
        area_interval=roc_area_interval(area, int(found[-1]), int(claimed[-1])),
    )


def roc_area_interval(area: float, positives: int, negatives: int) -> Interval:
    """A 95 % interval of the area under a ROC curve: all areas that would make `area` no surprise.

    Newcombe's method 5, which is to the variance of Hanley and McNeil what Wilson's interval is to the binomial one:
    the variance is taken at the bound, so that a perfect score of few images does not look certain.
    """
    return _bound(area, 0.0, positives, negatives), _bound(area, 1.0, positives, negatives)


def roc_area_variance(area: float, positives: int, negatives: int) -> float:
    """Newcombe's form of the variance of Hanley and McNeil, alike in both classes, for a true area in 0..1."""
    weight = (positives + negatives) / 2 - 1
    spread = 1 + weight * (1 - area) / (2 - area) + weight * area / (1 + area)
    return area * (1 - area) * spread / (positives * negatives)


def _bound(area: float, far: float, positives: int, negatives: int) -> float:
    """Where the distance to `area` grows beyond the deviation, between `area` and `far`; found by halving."""
    near = area
    for _ in range(60):
        middle = (near + far) / 2
        if (middle - area) ** 2 <= Z95**2 * roc_area_variance(middle, positives, negatives):
            near = middle
        else:
            far = middle
    return near


def _check(probabilities: NDArray[Any], targets: NDArray[Any], count: int) -> None:
    if probabilities.shape != (len(targets), count) or targets.ndim != 1:
        raise DataError(
            f"probabilities of shape {probabilities.shape} and targets of shape {targets.shape} for {count} classes",
            remedy="pass probabilities [N, K] and targets [N] of the same N images, and K names",
        )
    if not np.isfinite(probabilities).all():
        raise DataError("some probabilities are not finite", remedy="check the weights of the model")
    if targets.dtype.kind not in "iu" or ((targets < 0) | (targets >= count)).any():
        raise DataError(
            f"targets of type {targets.dtype} that are not all in 0..{count - 1}", remedy="pass class indices"
        )
