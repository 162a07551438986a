"""What the header of an image file says, and the orientation it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNNAMED = 32767
"""What a GeoTIFF says in place of an EPSG code when it describes its coordinate system itself."""


@dataclass(frozen=True)
class Place:
    """Where a GeoTIFF lies: pixel (column, row) is at (a*column + b*row + c, d*column + e*row + f) of `crs`."""

    affine: tuple[float, float, float, float, float, float]
    crs: int | None  # EPSG code, UNNAMED for a system that has none; None where the file gives none

    def __str__(self) -> str:
        a, b, c, d, e, f = self.affine
        turned = f", turned ({b:.6g}, {d:.6g})" if b or d else ""
        where = f"EPSG:{self.crs} " if self.crs and self.crs != UNNAMED else ""
        return f"{where}corner ({c:.10g}, {f:.10g}), pixel ({a:.6g}, {e:.6g}){turned}"

    def differs(self, other: Place) -> bool:
        """Whether pixels lie elsewhere, by more than a hundredth of a pixel at the corner or in size."""
        if self.crs and other.crs and self.crs != other.crs and UNNAMED not in (self.crs, other.crs):
            return True
        unit = max(abs(value) for value in (*self.affine[:2], *self.affine[3:5]))
        return any(abs(x - y) > unit / 100 for x, y in zip(self.affine, other.affine, strict=True))


@dataclass(frozen=True)
class Header:
    """An image file before decoding: `height` and `width` as stored, `bands` and `dtype` as read."""

    format: str
    height: int
    width: int
    bands: int
    dtype: str
    orientation: int = 1  # 1 to 8, of the EXIF or TIFF tag
    frames: int = 1
    alpha: bool = False  # a channel that reading drops
    colors: bool = False  # stored as several bands, not as one band or palette indices
    lossy: str = ""  # name of a compression that loses values, or may
    nodata: int | None = None
    depth: int = 8  # bits per value as stored
    size: int = 0  # bytes of the file
    blank: float | None = None  # the value that the file declares to be no data; may be NaN
    white: bool = False  # grey whose 0 is white
    place: Place | None = None  # where a GeoTIFF lies


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation (1 to 8) to [H, W] or [H, W, C]; other numbers mean upright.

    >>> upright(np.array([[1, 2, 3]]), 6).tolist()
    [[1], [2], [3]]
    """
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)
