"""Surface distances of many images: HD95 and ASSD of each, and of all their contour pixels together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixelwise.ops.rates import NAN

PERCENT = 95.0

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]  # truth to prediction, prediction to truth, in pixels


def hd95_and_assd(pair: Pair) -> tuple[float, float]:
    """The larger of both 95th percentiles (linear between ranks), and the mean of all distances.

    >>> hd95_and_assd((np.array([0.0, 1.0]), np.array([2.0, 2.0])))
    (2.0, 1.25)
    """
    total = float(pair[0].sum() + pair[1].sum())
    return (
        max(float(np.percentile(part, PERCENT)) for part in pair),
        total / (len(pair[0]) + len(pair[1])),
    )


class DistanceCounts:
    """Distances of K classes over images.

    Distances between pixels are roots of whole numbers, so that counting each whole number keeps all distances
    exactly, in memory that does not grow with the number of pixels.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._images: list[NDArray[np.float64]] = []
        self._squares: list[tuple[Counter[int], Counter[int]]] = [
            (Counter(), Counter()) for _ in range(classes)
        ]

    def add(self, distances: Sequence[Pair | None]) -> None:
        """Add an image: for each class both arrays of distances in pixels, or None if there are none."""
        values = np.full((self.classes, 2), NAN)
        for index, pair in enumerate(distances):
            if pair is None:
                continue
            values[index] = hd95_and_assd(pair)
            for counter, part in zip(self._squares[index], pair, strict=True):
                squares, counts = np.unique(np.rint(part**2).astype(np.int64), return_counts=True)
                counter.update(dict(zip(squares.tolist(), counts.tolist(), strict=True)))
        self._images.append(values)

    @property
    def images(self) -> NDArray[np.float64]:
        """[images, K, 2]: HD95 and ASSD in pixels, NaN where a contour is missing."""
        return np.array(self._images, np.float64).reshape(-1, self.classes, 2)

    def pooled(self, index: int) -> tuple[float, float]:
        """HD95 and ASSD in pixels of all distances of a class together; NaN if there are none."""
        parts = [_sorted(counter) for counter in self._squares[index]]
        counts = [int(number.sum()) for _, number in parts]
        if not all(counts):
            return NAN, NAN
        total = math.fsum(float(values @ number) for values, number in parts)
        return max(_percentile(*part) for part in parts), total / sum(counts)


def _sorted(counter: Counter[int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    squares = np.array(sorted(counter), np.int64)
    return np.sqrt(squares), np.array([counter[square] for square in squares.tolist()], np.int64)


def _percentile(values: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """As `np.percentile(np.repeat(values, counts), 95)`, without repeating; values ascending."""
    ends = np.cumsum(counts)
    rank = PERCENT / 100 * (int(ends[-1]) - 1)
    below, above = values[np.searchsorted(ends, [math.floor(rank), math.ceil(rank)], side="right")]
    return float(below + (above - below) * (rank - math.floor(rank)))
