"""How large the pixels of images are on the ground, as GeoTIFFs say."""

from __future__ import annotations

import numpy as np

from pixelwise.data.dataset import Split
from pixelwise.data.items import Row
from pixelwise.errors import PixelwiseError
from pixelwise.geo import raster
from pixelwise.geo.place import Place
from pixelwise.geo.reader import open_raster

SAME = 0.01
"""Sizes that differ by no more are one size."""


def places_of(split: Split) -> list[Place]:
    """Where the GeoTIFFs among the images lie whose pixels have a size in metres; each file once."""
    if not raster.available():
        return []
    files = dict.fromkeys(item.image for item in split.items if not isinstance(item, Row))
    found = []
    for file in files:
        if file.suffix.lower() not in (".tif", ".tiff"):
            continue
        try:
            with open_raster(file) as reader:
                found.append(reader.facts.place)
        except PixelwiseError:
            continue
    return [place for place in found if place.pixel_size]


def common_pixel_size(split: Split) -> tuple[float | None, str]:
    """Metres of the side of a pixel, if all images agree to a percent; else None.

    Beside it a sentence where some images say a size and there is no common one, else an empty text.
    """
    places = places_of(split)
    sizes = [place.pixel_size for place in places if place.pixel_size]
    if not sizes:
        return None, ""
    files = {item.image for item in split.items}
    if len(sizes) < len(files):
        why = f"{len(files) - len(sizes)} of {len(files)} images do not say how large their pixels are"
    elif max(sizes) > (1 + SAME) * min(sizes):
        why = f"the pixels of the images measure {min(sizes):.3g} to {max(sizes):.3g} m"
    elif not all(place.square for place in places):
        why = "the pixels of the images are not square on the ground"
    else:
        return float(np.median(sizes)), ""
    return None, f"{why}, so distances between contours are in pixels"
