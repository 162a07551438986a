"""What GeoTIFF pairs say beyond their pixels: where they lie, and where the image holds no data."""

from __future__ import annotations

from pixelwise.data.items import Item, Pair
from pixelwise.data.read import empty_pixels, is_tiff, read_header
from pixelwise.errors import MaskError
from pixelwise.types import IGNORE, Labels


def refuse_other_place(pair: Pair) -> None:
    """A mask that lies elsewhere than its image labels other ground; one without a place says nothing.

    Raises:
        MaskError: both are GeoTIFFs, and their places differ.
        UnreadableError: one of them cannot be read.
    """
    if not (is_tiff(pair.image) and is_tiff(pair.mask)):
        return
    image, mask = read_header(pair.image), read_header(pair.mask)
    if image.place is None or mask.place is None or not image.place.differs(mask.place):
        return
    if (image.height, image.width) != (mask.height, mask.width):
        return  # the sizes differ, which is reported on its own
    raise MaskError(
        f"the mask lies elsewhere than its image: mask {mask.place}; image {image.place}",
        file=pair.mask,
        code="mask-place",
        remedy="warp the mask to the grid of the image by nearest neighbour, or, if only the georeference is "
        "wrong, copy that of the image: gdal_edit.py -a_srs and -a_ullr",
    )


def without_empty(item: Item, labels: Labels) -> Labels:
    """The labels with 255 where the image is declared empty."""
    if not isinstance(item, Pair):
        return labels
    empty = empty_pixels(item.image)
    if empty is not None and empty.shape == labels.shape:
        labels[empty] = IGNORE
    return labels
