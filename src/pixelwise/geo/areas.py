"""The area of each class of a map, and the area that a sample of checked places says is true.

Counting the pixels of a map gives a biased area: what one class loses to confusion need not come back from the
others. Where places were drawn at random within each mapped class and looked at, the true areas can be estimated
with an interval. (Olofsson, Foody, Herold, Stehman, Woodcock, Wulder 2014, Good practices for estimating area and
assessing accuracy of land change, Remote Sensing of Environment 148, 42-57, equations 1 to 11.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, OptionError
from pixelwise.geo.classmaps import ClassMap
from pixelwise.geo.surface import Surface
from pixelwise.ops.rates import Z95
from pixelwise.types import IGNORE

_FEWEST = 2  # places per class; with one there is no variance


@dataclass(frozen=True, eq=False)
class ClassAreas:
    """What a map says: pixels int64 [K] and areas float [K] of each class, in `unit` (`m2` or `px`)."""

    names: tuple[str, ...]
    pixels: NDArray[np.int64]
    areas: NDArray[np.float64]
    unit: str
    method: str


@dataclass(frozen=True, eq=False)
class AdjustedAreas:
    """What a sample says about a map; all arrays are [K], NaN where a class was never mapped or never found.

    Attributes:
        areas: The estimated true area of each class, in the unit of the map.
        errors: Its standard error.
        overall: The share of the mapped area whose class is right, and its standard error.
        users: How much of what is mapped as a class is that class; `users_errors` its standard error.
        producers: How much of a class is mapped as such; `producers_errors` its standard error.
    """

    areas: NDArray[np.float64]
    errors: NDArray[np.float64]
    overall: tuple[float, float]
    users: NDArray[np.float64]
    users_errors: NDArray[np.float64]
    producers: NDArray[np.float64]
    producers_errors: NDArray[np.float64]

    @property
    def intervals(self) -> NDArray[np.float64]:
        """[K, 2], the ends of the 95 % interval of each area; none is below 0."""
        reach = Z95 * self.errors
        return np.maximum(0, np.column_stack((self.areas - reach, self.areas + reach)))


def class_areas(source: ClassMap, names: Sequence[str] = ()) -> ClassAreas:
    """Pixels and area of each class of a map, read in strips; without a coordinate system areas are pixels.

    Raises:
        DataError: no pixels, none with a class, or an impossible coordinate system.
        OptionError: more classes in the map than names.

    >>> from pixelwise.geo.classmaps import ArrayMap
    >>> class_areas(ArrayMap.of(np.array([[0, 2, 2, 255]], np.uint8))).areas.tolist()
    [1.0, 0.0, 2.0]
    """
    surface = Surface(source.grid)
    pixels, areas = np.zeros(IGNORE + 1, np.int64), np.zeros(IGNORE + 1)
    top = 0
    for labels in source.strips():
        flat = labels.reshape(-1)
        pixels += np.bincount(flat, minlength=IGNORE + 1)
        if surface.unit != "px":
            areas += np.bincount(flat, surface.pixel_areas(top, len(labels)).reshape(-1), IGNORE + 1)
        top += len(labels)
    if surface.unit == "px":
        areas = pixels.astype(np.float64)
    present = np.flatnonzero(pixels[:IGNORE])
    if not len(present):
        raise DataError("no pixel of the map has a class", remedy="give a map with rows, columns and classes")
    known = tuple(names) or source.names or tuple(f"class_{index}" for index in range(present[-1] + 1))
    if present[-1] >= len(known):
        found = f"the map holds class index {present[-1]}, and there are {len(known)} class names"
        raise OptionError(found, remedy="give the classes.yaml that the map was made with: --classes FILE")
    count = len(known)
    return ClassAreas(known, pixels[:count], areas[:count], surface.unit, surface.method)


def error_adjusted(
    counts: NDArray[np.int64], areas: NDArray[np.float64], names: Sequence[str] = ()
) -> AdjustedAreas:
    """True areas and accuracies from a sample that was drawn at random within each mapped class.

    Args:
        counts: [K, K] sampled places, rows their class in the map, columns the class found there.
        areas: [K] area of each class in the map.
        names: Class names, for errors.

    Raises:
        DataError: shapes that do not fit, negative counts, or a mapped class with fewer than 2 places.

    >>> found = error_adjusted(np.array([[97, 3], [3, 279]]), np.array([22353.0, 1122543.0]))
    >>> found.areas.round().tolist(), (1.96 * found.errors).round().tolist()
    ([33624.0, 1111272.0], [13486.0, 13486.0])
    """
    counts, areas = np.asarray(counts), np.asarray(areas, np.float64)
    if counts.shape != (len(areas), len(areas)) or (counts < 0).any():
        found = f"the counts are {list(counts.shape)}, the areas {list(areas.shape)}"
        raise DataError(
            found, remedy="give one row and one column of counts per class, none of them negative"
        )
    places = counts.sum(axis=1)
    scarce = np.flatnonzero((areas > 0) & (places < _FEWEST))
    if len(scarce):
        called = ", ".join(names[index] if names else f"class_{index}" for index in scarce.tolist())
        remedy = f"sample at least {_FEWEST} places in each mapped class; some 50 give useful intervals"
        raise DataError(f"the sample has fewer than {_FEWEST} places mapped as {called}", remedy=remedy)
    stray = np.flatnonzero((areas == 0) & (places > 0))
    if len(stray):
        called = ", ".join(names[index] if names else f"class_{index}" for index in stray.tolist())
        found = f"the sample has places mapped as {called}, and the map has no such pixel"
        raise DataError(found, remedy="give the sample that was drawn from this map")
    mapped = areas > 0
    total = areas.sum()
    weight = areas / total
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(mapped[:, None], counts / np.maximum(places, 1)[:, None], 0.0)
        spread = np.where(mapped[:, None], share * (1 - share) / np.maximum(places - 1, 1)[:, None], 0.0)
        proportion = weight[:, None] * share
        true = proportion.sum(axis=0)
        variance = (weight[:, None] ** 2 * spread).sum(axis=0)
        right, right_spread = np.diag(share), np.diag(spread)
        producers = np.where(true > 0, np.diag(proportion) / true, np.nan)
        others = (weight[:, None] ** 2 * spread * (1 - np.eye(len(areas)))).sum(axis=0)
        missed = weight**2 * (1 - producers) ** 2 * right_spread + producers**2 * others
        producers_errors = np.where(true > 0, np.sqrt(missed) / true, np.nan)
    overall = float(np.diag(proportion).sum()), float(np.sqrt((weight**2 * right_spread).sum()))
    return AdjustedAreas(
        total * true,
        total * np.sqrt(variance),
        overall,
        np.where(mapped, right, np.nan),
        np.where(mapped, np.sqrt(right_spread), np.nan),
        producers,
        producers_errors,
    )
