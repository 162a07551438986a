"""Objects of a class map: connected pixels of one class, with box, area, centroid and outline.

A class map says which class a pixel has, not which object it belongs to. So instances of one class that touch are
one object here, an instance that something else cuts in two is two objects, and no rule on the map alone can tell
otherwise: that takes labels of instances and a network that learns from them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy  # loads ndimage when it is first used: not every prediction needs it
from numpy.typing import NDArray

from pixelwise.errors import DataError, OptionError
from pixelwise.ops.boxes import Fractions, to_fractions
from pixelwise.types import IGNORE

Connectivity = Literal[4, 8]
Ring = tuple[tuple[int, int], ...]  # corners (row, column) of pixels, the first one again at the end
Polygon = tuple[Ring, ...]  # the outer ring, then its holes

_EAST, _SOUTH, _WEST, _NORTH = range(4)
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
# Where the sides of pixel (0, 0) begin when they are walked with the pixel on the right: top, right, bottom, left.
_BEGINNINGS = ((0, 0), (0, 1), (1, 1), (1, 0))


@dataclass(frozen=True)
class Object:
    """Connected pixels of one class.

    Coordinates are those of pixel corners: the first pixel covers rows 0..1 and columns 0..1.

    Attributes:
        class_index: The class of its pixels.
        box: top, left, bottom, right; half-open, so that `labels[top:bottom, left:right]` holds all of it.
        area: Its pixels.
        centroid: Mean row and column of its pixels' centres.
        outline: Polygons, each an outer ring and its holes. One for each part that hangs together by sides of
            pixels; parts that only share a corner are polygons of their own, so that no ring meets itself.
    """

    class_index: int
    box: tuple[int, int, int, int]
    area: int
    centroid: tuple[float, float]
    outline: tuple[Polygon, ...]

    @property
    def geometry(self) -> dict[str, Any]:
        """The outline as a GeoJSON MultiPolygon of [x, y] = [column, row], outer rings with positive area."""
        polygons = [[[[column, row] for row, column in ring] for ring in polygon] for polygon in self.outline]
        return {"type": "MultiPolygon", "coordinates": polygons}


def objects(
    labels: NDArray[Any],
    *,
    ignore: int = IGNORE,
    connectivity: Connectivity = 8,
    min_area: int = 1,
    skip: Collection[int] = (),
) -> list[Object]:
    """The objects of a class map [H, W], class by class, each class from top to bottom.

    Args:
        labels: Integers [H, W].
        ignore: A value that is no class.
        connectivity: 8 joins pixels that share a side or a corner, 4 only those that share a side.
        min_area: Smaller objects are left out, in pixels.
        skip: Classes that are no objects, such as the background.

    Raises:
        DataError: not a map of integers.
        OptionError: an option out of range.

    >>> found = objects(np.array([[1, 1, 0], [0, 1, 1]], np.uint8), skip=[0])
    >>> found[0].box, found[0].area, found[0].centroid
    ((0, 0, 2, 3), 4, (1.0, 1.5))
    >>> found[0].outline
    ((((0, 0), (0, 2), (1, 2), (1, 3), (2, 3), (2, 1), (1, 1), (1, 0), (0, 0)),),)
    """
    if min_area < 1:
        raise OptionError(f"min_area is {min_area}", remedy="give a number of pixels of at least 1")
    structure = _structure(connectivity)
    found: list[Object] = []
    for index, _ in _classes(labels, {ignore, *skip}):
        numbered, count = scipy.ndimage.label(labels == index, structure)
        areas = np.bincount(numbered.reshape(-1), minlength=count + 1).tolist()
        for number, place in enumerate(scipy.ndimage.find_objects(numbered), start=1):
            if areas[number] >= min_area:
                found.append(_object(index, numbered[place] == number, place, areas[number]))
    return found


def main_object(
    labels: NDArray[Any], background: int | None, *, ignore: int = IGNORE, connectivity: Connectivity = 8
) -> tuple[int, Fractions] | None:
    """Class and box of the largest object of a class map [H, W] that is not of the class `background`.

    The box is (centre row, centre column, height, width) as fractions of the map. Of equally large objects the one
    of the lower class counts, of one class the upper. None where there is only background or nothing.

    >>> main_object(np.array([[0, 0, 0, 0], [0, 2, 2, 0]], np.uint8), 0)
    (2, (0.75, 0.5, 0.5, 0.5))
    """
    structure = _structure(connectivity)
    largest, best = 0, None
    for index, pixels in _classes(labels, {ignore, background}):
        if pixels <= largest:
            continue  # not even all of them together would be larger
        numbered, _ = scipy.ndimage.label(labels == index, structure)
        areas = np.bincount(numbered.reshape(-1))
        areas[0] = 0
        number = int(areas.argmax())
        if areas[number] > largest:
            largest, best = (
                int(areas[number]),
                (index, scipy.ndimage.find_objects(numbered, number)[number - 1]),
            )
    if best is None:
        return None
    height, width = labels.shape
    return best[0], to_fractions(_box(best[1]), (height, width))


def _classes(labels: NDArray[Any], without: Collection[int | None]) -> Iterator[tuple[int, int]]:
    """The classes of a map and the pixels of each."""
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels are an array of shape {labels.shape} and type {labels.dtype}",
            remedy="pass a class map [H, W] of integers",
        )
    values, counts = np.unique(labels, return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return ((index, pixels) for index, pixels in pairs if index not in without)


def _structure(connectivity: int) -> NDArray[np.bool_]:
    if connectivity not in (4, 8):
        raise OptionError(f"connectivity is {connectivity}", remedy="give 4 or 8")
    structure: NDArray[np.bool_] = scipy.ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)
    return structure


def _object(index: int, mask: NDArray[np.bool_], place: tuple[slice, slice], area: int) -> Object:
    box = _box(place)
    rows, columns = np.nonzero(mask)
    centroid = (box[0] + float(rows.mean()) + 0.5, box[1] + float(columns.mean()) + 0.5)
    parts, _ = scipy.ndimage.label(mask)  # by sides only
    outline = tuple(
        _rings(parts[part] == number, (box[0] + part[0].start, box[1] + part[1].start))
        for number, part in enumerate(scipy.ndimage.find_objects(parts), start=1)
    )
    return Object(index, box, area, centroid, outline)


def _box(place: tuple[slice, slice]) -> tuple[int, int, int, int]:
    rows, columns = place
    return rows.start, columns.start, rows.stop, columns.stop


def _rings(mask: NDArray[np.bool_], origin: tuple[int, int]) -> Polygon:
    """The rings around a mask [h, w] whose pixels hang together by their sides; the outer one first.

    Every side between a pixel inside and one outside is walked once, with the inside on the right; a ring ends
    where it began.
    """
    padded = np.pad(mask, 1)
    outside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])  # above, right, ...
    leaving: dict[tuple[int, int], list[int]] = {}
    tops: list[tuple[int, int]] = []
    for heading, (neighbour, (down, right)) in enumerate(zip(outside, _BEGINNINGS, strict=True)):
        for row, column in np.argwhere(mask & ~neighbour).tolist():
            leaving.setdefault((row + down, column + right), []).append(heading)
            if heading == _EAST:
                tops.append((row, column))
    # Every ring has a side that is walked eastwards; the first one from the top belongs to the outer ring, and each
    # is reached before those that follow it in its own row, so a ring begins at a true corner.
    rings = [_walk(leaving, start) for start in tops if _EAST in leaving[start]]
    return tuple(tuple((row + origin[0], column + origin[1]) for row, column in ring) for ring in rings)


def _walk(leaving: dict[tuple[int, int], list[int]], start: tuple[int, int]) -> list[tuple[int, int]]:
    """One ring from `start` eastwards, as its corners; the sides it uses are taken out of `leaving`."""
    ring, corner, heading = [start], start, _EAST
    leaving[start].remove(_EAST)
    while True:
        down, right = _STEPS[heading]
        corner = (corner[0] + down, corner[1] + right)
        if corner == start:
            return [*ring, start]
        ways = leaving[corner]
        # Two pixels that meet at a corner: cross over to the other one (a turn to the left). They also hang
        # together elsewhere, so what lies between them is closed off, and no ring passes a corner twice.
        way = ways[0] if len(ways) == 1 else (heading + 3) % 4
        ways.remove(way)
        if way != heading:
            ring.append(corner)
        heading = way
