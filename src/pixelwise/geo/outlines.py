"""Outlines of a class map in pixel corners, traced strip by strip and joined without a seam.

A polygon that reaches the lower edge of a strip waits for what follows; when its last part is known, the parts are
united. Corners are whole numbers, so this is exact. In the end every polygon gets a vertex wherever the border of
two others meets its own: only then do neighbours share their borders vertex by vertex, and stay neighbours when the
vertices are simplified or projected.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, MissingExtraError
from pixelwise.geo.raster import load_rasterio
from pixelwise.types import Labels

Polygons = NDArray[Any]  # [n] of shapely Polygon
_BATCH = 200_000  # vertices that are looked at together; each takes some 200 bytes meanwhile


@dataclass(frozen=True, eq=False)
class Outlines:
    """Polygons in (column, row) of pixel corners, [n], and the class index of each, uint8 [n]."""

    polygons: Polygons
    values: NDArray[np.uint8]


@dataclass
class _Held:
    """A polygon that goes on below: its parts so far."""

    value: int
    parts: list[Any]


@dataclass
class _Tracer:
    width: int
    leave_out: tuple[int, ...]
    top: int = 0
    last: NDArray[np.uint8] | None = None  # the row above the strip
    held: list[_Held] = field(default_factory=list)
    below: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # which one, per column
    done: list[tuple[Polygons, NDArray[np.uint8]]] = field(default_factory=list)
    crossings: list[NDArray[np.int64]] = field(default_factory=list)
    upright: list[NDArray[np.int64]] = field(default_factory=list)


def trace(strips: Iterable[Labels], *, leave_out: Collection[int] = ()) -> Outlines:
    """Polygons of the connected pixels of each class, joined by their sides; exact, valid and with their holes.

    Args:
        strips: uint8 [h, W] from top to bottom, all of one width.
        leave_out: values without polygons.

    Raises:
        MissingExtraError: rasterio or shapely is not installed.
        DataError: no strip, or one without pixels.
    """
    tracer: _Tracer | None = None
    for labels in strips:
        if labels.ndim != 2 or labels.size == 0:
            raise DataError("the class map has no pixels", remedy="give a map with rows and columns")
        if tracer is None:
            tracer = _Tracer(labels.shape[1], tuple(leave_out))
            tracer.below = np.full(tracer.width, -1)
        _add(tracer, labels)
    if tracer is None:
        raise DataError("the class map has no pixels", remedy="give a map with rows and columns")
    _release(tracer, tracer.held)
    if not tracer.done:
        return Outlines(np.zeros(0, object), np.zeros(0, np.uint8))
    polygons = np.concatenate([part for part, _ in tracer.done])
    values = np.concatenate([part for _, part in tracer.done])
    return Outlines(_with_crossings(polygons, tracer), values)


def shapely_of() -> Any:
    """shapely, imported when it is first needed."""
    try:
        import shapely
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]"'
        raise MissingExtraError("polygons need shapely, which is not installed", remedy=remedy) from error
    return shapely


def flat_rings(polygons: Polygons) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """All vertices [n, 2] of polygons, the ring of each [n], and the polygon of each ring."""
    shapely = shapely_of()
    rings, owners = shapely.get_rings(polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    return points, ring, owners


def from_rings(points: NDArray[np.float64], ring: NDArray[np.int64], owners: NDArray[np.int64]) -> Polygons:
    """What `flat_rings` took apart; the first ring of a polygon is the outer one."""
    shapely = shapely_of()
    polygons: Polygons = shapely.polygons(shapely.linearrings(points, indices=ring), indices=owners)
    return polygons


def _add(tracer: _Tracer, labels: Labels) -> None:
    """Take in the next strip."""
    polygons, values, upper, lower = _strip(labels, tracer)
    held, count = tracer.held, len(tracer.held)
    nodes = [*held, *(_Held(int(value), [polygon]) for polygon, value in zip(polygons, values, strict=True))]
    joined = np.zeros((0, 2), np.int64)
    if tracer.last is not None:
        same = (tracer.last == labels[0]) & (tracer.below >= 0) & (upper >= 0)
        joined = np.unique(np.column_stack((tracer.below[same], upper[same] + count)), axis=0)
    group = _components(len(nodes), joined)
    merged: dict[int, _Held] = {}
    for node, number in zip(nodes, group.tolist(), strict=True):
        if number in merged:
            merged[number].parts += node.parts
        else:
            merged[number] = node
    goes_on = np.unique(group[lower[lower >= 0] + count])
    _release(tracer, [one for number, one in merged.items() if number not in set(goes_on.tolist())])
    tracer.held = [merged[number] for number in goes_on.tolist()]
    tracer.below = np.full(tracer.width, -1)
    reaching = lower >= 0
    tracer.below[reaching] = np.searchsorted(goes_on, group[lower[reaching] + count])
    _note_crossings(tracer, labels)
    tracer.last = labels[-1].copy()
    tracer.top += len(labels)


def _strip(
    labels: Labels, tracer: _Tracer
) -> tuple[Polygons, NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Polygons of a strip that may go on elsewhere, and which of them each column of its first and last row is in.

    Those that touch neither row are done.
    """
    rasterio = load_rasterio()
    from rasterio import features

    wanted = ~np.isin(labels, tracer.leave_out) if tracer.leave_out else None
    place = rasterio.Affine(1.0, 0.0, 0.0, 0.0, 1.0, float(tracer.top))
    found = list(features.shapes(labels, mask=wanted, connectivity=4, transform=place))
    empty = np.full(tracer.width, -1)
    if not found:
        return np.zeros(0, object), np.zeros(0, np.uint8), empty, empty
    values = np.array([value for _, value in found], np.uint8)
    rings = [ring for geometry, _ in found for ring in geometry["coordinates"]]
    owners = np.repeat(np.arange(len(found)), [len(geometry["coordinates"]) for geometry, _ in found])
    points = np.array(list(itertools.chain.from_iterable(rings)))
    ring = np.repeat(np.arange(len(rings)), [len(one) for one in rings])
    polygons = from_rings(points, ring, owners)
    bottom = tracer.top + len(labels)
    upper, lower = (_owners_along(row, points, ring, owners, tracer.width) for row in (tracer.top, bottom))
    touching = np.union1d(upper[upper >= 0], lower[lower >= 0])
    inside = np.ones(len(found), bool)
    inside[touching] = False
    tracer.done.append((polygons[inside], values[inside]))
    renumbered = np.full(len(found) + 1, -1)  # the last entry is for -1
    renumbered[touching] = np.arange(len(touching))
    # United below by their common sides, so both sides of a seam get a vertex at every pixel.
    stride = tracer.width + 1
    seams = np.concatenate([row * stride + np.arange(stride) for row in (tracer.top, bottom)])
    strides = (stride, bottom + 1)
    reaching = polygons[touching]
    if len(reaching):
        reaching = _crossed(reaching, seams, np.zeros(0, np.int64), strides)
    return reaching, values[touching], renumbered[upper], renumbered[lower]


def _owners_along(
    row: int,
    points: NDArray[np.float64],
    ring: NDArray[np.int64],
    owners: NDArray[np.int64],
    width: int,
) -> NDArray[np.int64]:
    """The polygon that has a side on the line above pixel row `row`, per column, or -1."""
    on = (points[:-1, 1] == row) & (points[1:, 1] == row) & (ring[:-1] == ring[1:])
    owner = np.full(width, -1)
    for index in np.flatnonzero(on):
        begin, end = sorted((int(points[index, 0]), int(points[index + 1, 0])))
        owner[begin:end] = owners[ring[index]]
    return owner


def _components(count: int, joined: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the connected component of each of `count` nodes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = (np.ones(len(joined), np.int8), (joined[:, 0], joined[:, 1]))
    group: NDArray[np.int64] = connected_components(coo_array(links, shape=(count, count)), directed=False)[1]
    return group.astype(np.int64)


def _release(tracer: _Tracer, finished: list[_Held]) -> None:
    """Unite the parts of polygons that do not go on."""
    if not finished:
        return
    shapely = shapely_of()
    polygons = np.array(
        [one.parts[0] if len(one.parts) == 1 else shapely.coverage_union_all(one.parts) for one in finished],
        object,
    )
    tracer.done.append((polygons, np.array([one.value for one in finished], np.uint8)))


def _note_crossings(tracer: _Tracer, labels: Labels) -> None:
    """Remember the corners where a straight border of one region meets the border between two others."""
    window = labels if tracer.last is None else np.vstack((tracer.last[None], labels))
    top = tracer.top + (1 if tracer.last is None else 0)  # the row of corners below the window's first row
    a, b, c, d = window[:-1, :-1], window[:-1, 1:], window[1:, :-1], window[1:, 1:]
    level = (a == b) & (c != d) & (c != a) & (d != a) | (c == d) & (a != b) & (a != c) & (b != c)
    plumb = (a == c) & (b != d) & (b != a) & (d != a) | (b == d) & (a != c) & (a != b) & (c != b)
    for found, keys in ((level, tracer.crossings), (plumb, tracer.upright)):
        rows, columns = np.nonzero(found)
        # row-major keys, so that those of a horizontal side stand side by side
        keys.append((rows + top) * (tracer.width + 1) + columns + 1)


def _true_corners(
    points: NDArray[np.float64], ring: NDArray[np.int64], owners: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The rings without vertices on straight sides, which uniting parts leaves at the former seams."""
    begins = np.flatnonzero(np.diff(ring, prepend=-1))
    ends = np.append(begins[1:], len(ring)) - 1  # each repeats the first vertex of its ring
    before = np.arange(len(points)) - 1
    before[begins] = ends - 1
    after = np.arange(len(points)) + 1
    after[ends] = begins + 1  # not used
    after[-1] = 0
    turning = ~((points[before] == points) & (points == points[after])).any(axis=1)
    turning[ends] = False
    points, ring = points[turning], ring[turning]
    begins = np.flatnonzero(np.diff(ring, prepend=-1))
    lengths = np.diff(np.append(begins, len(ring)))
    closed = np.insert(np.arange(len(ring)), begins + lengths, begins)
    return points[closed], ring[closed], owners


def _with_crossings(polygons: Polygons, tracer: _Tracer) -> Polygons:
    """The polygons with the vertices that they lack on their straight sides, some of them at a time."""
    shapely = shapely_of()
    stride, height = tracer.width + 1, tracer.top + 1
    level = np.concatenate(tracer.crossings)
    plumb = np.concatenate(tracer.upright)
    plumb = np.sort(plumb % stride * height + plumb // stride)
    batch = np.cumsum(shapely.get_num_coordinates(polygons)) // _BATCH
    begins = np.append(np.flatnonzero(np.diff(batch, prepend=-1)), len(polygons))
    return np.concatenate(
        [
            _crossed(polygons[begin:end], level, plumb, (stride, height))
            for begin, end in itertools.pairwise(begins.tolist())
        ]
    )


def _crossed(
    polygons: Polygons, level: NDArray[np.int64], plumb: NDArray[np.int64], strides: tuple[int, int]
) -> Polygons:
    """Polygons with more vertices: `level` and `plumb` are sorted keys of corners along rows and columns."""
    points, ring, owners = _true_corners(*flat_rings(polygons))
    corners = points.astype(np.int64)
    stride, height = strides
    x, y = corners[:, 0], corners[:, 1]
    level_at, plumb_at = y * stride + x, x * height + y
    flat = y[:-1] == y[1:]
    within = ring[:-1] == ring[1:]
    counts = np.zeros(len(points), np.int64)
    first = np.zeros(
        len(points), np.int64
    )  # place of the first key between the ends, in one of the two lists
    for keys, at, chosen in ((level, level_at, flat & within), (plumb, plumb_at, ~flat & within)):
        low = np.minimum(at[:-1], at[1:])[chosen]
        high = np.maximum(at[:-1], at[1:])[chosen]
        begin = np.searchsorted(keys, low, side="right")
        first[:-1][chosen] = begin
        counts[:-1][chosen] = np.searchsorted(keys, high, side="left") - begin
    source = np.repeat(np.arange(len(points)), counts + 1)
    step = np.arange(len(source)) - np.repeat(np.cumsum(counts + 1) - counts - 1, counts + 1)
    result = points[source]
    new = step > 0
    side = source[new]
    ahead = (level_at[np.minimum(side + 1, len(points) - 1)] > level_at[side]).astype(bool)
    offset = np.where(ahead, step[new] - 1, counts[side] - step[new])
    key_at = first[side] + offset
    horizontal = flat[side]
    result[np.flatnonzero(new)[horizontal], 0] = level[key_at[horizontal]] % stride
    result[np.flatnonzero(new)[~horizontal], 1] = plumb[key_at[~horizontal]] % height
    return from_rings(result, ring[source], owners)
