"""TIFF of any number of bands through tifffile."""

from __future__ import annotations

import logging
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pixelwise.data.headers import UNNAMED, Header, Place
from pixelwise.data.lossy import lossy
from pixelwise.errors import UnreadableError
from pixelwise.ops.nodata import no_data

# Of a damaged file a finding says what is wrong; without a handler each bad tag is a line on standard error as well.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_ORIENTATION, _NODATA = 274, 42113
_PALETTE, _SEPARATED, _YCBCR = 3, 5, 6
_PHOTOMETRICS = (0, 1, 2, _PALETTE, _YCBCR)
_JPEG = (6, 7)


def header(stream: IO[bytes], name: str) -> Header:
    """Parse the header; overviews and mask pages of GeoTIFFs do not count as pages."""
    with tifffile.TiffFile(stream) as file:
        pages = _pages(file)
        page = pages[0]
        height, width, bands = _shape(page)
        return Header(
            format=name,
            height=height,
            width=width,
            bands=3 if page.photometric == _PALETTE else bands,
            dtype=_image_dtype(page.dtype),
            # The transform of a GeoTIFF speaks of the pixels as stored.
            orientation=1 if page.is_geotiff else _tag(page, _ORIENTATION, 1),
            frames=len(pages),
            colors=bands > 1,
            lossy=lossy(page, file.filehandle),
            nodata=_nodata(page),
            depth=int(np.max(page.bitspersample)),
            blank=_blank(page),
            white=page.photometric == 0,
            place=_place(page) if page.is_geotiff else None,
        )


def image(stream: IO[bytes], header: Header) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Decode to uint8, uint16 or float32 [H, W, C], and where the file declares that there is no data [H, W]."""
    array, palette, _ = _decode(stream)
    empty = None
    if header.blank is not None:
        bands = np.moveaxis(array, 2, 0)
        empty = no_data(bands, [header.blank] * len(bands))
    if palette is not None:
        array = palette[array[:, :, 0]]
    elif array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    return array.astype(header.dtype, copy=False), empty


def mask(stream: IO[bytes], header: Header) -> tuple[NDArray[Any], dict[int, str] | None]:
    """Decode to indices [H, W] with the palette, if any, or to all bands [H, W, C]."""
    array, palette, alpha = _decode(stream)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if palette is not None:
        return array[:, :, 0], {i: "#{:02x}{:02x}{:02x}".format(*color) for i, color in enumerate(palette)}
    if alpha and array.shape[2] in (2, 4) and array.dtype == np.uint8:
        array = array[:, :, :-1]  # the alpha of a mask says nothing about classes
    return (array[:, :, 0] if array.shape[2] == 1 else array), None


def _decode(stream: IO[bytes]) -> tuple[NDArray[Any], NDArray[np.uint8] | None, bool]:
    """All bands [H, W, C], the palette uint8 [256, 3] of a palette image, whether the last band is alpha."""
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page = _pages(file)[0]
        _check_complete(page, file.filehandle.size)
        array = page.asarray()
        if array.ndim == 2:
            array = array[:, :, None]
        elif page.planarconfig == 2:
            array = np.moveaxis(array, 0, 2)
        palette = None
        if page.photometric == _PALETTE:
            palette = (page.colormap.T >> 8).astype(np.uint8)
        return np.ascontiguousarray(array), palette, bool(set(page.extrasamples) & {1, 2})


def _pages(file: tifffile.TiffFile) -> list[Any]:
    every: list[Any] = list(file.pages)
    pages = [page for page in every if not (page.is_reduced or page.is_mask)]
    if not pages:
        raise UnreadableError("a TIFF without a page", remedy="export the file again")
    return pages


def _shape(page: Any) -> tuple[int, int, int]:
    """Rows, columns and bands, after refusing what has no plain reading."""
    photometric = int(page.photometric)
    if page.imagedepth != 1 or page.dtype is None or page.dtype.kind not in "buif":
        raise UnreadableError("a TIFF volume or of complex numbers", remedy="save it as a plain image")
    if photometric not in _PHOTOMETRICS or (photometric == _YCBCR and page.compression not in _JPEG):
        names = {_SEPARATED: "CMYK", _YCBCR: "uncompressed YCbCr"}
        found = f"a TIFF in {names.get(photometric, f'colour space {photometric}')}"
        raise UnreadableError(found, remedy="save it as grey, RGB or plain bands")
    return int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel)


def _image_dtype(dtype: Any) -> str:
    if dtype.kind == "b":
        return "uint8"
    return str(dtype) if dtype in (np.uint8, np.uint16) else "float32"


def _check_complete(page: Any, size: int) -> None:
    """A block beyond the end of the file means that the file was cut; an offset of 0 is a sparse block."""
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if ends and max(ends) > size:
        raise UnreadableError(
            f"cut off: it has {size} bytes and should have at least {max(ends)}",
            remedy="copy or export the file again, or remove it together with its mask",
        )


def _tag(page: Any, code: int, default: int) -> int:
    return int(page.tags[code].value) if code in page.tags else default


def _nodata(page: Any) -> int | None:
    value = _blank(page)
    return int(value) if value is not None and value.is_integer() else None


def _blank(page: Any) -> float | None:
    """The value that GDAL's tag declares empty."""
    if _NODATA not in page.tags:
        return None
    try:
        return float(page.tags[_NODATA].value)
    except ValueError:
        return None


def _place(page: Any) -> Place | None:
    """Where a GeoTIFF lies, from its tags; points of grids are moved to the corner of their pixel."""
    tags = page.geotiff_tags or {}
    matrix, scale, tie = (
        tags.get(key) for key in ("ModelTransformation", "ModelPixelScale", "ModelTiepoint")
    )
    if matrix is not None:
        rows = np.asarray(matrix, np.float64).reshape(4, 4)
        a, b, c, d, e, f = (float(rows[row, column]) for row in (0, 1) for column in (0, 1, 3))
    elif scale is not None and tie is not None and len(tie) == 6:
        a, b, d, e = float(scale[0]), 0.0, 0.0, -float(scale[1])
        c, f = float(tie[3]) - a * float(tie[0]), float(tie[4]) - e * float(tie[1])
    else:
        return None  # not placed, or by control points
    if int(tags.get("GTRasterTypeGeoKey", 1)) == 2:
        c, f = c - (a + b) / 2, f - (d + e) / 2
    code = int(tags.get("ProjectedCSTypeGeoKey", tags.get("GeographicTypeGeoKey", 0)))
    return Place((a, b, c, d, e, f), code if 0 < code <= UNNAMED else None)
