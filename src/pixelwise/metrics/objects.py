"""Scores by the size of objects: what is lost is mostly small, and scores over all pixels hardly show it.

An object is a connected part of one class in the truth; pixels that share a corner are connected, as in
`ops.objects`. Two cars that touch are one object, and one that a pole divides is two. Pixels that the truth ignores
belong to none. Small objects have fewer than 32 x 32 pixels, large ones 96 x 96 or more: the bounds of the COCO
benchmark, of which an object of exactly 96 x 96 is medium there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelwise.errors import DataError, OptionError
from pixelwise.metrics.named import named
from pixelwise.ops.confusion import confusion
from pixelwise.ops.rates import or_none, ratio
from pixelwise.types import Labels

BOUNDS = (32 * 32, 96 * 96)
SIZES = ("small", "medium", "large")

_NEIGHBOURS = np.ones((3, 3), bool)


@dataclass(frozen=True)
class SizeScore:
    """Objects of one size.

    Attributes:
        size: `small`, `medium` or `large`.
        objects: Their number in the truth.
        pixels: Of them.
        recall: Share of their pixels that were mapped right; NaN without objects.
        found: Share of the objects of which half of the pixels or more were mapped right; NaN without objects.
    """

    size: str
    objects: int
    pixels: int
    recall: float
    found: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, an undefined score as None."""
        return {
            "size": self.size,
            "objects": self.objects,
            "pixels": self.pixels,
            "object_pixel_recall": or_none(self.recall),
            "objects_found": or_none(self.found),
        }


@dataclass(frozen=True)
class ObjectClass:
    """The objects of one class, small, medium and large."""

    name: str
    sizes: tuple[SizeScore, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, an undefined score as None."""
        return {"name": self.name, "sizes": [score.as_dict() for score in self.sizes]}


@dataclass(frozen=True, eq=False)
class ObjectScores:
    """Scores by the size of objects, over all images together.

    Attributes:
        sizes: Objects of all classes.
        classes: Those of each class.
        bounds: Pixels from which an object is medium, and large.
        counts: int64 [images, K, 3, 4]: objects, found objects, pixels and pixels mapped right, by size; they
            say how the scores vary.
    """

    sizes: tuple[SizeScore, ...]
    classes: tuple[ObjectClass, ...]
    bounds: tuple[int, int]
    counts: NDArray[np.int64]

    @property
    def undefined(self) -> tuple[str, ...]:
        """Names of the classes without objects."""
        return tuple(one.name for one in self.classes if not any(score.objects for score in one.sizes))

    def by_name(self, name: str) -> ObjectClass:
        """The scores of the class called `name`.

        Raises:
            OptionError: there is no such class.
        """
        return named(self.classes, name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a section of `scores.json`, an undefined score as None."""
        return {
            "medium_from_pixels": self.bounds[0],
            "large_from_pixels": self.bounds[1],
            "undefined": list(self.undefined),
            "sizes": [score.as_dict() for score in self.sizes],
            "classes": [one.as_dict() for one in self.classes],
        }


def object_counts(
    truth: Labels, prediction: Labels, classes: int, *, bounds: tuple[int, int] = BOUNDS
) -> NDArray[np.int64]:
    """Count the objects of one map, uint8 [H, W]: int64 [K, 3, 4] as in `ObjectScores.counts`.

    >>> truth = np.array([[1, 1, 0, 1]], np.uint8)
    >>> object_counts(truth, np.array([[1, 0, 0, 0]], np.uint8), 2, bounds=(2, 3))[1].tolist()
    [[1, 0, 1, 0], [1, 1, 2, 1], [0, 0, 0, 0]]
    """
    counts = np.zeros((classes, len(SIZES), 4), np.int64)
    right = truth == prediction
    for index in np.flatnonzero(np.bincount(truth.reshape(-1), minlength=classes)[:classes]).tolist():
        numbered, number = ndimage.label(truth == index, _NEIGHBOURS)
        pixels = np.bincount(numbered.reshape(-1), minlength=number + 1)[1:]
        hits = np.bincount(numbered[right], minlength=number + 1)[1:]
        size = np.digitize(pixels, bounds)
        for column, values in enumerate((np.ones_like(pixels), 2 * hits >= pixels, pixels, hits)):
            counts[index, :, column] = np.bincount(size, values, len(SIZES)).astype(np.int64)
    return counts


class ObjectCounter:
    """Adds up images one by one; memory grows by a hundred bytes per image and class.

    >>> counter = ObjectCounter(["ground", "house"], bounds=(2, 3))
    >>> counter.add(np.array([[1, 1, 0, 1]], np.uint8), np.array([[1, 0, 0, 0]], np.uint8))
    >>> [(score.size, score.objects, score.found) for score in counter.scores().by_name("house").sizes]
    [('small', 1, 0.0), ('medium', 1, 1.0), ('large', 0, nan)]
    """

    def __init__(self, names: Sequence[str], *, bounds: tuple[int, int] = BOUNDS) -> None:
        """`bounds`: pixels from which an object is medium, and large.

        Raises:
            OptionError: the bounds are not in order.
        """
        if not 1 <= bounds[0] <= bounds[1]:
            remedy = "give pixels from which an object is medium, and at least as many from which it is large"
            raise OptionError(f"the bounds of sizes are {bounds}", remedy=remedy)
        self.names = tuple(names)
        self.bounds = bounds
        self._counts: list[NDArray[np.int64]] = []

    def add(self, truth: Labels, prediction: Labels) -> None:
        """Count one image, both uint8 [H, W]; pixels where the truth is 255 count nowhere.

        Raises:
            MaskError: `truth` holds a value that is neither a class nor 255.
            DataError: another dtype, two shapes, or a prediction that is no class.
        """
        confusion(truth, prediction, len(self.names))  # for what it refuses; it costs little beside the rest
        if truth.ndim != 2:
            raise DataError(f"labels of shape {truth.shape}", remedy="add maps [H, W] one by one")
        self._counts.append(object_counts(truth, prediction, len(self.names), bounds=self.bounds))

    def scores(self) -> ObjectScores:
        """The scores of all that was added so far."""
        counts = np.array(self._counts, np.int64).reshape(-1, len(self.names), len(SIZES), 4)
        total = counts.sum(axis=0)
        return ObjectScores(
            sizes=_by_size(total.sum(axis=0)),
            classes=tuple(ObjectClass(name, _by_size(total[k])) for k, name in enumerate(self.names)),
            bounds=self.bounds,
            counts=counts,
        )


def _by_size(counts: NDArray[np.int64]) -> tuple[SizeScore, ...]:
    recall, found = ratio(counts[:, 3], counts[:, 2]), ratio(counts[:, 1], counts[:, 0])
    return tuple(
        SizeScore(size, int(counts[k, 0]), int(counts[k, 2]), float(recall[k]), float(found[k]))
        for k, size in enumerate(SIZES)
    )
