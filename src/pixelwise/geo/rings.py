"""Polygons of whole-numbered corners: the vertices on their straight sides that neighbours need, and no others.

Neighbours share their borders only where every polygon has a vertex wherever the border of two others meets its own;
only then do they stay neighbours when the vertices are simplified or projected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import MissingExtraError

Polygons = NDArray[Any]  # [n] of shapely Polygon


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


def with_vertices(
    polygons: Polygons, level: NDArray[np.int64], plumb: NDArray[np.int64], strides: tuple[int, int]
) -> Polygons:
    """Polygons with more vertices on their straight sides.

    Args:
        polygons: [n], with sides along rows and columns.
        level: sorted keys of corners, row * strides[0] + column; those on a horizontal side become vertices.
        plumb: sorted keys of corners, column * strides[1] + row; those on a vertical side become vertices.
        strides: larger than any column, larger than any row.
    """
    points, ring, owners = flat_rings(polygons)
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


def without_seams(
    polygons: Polygons,
    rows: NDArray[np.int64],
    level: NDArray[np.int64],
    plumb: NDArray[np.int64],
    stride: int,
) -> Polygons:
    """Polygons without the vertices on straight sides that joining their parts has left along `rows`.

    Args:
        polygons: [n]; other vertices stay, whatever lies around them.
        rows: sorted, the rows of corners along which parts were joined.
        level: sorted keys, row * stride + column, of vertices that stay on horizontal sides.
        plumb: the same for vertical sides.
        stride: larger than any column.
    """
    points, ring, owners = flat_rings(polygons)
    begins = np.flatnonzero(np.diff(ring, prepend=-1))
    ends = np.append(begins[1:], len(ring)) - 1  # each repeats the first vertex of its ring
    before = np.arange(len(points)) - 1
    before[begins] = ends - 1
    after = np.arange(len(points)) + 1
    after[ends] = begins + 1  # not used
    along = (points[before] == points) & (points == points[after])  # [n, 2]: upright sides, level sides
    seam = _among(points[:, 1].astype(np.int64), rows)
    key = points[:, 1].astype(np.int64) * stride + points[:, 0].astype(np.int64)
    idle = seam & (along[:, 1] & ~_among(key, level) | along[:, 0] & ~_among(key, plumb))
    idle[ends] = True  # closed again below
    points, ring = points[~idle], ring[~idle]
    begins = np.flatnonzero(np.diff(ring, prepend=-1))
    lengths = np.diff(np.append(begins, len(ring)))
    closed = np.insert(np.arange(len(ring)), begins + lengths, begins)
    return from_rings(points[closed], ring[closed], owners)


def _among(values: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values are in the sorted array `known`."""
    if not len(known):
        return np.zeros(len(values), bool)
    found: NDArray[np.bool_] = known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values
    return found
