"""How alike images of one scene are, by how far apart they lie, and what that does to a variance.

The likeness of two images is taken for a power of their distance in sides of an image: r for neighbours, r ** 2 for
those two sides apart, and so on; images of two scenes have nothing in common. r is found from the neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEAR = 1.25
"""Sides of an image up to which two are neighbours; those that meet at a corner are not."""

MOST_ALIKE = 0.97
_STEPS = 8  # distances are counted in such parts of a side
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Nearness:
    """The distances between images of one scene.

    Attributes:
        images: How many there are.
        blocks: Into how many units they are cut.
        near: Pairs of neighbours [pairs, 2].
        together: Pairs of one scene by distance, in parts of a side.
        inside: Pairs of one unit likewise.
    """

    images: int
    blocks: int
    near: NDArray[np.intp]
    together: NDArray[np.int64]
    inside: NDArray[np.int64]

    def correlation(self, of_image: Floats) -> Floats:
        """Of neighbours, for each score [S], from how far each image moves it [images, S]."""
        one, two = self.near.T
        spread = np.maximum((of_image**2).mean(0), 1e-300)
        raw = (of_image[one] * of_image[two]).mean(0) / spread
        found: Floats = np.clip(raw, 0.0, MOST_ALIKE)
        for _ in range(4):  # the common mean was taken off, and it hides the likeness of all
            found = np.clip(raw + self.inflation(found) / self.images * (1 - raw), 0.0, MOST_ALIKE)
        return found

    def inflation(self, correlation: Floats) -> Floats:
        """How much larger the variance of the sum is than that of as many images that have nothing in common."""
        return 1 + 2 * _sum(self.together, correlation) / self.images

    def stretch(self, correlation: Floats) -> Floats:
        """How much larger the variance is than units show that are alike across the cuts."""
        whole = self.images * self.inflation(correlation)
        units = self.images + 2 * _sum(self.inside, correlation)
        seen = self.blocks / (self.blocks - 1) * (units - whole / self.blocks)
        result: Floats = np.maximum(1.0, whole / np.maximum(seen, 1e-9 * whole))
        return result


def nearness(places: Floats, scenes: Sequence[str], of: NDArray[np.intp]) -> Nearness | None:
    """The distances between images at `places` [n, 2] of `scenes`, cut into units `of`; None without neighbours.

    >>> row = np.array([[0.0, 0], [1, 0], [2, 0]])
    >>> found = nearness(row, "aaa", np.array([0, 0, 1]))
    >>> found.near.tolist(), found.inflation(np.array([0.5])).tolist()
    ([[0, 1], [1, 2]], [1.833...])
    """
    scene = np.unique(list(scenes), return_inverse=True)[1]
    near, together, inside = [], np.zeros(1, np.int64), np.zeros(1, np.int64)
    for top in range(0, len(places), _ROWS):
        rows = np.arange(top, min(top + _ROWS, len(places)))
        one, two = np.nonzero((scene[rows, None] == scene[None]) & (rows[:, None] < np.arange(len(places))))
        one = one + top
        apart = np.hypot(*(places[one] - places[two]).T)
        near.append(np.stack([one, two], axis=1)[apart <= NEAR])
        step = np.rint(apart * _STEPS).astype(np.int64)
        together = _added(together, np.bincount(step))
        inside = _added(inside, np.bincount(step[of[one] == of[two]]))
    pairs = np.concatenate(near)
    if not len(pairs) or of.max() < 1:
        return None
    return Nearness(len(places), int(of.max()) + 1, pairs, together, inside)


def compact(places: Floats, pieces: int) -> NDArray[np.intp]:
    """The piece of each of `places` [n, 2]: cut across the longer side again and again, into nearly equal pieces.

    >>> compact(np.array([[0.0, 0], [9, 0], [1, 0], [8, 1]]), 2).tolist()
    [0, 1, 0, 1]
    """
    result = np.zeros(len(places), np.intp)
    if pieces < 2:
        return result
    longer = int(np.argmax(np.ptp(places, axis=0)))
    order = np.lexsort((places[:, 1 - longer], places[:, longer]))
    first = pieces // 2
    begin, rest = np.split(order, [round(len(places) * first / pieces)])
    result[begin] = compact(places[begin], first)
    result[rest] = first + compact(places[rest], pieces - first)
    return result


def _sum(pairs: NDArray[np.int64], correlation: Floats) -> Floats:
    """The likeness of all pairs [S], counted by distance."""
    steps = np.flatnonzero(pairs)
    likeness: Floats = (correlation[:, None] ** (steps / _STEPS)) @ pairs[steps].astype(np.float64)
    return likeness


def _added(one: NDArray[np.int64], two: NDArray[np.int64]) -> NDArray[np.int64]:
    longer, shorter = (one, two) if len(one) >= len(two) else (two, one)
    result = longer.copy()
    result[: len(shorter)] += shorter
    return result
