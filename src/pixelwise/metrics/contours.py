"""Contours of label maps: the band along them, the pixels on them, and how far those of two maps are apart.

A pixel whose class is not known (255) is no neighbour: what borders on it is no contour for that reason. Beyond the
frame of the image there is another class or nothing known, as `sides` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pixelwise.types import IGNORE, Labels

Points = NDArray[np.int64]  # [n, 2], row and column

_VALUES = 256


class Sides(NamedTuple):
    """Which sides of an array are contours; a strip of a map has none where the map goes on."""

    top: bool = True
    bottom: bool = True
    left: bool = True
    right: bool = True


FRAME = Sides()
"""All sides, of an image on its own."""


@dataclass(frozen=True, eq=False)
class ContourCounts:
    """What an image adds to the boundary scores.

    Attributes:
        band: int64 [K, 3]: pixels in the bands of both maps with one class, in that of the truth, of the prediction.
        edge: int64 [K, 4]: contour pixels of the truth with one of the prediction within the tolerance, those of
            the truth, those of the prediction with one of the truth, those of the prediction.
        distances: For each class the distance in pixels of every contour pixel of the truth to the prediction's
            contour, and the other way round; None where one of them is empty. No classes if they were not asked for.
    """

    band: NDArray[np.int64]
    edge: NDArray[np.int64]
    distances: tuple[tuple[NDArray[np.float64], NDArray[np.float64]] | None, ...] = ()


def contour_counts(
    truth: Labels,
    prediction: Labels,
    classes: int,
    *,
    width: int,
    tolerance: float,
    sides: Sides = FRAME,
    core: slice = slice(None),
    distances: bool = False,
) -> ContourCounts:
    """Count the bands and contours of two maps, uint8 [H, W], in the rows `core`.

    The rows around the core are only looked at. With `halo_rows(width, tolerance)` of them on each side where the
    map goes on, the counts of all parts add up to those of the whole map.

    Args:
        truth: Class indices below `classes`, or 255.
        prediction: The same; pixels where the truth is 255 count nowhere.
        classes: Number of classes K.
        width: Of the band, in pixels; at least 1.
        tolerance: Largest distance in pixels between contour pixels that match.
        sides: Which sides of the arrays are contours.
        core: The rows that are counted.
        distances: Whether all distances are wanted, not only those within the tolerance.
    """
    unknown = truth == IGNORE
    prediction = np.where(unknown, np.uint8(IGNORE), prediction)
    return ContourCounts(
        _band_counts(truth, prediction, classes, width, sides, core),
        *_edge_counts(truth, prediction, classes, tolerance, sides, core, distances),
    )


def halo_rows(width: int, tolerance: float) -> int:
    """Rows that have to be known around those that are counted: the band's, or a match's and its neighbour's.

    >>> halo_rows(5, 5.0), halo_rows(5, 2.0)
    (6, 5)
    """
    return max(width, int(tolerance) + 1)


def in_band(labels: Labels, width: int, sides: Sides = FRAME) -> NDArray[np.bool_]:
    """Where a known pixel of another class lies at most `width` rows and columns away; never at 255.

    This is what erosion by a square of 3 x 3, `width` times over, takes from each class.

    >>> in_band(np.array([[0, 0, 0, 1, 255, 0]], np.uint8), 1, Sides(*[False] * 4)).tolist()
    [[False, False, True, True, False, False]]
    """
    # The window of a pixel holds another class if its largest and smallest known index differ.
    known = labels != IGNORE
    largest = np.where(known, labels, np.uint8(0))
    smallest = labels
    for axis in (0, 1):
        largest = _over_window(largest, width, axis, np.maximum, 0)
        smallest = _over_window(smallest, width, axis, np.minimum, IGNORE)
    found: NDArray[np.bool_] = largest != smallest
    _mark_sides(found, width, sides)
    found &= known
    return found


def on_contour(labels: Labels, sides: Sides = FRAME) -> NDArray[np.bool_]:
    """Where a known pixel of another class is the neighbour above, below, to the left or right; never at 255.

    >>> on_contour(np.array([[0, 0, 1, 255, 0]], np.uint8), Sides(*[False] * 4)).tolist()
    [[False, True, True, False, False]]
    """
    known = labels != IGNORE
    found = np.zeros(labels.shape, bool)
    for first, second in (
        ((slice(None, -1),), (slice(1, None),)),
        ((..., slice(None, -1)), (..., slice(1, None))),
    ):
        differ = (labels[first] != labels[second]) & known[first] & known[second]
        found[first] |= differ
        found[second] |= differ
    _mark_sides(found, 1, sides)
    found &= known
    return found


def _mark_sides(found: NDArray[np.bool_], width: int, sides: Sides) -> None:
    for wanted, part in zip(
        sides,
        (found[:width], found[::-1][:width], found[:, :width], found[:, ::-1][:, :width]),
        strict=True,
    ):
        if wanted:
            part[...] = True


def _over_window(values: Labels, reach: int, axis: int, join: Any, neutral: int) -> Labels:
    """`join` over 2 reach + 1 values along an axis, in a number of passes that grows with the logarithm."""
    reach = min(reach, values.shape[axis])
    margin = [(0, 0), (0, 0)]
    margin[axis] = (reach, reach)
    out = np.pad(values, margin, constant_values=neutral)
    length = 1
    while length < 2 * reach + 1:
        step = min(length, 2 * reach + 1 - length)
        before = (slice(None),) * axis
        out = join(out[(*before, slice(None, -step))], out[(*before, slice(step, None))])
        length += step
    return out


def _band_counts(
    truth: Labels, prediction: Labels, classes: int, width: int, sides: Sides, core: slice
) -> NDArray[np.int64]:
    true, claimed = in_band(truth, width, sides)[core], in_band(prediction, width, sides)[core]
    t, p = truth[core], prediction[core]
    parts = (t[true & claimed & (t == p)], t[true], p[claimed])
    return np.stack([np.bincount(part, minlength=_VALUES)[:classes] for part in parts], axis=1).astype(
        np.int64
    )


def _edge_counts(
    truth: Labels,
    prediction: Labels,
    classes: int,
    tolerance: float,
    sides: Sides,
    core: slice,
    distances: bool,
) -> tuple[NDArray[np.int64], tuple[tuple[NDArray[np.float64], NDArray[np.float64]] | None, ...]]:
    counts = np.zeros((classes, 4), np.int64)
    found: list[tuple[NDArray[np.float64], NDArray[np.float64]] | None] = []
    first, stop, _ = core.indices(len(truth))
    limit = np.inf if distances else tolerance
    pairs = zip(
        _points_by_class(truth, on_contour(truth, sides), classes),
        _points_by_class(prediction, on_contour(prediction, sides), classes),
        strict=True,
    )
    for index, (true, claimed) in enumerate(pairs):
        away = [
            _nearest(points[(points[:, 0] >= first) & (points[:, 0] < stop)], others, limit)
            for points, others in ((true, claimed), (claimed, true))
        ]
        for place, values in zip((0, 2), away, strict=True):
            counts[index, place : place + 2] = np.count_nonzero(values <= tolerance), len(values)
        if distances:
            found.append((away[0], away[1]) if len(true) and len(claimed) else None)
    return counts, tuple(found)


def _points_by_class(labels: Labels, chosen: NDArray[np.bool_], classes: int) -> Iterator[Points]:
    places = np.flatnonzero(chosen)
    found = labels.reshape(-1)[places]
    places = places[np.argsort(found, kind="stable")]
    ends = np.cumsum(np.bincount(found, minlength=_VALUES))[:classes]
    for part in np.split(places, ends)[:classes]:
        yield np.column_stack(np.divmod(part, labels.shape[1]))


def _nearest(points: Points, others: Points, limit: float) -> NDArray[np.float64]:
    """The distance of each point to the nearest of the others; infinite where that is beyond the limit."""
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    # Coordinates are whole numbers, so squared distances are exact; the tree's own bound is not included in it.
    away, _ = cKDTree(others).query(points, distance_upper_bound=limit + 0.5)
    return np.asarray(away, np.float64)
