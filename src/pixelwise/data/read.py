"""Read one image or mask file: the content decides the format, and nothing is rescaled or rounded.

Rules: the orientation tag is applied; an alpha channel of PNG, GIF and WebP is dropped; all bands of a TIFF
are kept, because GDAL tags a fourth band as alpha by default; palette images become RGB, palette masks keep
their raw indices; integers beyond 16 bits and other floats become float32.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.data import photos, tiffs
from pixelwise.data.headers import Header, upright
from pixelwise.data.lossy import UNSURE
from pixelwise.data.numbers import refuse_numbers
from pixelwise.errors import MaskError, PixelwiseError, UnreadableError
from pixelwise.types import Image

MAX_PIXELS = 300_000_000
"""Larger images are refused before they are decoded; scenes are read in windows elsewhere."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
)


class ImageSize(NamedTuple):
    """Size of an image as read: rows, columns, bands and the name of its dtype."""

    height: int
    width: int
    bands: int
    dtype: str


@dataclass(frozen=True, eq=False)
class RawMask:
    """A mask as stored: integers [H, W] or colours uint8 [H, W, 3].

    `palette` gives the colour `#rrggbb` of each index where the file has one, `nodata` the value that a
    GeoTIFF declares empty.
    """

    values: NDArray[Any]
    palette: Mapping[int, str] | None = None
    nodata: int | None = None


def read_image(path: str | Path) -> Image:
    """Read an image as uint8, uint16 or float32 [H, W, C], upright, with the values of the file.

    Pixels that a TIFF declares to hold no data are 0.

    Raises:
        UnreadableError: missing, empty, truncated, animated, too large or not an image.
        DataError: a float image holds NaN, infinite values or -9999 that the file does not declare empty.
    """
    return image_and_empty(path)[0]


def image_and_empty(path: str | Path) -> tuple[Image, NDArray[np.bool_] | None]:
    """As `read_image`, and where the file declares that there is no data [H, W]; None where it declares nothing.

    Raises:
        UnreadableError, DataError: as `read_image`.
    """
    path = Path(path)
    image, empty = _decoded(path)
    if empty is not None:
        image[empty] = 0  # a value of -9999 would spoil the statistics of the bands
    refuse_numbers(image, path)
    return image, empty


def empty_pixels(path: str | Path) -> NDArray[np.bool_] | None:
    """Where a file declares that an image holds no data [H, W]; None where it declares nothing.

    Raises:
        UnreadableError: as `read_image`.
    """
    path = Path(path)
    return _decoded(path)[1] if is_tiff(path) and read_header(path).blank is not None else None


def is_tiff(path: str | Path) -> bool:
    """Whether the content of a regular file begins as a TIFF does, whatever its name says."""
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would block for ever
            return False
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError:
        return False
    return any(start == signature for signature, name in _SIGNATURES if name == "TIFF")


def read_mask(path: str | Path) -> RawMask:
    """Read a mask as stored, upright; lossy files are refused because they invent values.

    Raises:
        UnreadableError: missing, empty, truncated, animated, too large or not an image.
        MaskError: lossy (such as JPEG), not integer, or of a number of bands that is neither 1 nor 3.
    """
    path = Path(path)
    with _opened(path) as (stream, header):
        if header.lossy:
            unsure = header.lossy in UNSURE
            raise MaskError(
                f"the mask has {header.lossy} compression, which may have changed class values at edges"
                if unsure
                else f"the mask has lossy {header.lossy} compression, which changes class values at edges",
                file=path,
                code="mask-lossy",
                remedy="export the mask as PNG from the tool that made it; converting "
                + ("helps only if you know that nothing was lost" if unsure else "does not help"),
            )
        decode = tiffs.mask if header.format == "TIFF" else photos.mask
        values, palette = decode(stream, header)
    values = _as_indices(values, path)
    return RawMask(np.ascontiguousarray(upright(values, header.orientation)), palette, header.nodata)


def image_size(path: str | Path) -> ImageSize:
    """Size, bands and dtype that `read_image` will return, from the header alone.

    Raises:
        UnreadableError: missing, empty, animated, too large or not an image.
    """
    header = read_header(path)
    height, width = header.height, header.width
    if header.orientation >= 5:
        height, width = width, height
    return ImageSize(height, width, header.bands, header.dtype)


def read_header(path: str | Path) -> Header:
    """What the header of an image says; its size is as stored, before the orientation is applied.

    Raises:
        UnreadableError: missing, empty, animated, too large or not an image.
    """
    with _opened(Path(path)) as (_, header):
        return header


def _decoded(path: Path) -> tuple[Image, NDArray[np.bool_] | None]:
    with _opened(path) as (stream, header):
        if header.format == "TIFF":
            image, empty = tiffs.image(stream, header)
        else:
            image, empty = photos.image(stream, header), None
        if empty is not None:
            empty = upright(empty, header.orientation)
        return upright(image, header.orientation), empty


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], Header]]:
    """Yield the stream and header of an image; whatever a decoder raises becomes an UnreadableError."""
    try:
        # A named pipe would block for ever and a device never end.
        if not stat.S_ISREG(path.stat().st_mode):
            found = "a folder, not an image" if path.is_dir() else "not a regular file"
            remedy = "give the path of an image; where images are searched for, remove it"
            raise UnreadableError(found, file=path, remedy=remedy)
        with path.open("rb") as stream:
            name = _format(stream, path)
            parse = tiffs.header if name == "TIFF" else photos.header
            header = replace(parse(stream, name), size=path.stat().st_size)
            _check_header(header, path)
            yield stream, header
    except PixelwiseError as error:
        error.file = error.file or path
        raise
    except FileNotFoundError as error:
        raise UnreadableError("no such file", file=path, remedy="check the path") from error
    except PermissionError as error:
        remedy = "give yourself read permission: chmod u+r on the file, u+rx on its folder"
        raise UnreadableError("no permission to read the file", file=path, remedy=remedy) from error
    except MemoryError as error:
        raise UnreadableError("does not fit in memory", file=path, remedy="cut it into tiles") from error
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error on damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableError(
            f"damaged or cut off: it cannot be decoded ({reason})",
            file=path,
            remedy="copy or export the file again, or remove it together with its mask",
        ) from error


def _format(stream: IO[bytes], path: Path) -> str:
    start = stream.read(16)
    stream.seek(0)
    if not start:
        raise UnreadableError(
            "the file is empty (0 bytes)",
            file=path,
            remedy="copy it again, or remove it together with its pair",
        )
    for signature, name in _SIGNATURES:
        if start.startswith(signature):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    raise UnreadableError(
        f"not an image: its content begins with {start[:12]!r}",
        file=path,
        remedy="PNG, JPEG, TIFF, BMP, GIF and WebP are read; convert the file or remove it",
    )


def _check_header(header: Header, path: Path) -> None:
    if header.frames != 1:
        raise UnreadableError(
            f"holds {header.frames} pages or frames, 1 is expected",
            file=path,
            remedy="save each page as a file of its own",
        )
    if min(header.height, header.width) < 1:  # also where a damaged TIFF has lost its size
        raise UnreadableError(
            f"damaged: {header.width} x {header.height} pixels, which is nothing",
            file=path,
            remedy="copy or export the file again, or remove it together with its mask",
        )
    if header.height * header.width > MAX_PIXELS:
        raise UnreadableError(
            f"{header.width} x {header.height} pixels are more than the {MAX_PIXELS:,} allowed for one image",
            file=path,
            remedy="cut it into tiles of some thousand pixels",
        )


def _as_indices(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """The mask with its integers as integers; colours must be 8 bit, floats whole numbers."""
    if values.ndim == 3:
        if values.dtype != np.uint8 or values.shape[2] != 3:
            raise MaskError(
                f"{values.shape[2]} bands of {values.dtype}; a mask has 1 of indices or 3 of 8-bit colours",
                file=path,
                code="mask-bands",
                remedy="save it as a one-band PNG of class indices",
            )
        return values
    if values.dtype.kind != "f":
        return values
    bad = ~np.isfinite(values) | (values != np.round(values)) | (np.abs(values) > 2**31)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        raise MaskError(
            f"value {values[row, column]} in a float mask is no class index: {int(bad.sum())} pixels are no "
            f"whole numbers (first at row {row}, column {column})",
            file=path,
            code="mask-number",
            value=float(values[row, column]),
            count=int(bad.sum()),
            position=(column, row),
            remedy="save the mask as integers: one class index per pixel, PNG or TIFF",
        )
    return values.astype(np.int64)
