"""Georeferenced rasters: the only door to rasterio, which is imported when it is first needed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, MissingExtraError, OutputError
from pixelwise.files import replacing


def available() -> bool:
    """Is rasterio installed."""
    return importlib.util.find_spec("rasterio") is not None


def write_geotiff(
    path: str | Path,
    array: NDArray[Any],
    *,
    origin: tuple[float, float],
    pixel_size: float,
    crs: str,
    palette: Mapping[int, tuple[int, int, int]] | None = None,
) -> None:
    """Write `array` as a north-up GeoTIFF, complete or not at all.

    Args:
        path: the file to write.
        array: [H, W, C] or [H, W] of a type that TIFF can hold (uint8, uint16, float32, ...).
        origin: x and y of the outer corner of the top left pixel, in units of `crs`.
        pixel_size: edge of a pixel, in units of `crs`.
        crs: coordinate reference system, such as "EPSG:32631".
        palette: colours (red, green, blue in 0..255) of the values of a uint8 [H, W] array.

    Raises:
        MissingExtraError: rasterio is not installed.
        DataError: the array has no pixels or another number of dimensions, or a palette goes with bands.
        OutputError: the coordinate system is unknown, or the file cannot be written.
    """
    bands = _bands_first(array, path)
    if palette is not None and (len(bands) != 1 or bands.dtype != np.uint8):
        found = f"a palette needs one band of uint8, the array has {len(bands)} of {bands.dtype}"
        raise DataError(found, file=path, remedy="write without palette, or convert the labels to uint8")
    rasterio = load_rasterio()
    profile = {
        "driver": "GTiff",
        "height": bands.shape[1],
        "width": bands.shape[2],
        "count": bands.shape[0],
        "dtype": bands.dtype.name,
        "crs": crs,
        "transform": rasterio.Affine(pixel_size, 0.0, origin[0], 0.0, -pixel_size, origin[1]),
        "compress": "deflate",
        "zlevel": 1,  # aerial pictures hardly shrink further, and 6 takes three times as long
        "predictor": 2 if bands.dtype.kind in "iu" and palette is None else 1,
    }
    if bands.shape[0] == 3 and bands.dtype == np.uint8:
        profile |= {"photometric": "rgb", "interleave": "pixel"}
    if max(bands.shape[1:]) > 1024:
        profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512}
    with replacing(path) as temporary:
        try:
            with rasterio.open(temporary, "w", **profile) as target:
                target.write(bands)
                if palette is not None:
                    target.write_colormap(1, {value: (*color, 255) for value, color in palette.items()})
        except rasterio.errors.CRSError as error:
            remedy = 'give an EPSG code, such as "EPSG:32631"'
            raise OutputError(f"unknown coordinate system {crs!r}", file=path, remedy=remedy) from error
        except rasterio.errors.RasterioError as error:
            remedy = "choose another folder, or free some space"
            raise OutputError(f"GDAL cannot write this raster: {error}", file=path, remedy=remedy) from error


def _bands_first(array: NDArray[Any], path: str | Path) -> NDArray[Any]:
    if array.ndim not in (2, 3) or array.size == 0:
        found = f"an array of shape {array.shape} is not [H, W, C] or [H, W] with pixels in it"
        raise DataError(found, file=path, remedy="pass one image, without a batch axis")
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)


def load_rasterio() -> Any:
    """The rasterio module, imported when it is first needed.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import rasterio
        import rasterio.errors
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]"'
        raise MissingExtraError("GeoTIFF needs rasterio, which is not installed", remedy=remedy) from error
    return rasterio
