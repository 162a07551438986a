"""Whether two rasters have the same grid, and where they differ."""

from __future__ import annotations

from pixelwise.geo.classmaps import Grid
from pixelwise.geo.raster import load_rasterio

_NOWHERE = Grid(0, 0).transform
_ALLOWED = 0.01  # of a pixel: writers round the place, and half a pixel is already another grid


def has_place(grid: Grid) -> bool:
    """Whether a grid lies anywhere; that of a PNG does not."""
    return grid.crs is not None or grid.transform != _NOWHERE


def difference(first: Grid, second: Grid) -> str:
    """What tells two grids apart, in words; empty if nothing does.

    A grid without a place fits any of its size.

    >>> difference(Grid(10, 20), Grid(10, 21))
    'one is 10 x 20 pixels, the other 10 x 21'
    """
    if (first.height, first.width) != (second.height, second.width):
        return f"one is {first.height} x {first.width} pixels, the other {second.height} x {second.width}"
    if not (has_place(first) and has_place(second)):
        return ""
    if first.crs != second.crs and not _same_system(first.crs, second.crs):
        return f"one is in {_short(first.crs)}, the other in {_short(second.crs)}"
    moved = _moved(first, second)
    if moved > _ALLOWED:
        return f"they lie up to {moved:.3g} pixels apart: {first.transform} and {second.transform}"
    return ""


def _moved(first: Grid, second: Grid) -> float:
    """How far the corners of one lie from those of the other, in pixels of the first."""
    corners = [(column, row) for column in (0, first.width) for row in (0, first.height)]
    a, b, c, d, e, f = (one - other for one, other in zip(second.transform, first.transform, strict=True))
    p, q, _, r, s, _ = first.transform
    scale = p * s - q * r
    far = 0.0
    for column, row in corners:
        x, y = a * column + b * row + c, d * column + e * row + f
        far = max(far, abs((s * x - q * y) / scale), abs((p * y - r * x) / scale))
    return far


def _same_system(first: str | None, second: str | None) -> bool:
    if not first or not second:
        return False
    system = load_rasterio().crs.CRS
    return bool(system.from_wkt(first) == system.from_wkt(second))


def _short(crs: str | None) -> str:
    if not crs:
        return "no coordinate system"
    return crs.split('"')[1] if '"' in crs else crs
