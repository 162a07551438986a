"""Whether probabilities mean what they say: of the pixels that a network is 80 % sure of, are 80 % right?

Pixels are put into 15 bins of equal width by their probability, the upper end of a bin belonging to the next one. The
expected calibration error is the mean over pixels of |share right - mean probability| of their bin (Naeini et al.:
Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015). Three kinds are counted: of the probability of
the predicted class over all pixels, and apart by predicted class and by distance to a true boundary; and, where all
probabilities are given, class by class (Kull et al.: Beyond temperature scaling, 2019), where every pixel has its
say about every class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pixelwise.errors import DataError, MaskError
from pixelwise.ops.rates import NAN, or_none
from pixelwise.types import IGNORE, Labels

BINS = 15
EDGES = (2.0, 5.0, 10.0)
"""Distances to a true boundary, in pixels, that end the bands; the last band has no end."""

Sums = NDArray[np.float64]  # [..., BINS, 3]: pixels, right ones, sum of probabilities


@dataclass(frozen=True)
class ReliabilityBin:
    """The pixels whose probability is in low..high: how sure, and how often right; NaN where there is none."""

    low: float
    high: float
    pixels: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class GroupCalibration:
    """Pixels of one predicted class, or of one band of distances.

    Attributes:
        name: Of the class, or the band in pixels, such as `0-2`.
        pixels: How many.
        confidence: Mean probability of the predicted class.
        accuracy: Share that is right.
        ece: Expected calibration error.
        classwise_ece: Of the probability of this class at every pixel; NaN where that was not given.
    """

    name: str
    pixels: int
    confidence: float
    accuracy: float
    ece: float
    classwise_ece: float = NAN


@dataclass(frozen=True)
class CalibrationScores:
    """How far probabilities are from how often they are right; NaN where nothing was counted.

    Attributes:
        ece: Expected calibration error of the probability of the predicted class.
        classwise_ece: Mean over classes of the error of each class's probability.
        confidence: Mean probability of the predicted class.
        accuracy: Share of pixels that are right.
        images: Added.
        pixels: Compared; ignored ones are not.
        bins: The reliability diagram.
        classes: By predicted class.
        distances: By distance to a true boundary.
    """

    ece: float
    classwise_ece: float
    confidence: float
    accuracy: float
    images: int
    pixels: int
    bins: tuple[ReliabilityBin, ...]
    classes: tuple[GroupCalibration, ...]
    distances: tuple[GroupCalibration, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, an undefined score as None."""
        plain: dict[str, Any] = _plain(vars(self))
        for name in ("bins", "classes", "distances"):
            plain[name] = [_plain(vars(row)) for row in getattr(self, name)]
        for row in plain["distances"]:
            del row["classwise_ece"]
        return plain


class CalibrationCounter:
    """Adds up images one by one; memory does not grow with the pixels.

    >>> counter = CalibrationCounter(["road", "house"])
    >>> truth, predicted = np.array([[0, 1, 255]], np.uint8), np.array([[0, 0, 1]], np.uint8)
    >>> counter.add(truth, predicted, np.array([[0.9, 0.9, 0.5]], np.float32))
    >>> round(counter.scores().ece, 6)  # 90 % sure of two pixels, right at one
    0.4
    """

    def __init__(self, names: Sequence[str], *, ignore: int = IGNORE) -> None:
        self.names = tuple(names)
        self.ignore = ignore
        self.images = 0
        self._top = np.zeros((len(self.names), len(EDGES) + 1, BINS, 3))
        self._each = np.zeros((len(self.names), BINS, 3))
        self._all_given = True

    def add(
        self,
        truth: Labels,
        predicted: Labels,
        confidence: NDArray[np.float32],
        probabilities: NDArray[np.float32] | None = None,
    ) -> None:
        """Count one image.

        Args:
            truth: [H, W], classes and ignore.
            predicted: [H, W], classes.
            confidence: [H, W], probability of the predicted class, 0..1.
            probabilities: [K, H, W] of all classes; needed with every image for the errors class by class.

        Raises:
            MaskError: `truth` holds a value that is neither a class nor ignore.
            DataError: other shapes, a prediction that is no class, or values that are no probabilities.
        """
        self._check(truth, predicted, confidence, probabilities)
        counted = truth != self.ignore
        right = (truth == predicted)[counted]
        group = predicted[counted].astype(np.int64) * (len(EDGES) + 1) + bands(truth, self.ignore)[counted]
        self._top += _sums(group, confidence[counted], right, self._top.shape)
        if probabilities is None:
            self._all_given = False
        else:
            wanted = truth[counted]
            for k, plane in enumerate(probabilities):
                shares = plane[counted]
                self._each[k] += _sums(np.zeros(len(shares), np.int64), shares, wanted == k, (BINS, 3))
        self.images += 1

    def scores(self) -> CalibrationScores:
        """The scores of all that was added so far."""
        total = self._top.sum(axis=(0, 1))
        pixels, accuracy, confidence = _means(total.sum(axis=0))
        by_class, by_band = self._top.sum(axis=1), self._top.sum(axis=0)
        given = self._all_given and self.images > 0
        each = [_error(sums) if given else NAN for sums in self._each]
        edges = np.linspace(0, 1, BINS + 1)
        bins = []
        for low, high, sums in zip(edges[:-1], edges[1:], total, strict=True):
            count, share, mean = _means(sums)
            bins.append(ReliabilityBin(float(low), float(high), count, mean, share))
        names = [f"{low:g}-{high:g}" for low, high in zip((0.0, *EDGES[:-1]), EDGES, strict=True)]
        return CalibrationScores(
            ece=_error(total),
            classwise_ece=float(np.mean(each)),
            confidence=confidence,
            accuracy=accuracy,
            images=self.images,
            pixels=pixels,
            bins=tuple(bins),
            classes=tuple(map(_group, self.names, by_class, each)),
            distances=tuple(map(_group, [*names, f">{EDGES[-1]:g}"], by_band, [NAN] * len(by_band))),
        )

    def _check(
        self,
        truth: Labels,
        predicted: Labels,
        confidence: NDArray[np.float32],
        probabilities: NDArray[np.float32] | None,
    ) -> None:
        classes = len(self.names)
        wrong = truth[(truth >= classes) & (truth != self.ignore)]
        if wrong.size:
            raise MaskError(
                f"the labels hold value {int(wrong[0])}; allowed are 0..{classes - 1} and {self.ignore} for ignore",
                remedy=f"give {int(wrong[0])} a class, or make it {self.ignore}",
            )
        shapes = [truth.shape, predicted.shape, confidence.shape]
        if probabilities is not None:
            shapes += [probabilities.shape[1:], truth.shape if len(probabilities) == classes else ()]
        if truth.ndim != 2 or len(set(shapes)) > 1:
            raise DataError(
                f"labels {truth.shape}, predictions {predicted.shape}, probabilities {confidence.shape}"
                + ("" if probabilities is None else f" and {probabilities.shape}"),
                remedy=f"give maps of one size, and {classes} planes of probabilities",
            )
        if truth.size and predicted.max() >= classes:
            raise DataError(f"a prediction is {predicted.max()}", remedy=f"allowed are 0..{classes - 1}")
        values = confidence if probabilities is None else np.append(probabilities, confidence[None], axis=0)
        if truth.size and not (values.min() >= 0 and values.max() <= 1 + 1e-5):
            raise DataError("probabilities outside 0..1", remedy="give those of predict_with_confidence")


def expected_error(confidence: NDArray[Any], right: NDArray[np.bool_]) -> float:
    """The expected calibration error of pixels [n]: how sure, and whether right.

    >>> round(expected_error(np.array([0.9, 0.9]), np.array([True, False])), 6)
    0.4
    """
    return _error(_sums(np.zeros(len(right), np.int64), confidence, right, (BINS, 3)))


def bands(truth: Labels, ignore: int = IGNORE) -> NDArray[np.int64]:
    """The band of every pixel [H, W]: how many of `EDGES` its distance to a true boundary exceeds.

    A boundary is made of the pixels that have one of the four neighbours in another class; ignored pixels make none.

    >>> bands(np.array([[0] * 14 + [1]], np.uint8)).tolist()
    [[3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0]]
    """
    edge = np.zeros(truth.shape, np.bool_)
    for axis in (0, 1):
        lines = np.moveaxis(truth, axis, 0)
        marks = np.moveaxis(edge, axis, 0)  # a view
        differ = (lines[1:] != lines[:-1]) & (lines[1:] != ignore) & (lines[:-1] != ignore)
        marks[1:] |= differ
        marks[:-1] |= differ
    if not edge.any():
        return np.full(truth.shape, len(EDGES), np.int64)
    found: NDArray[np.int64] = np.searchsorted(EDGES, distance_transform_edt(~edge), side="left")
    return found


def _sums(
    group: NDArray[np.int64], shares: NDArray[Any], right: NDArray[np.bool_], shape: tuple[int, ...]
) -> Sums:
    """Pixels, right ones and probabilities per group and bin."""
    place = group * BINS + np.minimum((shares * BINS).astype(np.int64), BINS - 1)
    size = int(np.prod(shape[:-1]))
    columns = [np.bincount(place, weights, size) for weights in (None, right, shares)]
    return np.stack(columns, axis=-1).astype(np.float64).reshape(shape)


def _error(sums: Sums) -> float:
    """The expected calibration error of [BINS, 3]."""
    pixels = sums[:, 0].sum()
    return float(np.abs(sums[:, 1] - sums[:, 2]).sum() / pixels) if pixels else NAN


def _means(sums: Sums) -> tuple[int, float, float]:
    """Pixels, share right, mean probability of [3]."""
    pixels = int(sums[0])
    return (pixels, float(sums[1] / pixels), float(sums[2] / pixels)) if pixels else (0, NAN, NAN)


def _group(name: str, sums: Sums, classwise: float) -> GroupCalibration:
    pixels, accuracy, confidence = _means(sums.sum(axis=0))
    return GroupCalibration(name, pixels, confidence, accuracy, _error(sums), classwise)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: or_none(value) if isinstance(value, float) else value for name, value in values.items()}
