"""Which of many rasters show the same ground, and which make up one scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.geo.classmaps import Grid
from pixelwise.geo.rings import shapely_of
from pixelwise.geo.scenes import footprint
from pixelwise.ops.tiles import Box

ROUNDING = 1e-6  # share of the ground that neighbours may have in common
_ROWS = 256  # rasters that are compared with all others at a time


def same_ground(grids: Mapping[int, tuple[Grid, Box]]) -> Iterator[tuple[int, int, float]]:
    """Pairs of numbers, the lower one first, whose windows overlap on the earth, and by what share of the smaller.

    Windows of rasters without a coordinate system are left out.

    Raises:
        MissingExtraError: shapely is not installed.
    """
    numbers = [number for number, (grid, _) in sorted(grids.items()) if grid.crs is not None]
    areas: list[Any] = [footprint(*grids[number]) for number in numbers]
    if not areas:
        return
    tree = shapely_of().STRtree(areas)
    for one, two in zip(*(side.tolist() for side in tree.query(areas, predicate="intersects")), strict=True):
        if one >= two:
            continue
        smaller = min(areas[one].area, areas[two].area)
        share = areas[one].intersection(areas[two]).area / smaller if smaller > 0 else 0.0
        if share > ROUNDING:
            yield numbers[one], numbers[two], min(1.0, share)


def touching(grids: Sequence[Grid]) -> NDArray[np.intp]:
    """The scene of each raster: those that touch or overlap are of one, and so is what touches these.

    Rasters count as their upright boxes in the coordinates of their own system, less than a pixel apart as touching;
    those of two systems are never of one scene, and one without a system is a scene of its own.

    >>> row = [Grid(8, 8, (1.0, 0.0, 8.0 * k, 0.0, -1.0, 0.0), "32631") for k in (0, 1, 5)]
    >>> touching(row).tolist()
    [0, 0, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    boxes = np.array([extent(grid) for grid in grids]).reshape(-1, 4)
    pixels = np.array([abs(np.linalg.det(np.reshape(grid.transform, (2, 3))[:, :2])) for grid in grids])
    slack = np.sqrt(pixels) / 2
    low, high = boxes[:, :2] - slack[:, None], boxes[:, 2:] + slack[:, None]
    systems = {crs: number for number, crs in enumerate(dict.fromkeys(grid.crs for grid in grids))}
    system = np.array([systems[grid.crs] if grid.crs is not None else -1 for grid in grids])
    pairs = []
    for top in range(0, len(grids), _ROWS):
        part = slice(top, top + _ROWS)
        meet = (system[part, None] == system[None]) & (system[part, None] >= 0)
        for axis in (0, 1):
            meet &= low[part, None, axis] < high[None, :, axis]
            meet &= low[None, :, axis] < high[part, None, axis]
        pairs.append(np.argwhere(meet) + np.array([top, 0]))
    one, two = np.concatenate(pairs or [np.zeros((0, 2), np.intp)]).T
    shape = (len(grids), len(grids))
    labels = connected_components(coo_array((np.ones(len(one), bool), (one, two)), shape), directed=False)[1]
    scenes: NDArray[np.intp] = labels.astype(np.intp)
    return scenes


def extent(grid: Grid) -> tuple[float, float, float, float]:
    """The upright box around a raster in the coordinates of its system: lowest x and y, highest x and y."""
    sides = [(0, 0), (grid.width, 0), (0, grid.height), (grid.width, grid.height)]
    corners = grid.to_map(np.array(sides, np.float64))
    (west, south), (east, north) = corners.min(0).tolist(), corners.max(0).tolist()
    return west, south, east, north
