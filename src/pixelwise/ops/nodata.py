"""Which pixels of a raster hold no data: one rule for images in memory and for windows of scenes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def no_data(
    bands: Sequence[NDArray[Any]] | NDArray[Any], nodata: Sequence[float | None]
) -> NDArray[np.bool_] | None:
    """Where `bands`, each [H, W], hold the value that stands for no data in each; None where a band has none.

    A value that may have been measured has to be in all bands: pure red is 0 in the two others. One band is enough
    of NaN, of -9999 and what is below it, and of more than 65535: no band measures that.

    >>> no_data(np.array([[[0, 0]], [[0, 7]]], np.uint8), (0, 0)).tolist()
    [[True, False]]
    >>> no_data(np.array([[[0, -9999]], [[0, 7]]], np.float32), (-9999, -9999)).tolist()
    [[False, True]]
    """
    values = [value for value in nodata if value is not None]
    if len(values) < len(nodata):
        return None
    same = [_holds(band, value) for band, value in zip(bands, values, strict=True)]
    empty: NDArray[np.bool_] = np.logical_and.reduce(same)
    for band, value in zip(same, values, strict=True):
        if not -9999 < value <= 65535:
            empty |= band
    return empty


def _holds(band: NDArray[Any], value: float) -> NDArray[np.bool_]:
    whole = band.dtype.kind in "ui" and float(value).is_integer()
    with np.errstate(over="ignore"):  # the value may be one of 64 bits, the band of 32
        found = np.isnan(band) if math.isnan(value) else band == (int(value) if whole else value)
    return np.asarray(found, bool)
