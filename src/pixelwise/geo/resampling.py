"""A raster read at another pixel size, on a grid that covers the same ground from corner to corner."""

from __future__ import annotations

from typing import Any

from pixelwise.errors import OptionError
from pixelwise.geo.facts import RasterFacts
from pixelwise.geo.raster import load_rasterio

SAME = 0.01  # a pixel size that is off by no more is left as it is
WARP_MEGABYTES = 64  # that GDAL may use for a window


def resampled(dataset: Any, facts: RasterFacts, pixel_size: float) -> Any:
    """An open dataset as one of pixels of `pixel_size` metres, as near to it as whole pixels allow.

    Larger pixels are means over those they cover, smaller ones are interpolated (bilinear); a pixel holds no data
    where nothing under it does. Rows and columns keep their directions, so nothing is turned or reprojected.

    Args:
        dataset: Of rasterio; it has to stay open as long as the result.
        facts: What its header says.
        pixel_size: Metres.

    Raises:
        OptionError: the pixel size of the raster is unknown.
    """
    own, transform = facts.place.pixel_size, facts.place.transform
    if own is None or transform is None:
        raise OptionError(
            f"{facts.name} does not say how large its pixels are in metres, so it cannot be resampled",
            remedy="give it a coordinate system and a transform, or map it as it is",
        )
    if abs(own / pixel_size - 1) <= SAME:
        return dataset
    rasterio = load_rasterio()
    from rasterio.vrt import WarpedVRT

    height, width = (max(1, round(side * own / pixel_size)) for side in facts.size)
    across, down = facts.width / width, facts.height / height
    a, b, c, d, e, f = transform
    way = rasterio.enums.Resampling
    return WarpedVRT(
        dataset,
        crs=dataset.crs,
        transform=rasterio.Affine(a * across, b * down, c, d * across, e * down, f),
        height=height,
        width=width,
        resampling=way.average if pixel_size > own else way.bilinear,
        add_alpha=facts.masked and not facts.alpha,  # a mask of its own would not come through
        warp_mem_limit=WARP_MEGABYTES,
    )
