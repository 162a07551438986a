"""What the header of an image file says, and the orientation it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    lossy: str = ""  # name of the lossy compression
    nodata: int | None = None
    depth: int = 8  # bits per value as stored
    size: int = 0  # bytes of the file


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
