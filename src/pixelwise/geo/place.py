"""Where a raster lies on the earth, carried from file to file exactly as it was found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

DEGREE = 111_195.0  # metres of a degree of latitude, on a sphere of 6371 km


@dataclass(frozen=True, eq=False)
class Place:
    """The coordinate system of a raster and how its pixels lie in it.

    Attributes:
        crs: As WKT; empty where the file names none.
        transform: (a, b, c, d, e, f): the outer corner of pixel (row, column) lies at x = a column + b row + c,
            y = d column + e row + f; None where the file does not say.
        gcps: Ground control points as rasterio has them, for files that have them in place of a transform.
        rpcs: Rational polynomial coefficients, likewise.
        pixel_size: Metres, the square root of a pixel's area; in degrees at the middle of the raster; None where
            unknown.
        square: Whether pixels are as wide as high on the ground, to a percent, so that one size tells all lengths.
    """

    crs: str = ""
    transform: tuple[float, float, float, float, float, float] | None = None
    gcps: tuple[Any, ...] = ()
    rpcs: Any = None
    pixel_size: float | None = None
    square: bool = True

    @property
    def known(self) -> bool:
        """Whether the raster lies anywhere."""
        return self.transform is not None or bool(self.gcps) or self.rpcs is not None


def place_of(dataset: Any, *, nowhere: bool) -> Place:
    """The place of an open rasterio dataset; `nowhere` if rasterio said on opening that it is not georeferenced.

    In that case the transform is not to be looked at: GDAL may never have set it.
    """
    gcps, gcp_crs = dataset.gcps
    crs = dataset.crs or gcp_crs
    transform = None
    if not nowhere and not gcps:
        a, b, c, d, e, f = (float(value) for value in tuple(dataset.transform)[:6])
        transform = (a, b, c, d, e, f) if math.isfinite(a + b + c + d + e + f) and a * e != b * d else None
    return Place(
        crs=crs.to_wkt() if crs else "",
        transform=transform,
        gcps=tuple(gcps),
        rpcs=dataset.rpcs,
        pixel_size=_metres(crs, transform, dataset.height, dataset.width),
        square=_square(crs, transform, dataset.height, dataset.width),
    )


def _metres(crs: Any, transform: tuple[float, ...] | None, height: int, width: int) -> float | None:
    if not crs or transform is None:
        return None
    a, b, _, d, e, _ = transform
    area = abs(a * e - b * d)
    if crs.is_geographic:
        return math.sqrt(area * _narrower(transform, height, width)) * DEGREE
    if not crs.is_projected:
        return None
    return math.sqrt(area) * float(crs.linear_units_factor[1])


def _square(crs: Any, transform: tuple[float, ...] | None, height: int, width: int) -> bool:
    if not crs or transform is None:
        return True
    a, b, _, d, e, _ = transform
    narrower = _narrower(transform, height, width) if crs.is_geographic else 1.0
    across, down = math.hypot(a * narrower, d), math.hypot(b * narrower, e)
    return abs(across - down) <= max(across, down) / 100


def _narrower(transform: tuple[float, ...], height: int, width: int) -> float:
    """A degree of longitude over one of latitude, at the middle of a raster in degrees."""
    latitude = transform[5] + transform[3] * width / 2 + transform[4] * height / 2
    return max(0.0, math.cos(math.radians(latitude)))
