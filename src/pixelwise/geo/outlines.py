"""Outlines of a class map in pixel corners, traced strip by strip and joined without a seam.

A polygon that reaches the lower edge of a strip waits for what follows; when its last part is known, the parts are
united, and it is handed on. What is in memory is one strip and the polygons that wait. Corners are whole numbers,
so uniting is exact: both sides of a seam have a vertex at every pixel until then.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.geo.raster import load_rasterio
from pixelwise.geo.rings import Polygons, flat_rings, from_rings, shapely_of, with_vertices, without_seams
from pixelwise.types import Labels

_BATCH = 20_000  # polygons whose coordinates are Python objects at a time
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Outlines:
    """Polygons in (column, row) of pixel corners, [n], and the class index of each, uint8 [n]."""

    polygons: Polygons
    values: NDArray[np.uint8]

    @staticmethod
    def joined(parts: Iterable[Outlines]) -> Outlines:
        """All of several."""
        several = list(parts)
        if not several:
            return Outlines(np.zeros(0, object), np.zeros(0, np.uint8))
        polygons = np.concatenate([part.polygons for part in several])
        return Outlines(polygons, np.concatenate([part.values for part in several]))


@dataclass
class _Held:
    """A polygon that goes on below: its parts so far, and the row of corners where it begins."""

    value: int
    top: int
    parts: list[Any]


@dataclass
class _Tracer:
    width: int
    leave_out: tuple[int, ...]
    change: Callable[[Polygons], Polygons] | None
    top: int = 0
    last: NDArray[np.uint8] | None = None  # the row above the strip
    held: list[_Held] = field(default_factory=list)
    below: NDArray[np.int64] = field(default_factory=lambda: _NONE)  # which one, per column
    # corners where a straight border meets the border between two others: keys by the row of a seam
    level: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    plumb: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def stride(self) -> int:
        return self.width + 1


def trace_parts(
    strips: Iterable[Labels],
    *,
    leave_out: Collection[int] = (),
    change: Callable[[Polygons], Polygons] | None = None,
) -> Iterator[Outlines]:
    """Polygons of the connected pixels of each class, joined by their sides, as soon as they are complete.

    Valid, with their holes, and with a vertex wherever the border of two others meets theirs.

    Args:
        strips: uint8 [h, W] from top to bottom, all of one width.
        leave_out: values without polygons.
        change: changes the polygons of one strip together, but neither the frame of the strip nor the number and
            order of polygons, and makes no new vertices.

    Raises:
        MissingExtraError: rasterio or shapely is not installed.
        DataError: no strip, or one without pixels.
    """
    tracer: _Tracer | None = None
    for labels in strips:
        if labels.ndim != 2 or labels.size == 0:
            raise DataError("the class map has no pixels", remedy="give a map with rows and columns")
        if tracer is None:
            tracer = _Tracer(labels.shape[1], tuple(leave_out), change)
            tracer.below = np.full(tracer.width, -1)
        yield from _add(tracer, labels)
    if tracer is None:
        raise DataError("the class map has no pixels", remedy="give a map with rows and columns")
    yield from _released(tracer, tracer.held)


def trace(strips: Iterable[Labels], *, leave_out: Collection[int] = ()) -> Outlines:
    """All of `trace_parts`, without changes."""
    return Outlines.joined(trace_parts(strips, leave_out=leave_out))


def _add(tracer: _Tracer, labels: Labels) -> Iterator[Outlines]:
    """Take in the next strip; what it completes."""
    _note_seam(tracer, labels[0])
    polygons, values, upper, lower = _strip(labels, tracer)
    touching = np.union1d(upper[upper >= 0], lower[lower >= 0])
    inside = np.ones(len(polygons), bool)
    inside[touching] = False
    if inside.any():
        yield Outlines(polygons[inside], values[inside])
    renumbered = np.full(len(polygons) + 1, -1)  # the last entry is for -1
    renumbered[touching] = np.arange(len(touching))
    upper, lower = renumbered[upper], renumbered[lower]
    count = len(tracer.held)
    nodes = [*tracer.held, *(_Held(int(values[at]), tracer.top, [polygons[at]]) for at in touching.tolist())]
    joined = np.zeros((0, 2), np.int64)
    if tracer.last is not None:
        same = (tracer.last == labels[0]) & (tracer.below >= 0) & (upper >= 0)
        joined = np.unique(np.column_stack((tracer.below[same], upper[same] + count)), axis=0)
    group = _components(len(nodes), joined)
    merged: dict[int, _Held] = {}
    for node, number in zip(nodes, group.tolist(), strict=True):
        if number in merged:
            merged[number].parts += node.parts
            merged[number].top = min(merged[number].top, node.top)
        else:
            merged[number] = node
    goes_on = np.unique(group[lower[lower >= 0] + count])
    waiting = set(goes_on.tolist())
    yield from _released(tracer, [one for number, one in merged.items() if number not in waiting])
    tracer.held = [merged[number] for number in goes_on.tolist()]
    tracer.below = np.full(tracer.width, -1)
    reaching = lower >= 0
    tracer.below[reaching] = np.searchsorted(goes_on, group[lower[reaching] + count])
    first = min((one.top for one in tracer.held), default=tracer.top)
    for seams in (tracer.level, tracer.plumb):  # those above all that waits are not asked for again
        for row in [row for row in seams if row < first]:
            del seams[row]
    tracer.last = labels[-1].copy()
    tracer.top += len(labels)


def _strip(
    labels: Labels, tracer: _Tracer
) -> tuple[Polygons, NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Polygons of a strip, and which of them each column of its first and last row is in, or -1."""
    bottom, stride = tracer.top + len(labels), tracer.stride
    upper, lower = np.full(tracer.width, -1), np.full(tracer.width, -1)
    parts: list[Polygons] = []
    values: list[NDArray[np.uint8]] = []
    for polygons, value in _shapes(labels, tracer):
        points, ring, owners = flat_rings(polygons)
        before = sum(len(part) for part in parts)
        for row, owner in ((tracer.top, upper), (bottom, lower)):
            _own(row, points, ring, owners + before, owner)
        parts.append(polygons)
        values.append(value)
    if not parts:
        return np.zeros(0, object), np.zeros(0, np.uint8), upper, lower
    level, plumb = _crossings(labels)
    begin = tracer.top + 1
    seams = [row * stride + np.arange(stride) for row in (tracer.top, bottom)]
    rows = (level[0] + begin) * stride + level[1] + 1
    columns = np.sort((plumb[1] + 1) * (bottom + 1) + plumb[0] + begin)
    keys = np.concatenate((seams[0], rows, seams[1]))
    found = np.concatenate([with_vertices(part, keys, columns, (stride, bottom + 1)) for part in parts])
    return tracer.change(found) if tracer.change else found, np.concatenate(values), upper, lower


def _shapes(labels: Labels, tracer: _Tracer) -> Iterator[tuple[Polygons, NDArray[np.uint8]]]:
    """What GDAL traces, some polygons at a time."""
    rasterio = load_rasterio()
    from rasterio import features

    wanted = ~np.isin(labels, tracer.leave_out) if tracer.leave_out else None
    place = rasterio.Affine(1.0, 0.0, 0.0, 0.0, 1.0, float(tracer.top))
    every = features.shapes(labels, mask=wanted, connectivity=4, transform=place)
    while found := list(itertools.islice(every, _BATCH)):
        rings = [ring for geometry, _ in found for ring in geometry["coordinates"]]
        owners = np.repeat(np.arange(len(found)), [len(geometry["coordinates"]) for geometry, _ in found])
        points = np.array(list(itertools.chain.from_iterable(rings)))
        ring = np.repeat(np.arange(len(rings)), [len(one) for one in rings])
        yield from_rings(points, ring, owners), np.array([value for _, value in found], np.uint8)


def _own(
    row: int,
    points: NDArray[np.float64],
    ring: NDArray[np.int64],
    owners: NDArray[np.int64],
    owner: NDArray[np.int64],
) -> None:
    """Write into `owner`, per column, the polygon that has a side on the line above pixel row `row`."""
    on = (points[:-1, 1] == row) & (points[1:, 1] == row) & (ring[:-1] == ring[1:])
    for index in np.flatnonzero(on):
        begin, end = sorted((int(points[index, 0]), int(points[index + 1, 0])))
        owner[begin:end] = owners[ring[index]]


def _components(count: int, joined: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the connected component of each of `count` nodes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = (np.ones(len(joined), np.int8), (joined[:, 0], joined[:, 1]))
    group: NDArray[np.int64] = connected_components(coo_array(links, shape=(count, count)), directed=False)[1]
    return group.astype(np.int64)


def _released(tracer: _Tracer, finished: list[_Held]) -> Iterator[Outlines]:
    """Polygons that do not go on, their parts united."""
    if not finished:
        return
    shapely = shapely_of()
    polygons = np.array(
        [one.parts[0] if len(one.parts) == 1 else shapely.coverage_union_all(one.parts) for one in finished],
        object,
    )
    first = min(one.top for one in finished)
    keys = [
        np.concatenate([_NONE, *(keys for row, keys in sorted(seams.items()) if row >= first)])
        for seams in (tracer.level, tracer.plumb)
    ]
    rows = np.array(sorted({*tracer.level, tracer.top}), np.int64)
    polygons = without_seams(polygons, rows, keys[0], keys[1], tracer.stride)
    yield Outlines(polygons, np.array([one.value for one in finished], np.uint8))


def _note_seam(tracer: _Tracer, following: NDArray[np.uint8]) -> None:
    """Remember the vertices that stay on the seam above a row."""
    level, plumb = _NONE, _NONE
    if tracer.last is not None:
        found = _crossings(np.stack((tracer.last, following)))
        level, plumb = (tracer.top * tracer.stride + columns + 1 for _, columns in found)
    tracer.level[tracer.top], tracer.plumb[tracer.top] = level, plumb


def _crossings(labels: Labels) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]:
    """Inner corners (row, column) where a straight border of one region meets the border between two others.

    First those on horizontal borders, row by row; then those on vertical ones.
    """
    a, b, c, d = labels[:-1, :-1], labels[:-1, 1:], labels[1:, :-1], labels[1:, 1:]
    level = (a == b) & (c != d) & (c != a) & (d != a) | (c == d) & (a != b) & (a != c) & (b != c)
    plumb = (a == c) & (b != d) & (b != a) & (d != a) | (b == d) & (a != c) & (a != b) & (c != b)
    (level_rows, level_columns), (plumb_rows, plumb_columns) = np.nonzero(level), np.nonzero(plumb)
    return (level_rows, level_columns), (plumb_rows, plumb_columns)
