"""Which of many rasters show the same ground."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pixelwise.geo.classmaps import Grid
from pixelwise.geo.rings import shapely_of
from pixelwise.geo.scenes import footprint
from pixelwise.ops.tiles import Box

ROUNDING = 1e-6  # share of the ground that neighbours may have in common


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
