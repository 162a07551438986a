"""PNG, JPEG, BMP, GIF and WebP through Pillow, 16-bit PNG through imagecodecs."""

from __future__ import annotations

from typing import IO, Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL import Image as Pillow

from pixelwise.data.headers import Header
from pixelwise.errors import MaskError

# The plugins are called directly: Image.open would judge the size by a limit of its own, below ours, and
# try formats that the signature has ruled out.
_PLUGINS: dict[str, Any] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,  # of a phone's multi-picture file this is the photograph itself
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_ORIENTATION = 0x0112
_GREY = {"1", "L", "LA", "La", "I;16", "I;16B", "I"}


def header(stream: IO[bytes], name: str) -> Header:
    """Parse the header of an image in format `name`."""
    depth, kind = _png_depth(stream) if name == "PNG" else (8, -1)
    lossy = _lossy(stream, name)
    picture = _PLUGINS[name](stream)
    width, height = picture.size
    sixteen = depth == 16
    return Header(
        format=name,
        height=height,
        width=width,
        # Pillow calls a 16-bit grey PNG with alpha RGBA: the colour type of the file decides.
        bands=1 if picture.mode in _GREY or kind in (0, 4) else 3,
        dtype="uint16" if sixteen else "uint8",
        # Called on the base class, since the PNG plugin would decode the whole file to look for a late tag.
        orientation=int(Pillow.Image.getexif(picture).get(_ORIENTATION, 1)),
        frames=int(getattr(picture, "n_frames", 1)),
        alpha=picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info,
        colors=picture.mode not in _GREY and picture.mode != "P" and kind not in (0, 4),
        lossy=lossy,
        depth=depth,
    )


def image(stream: IO[bytes], header: Header) -> NDArray[Any]:
    """Decode to uint8 or uint16 [H, W, 1 or 3]."""
    if header.depth == 16:
        return _sixteen_bits(stream, header.bands)
    picture = _open(stream, header)
    array = np.asarray(picture.convert("L" if header.bands == 1 else "RGB"))
    return array[:, :, None] if array.ndim == 2 else array


def mask(stream: IO[bytes], header: Header) -> tuple[NDArray[Any], dict[int, str] | None]:
    """Decode to indices [H, W] with the palette, if any, or to colours [H, W, 3]."""
    if header.depth == 16:
        array = _sixteen_bits(stream, header.bands)
        if header.bands == 3:
            raise MaskError(
                "is a 16-bit colour image; a mask has 1 band of indices or 3 of 8-bit colours",
                remedy="save it as a one-band PNG of class indices",
            )
        return array[:, :, 0], None
    picture = _open(stream, header)
    if picture.mode == "P":
        return np.asarray(picture), _palette(picture)
    if header.bands == 3:
        return np.asarray(picture.convert("RGB")), None
    array = np.asarray(picture.convert("L"))
    # Pillow stretches 1, 2 and 4 bits to 0..255; the indices are what the file holds.
    return array // (255 // (2**header.depth - 1)), None


def _open(stream: IO[bytes], header: Header) -> Any:
    stream.seek(0)
    return _PLUGINS[header.format](stream)


def _sixteen_bits(stream: IO[bytes], bands: int) -> NDArray[Any]:
    """16-bit PNG; Pillow would silently keep only the high byte of colours."""
    stream.seek(0)
    array: NDArray[Any] = np.asarray(imagecodecs.png_decode(stream.read()))
    if array.ndim == 2:
        array = array[:, :, None]
    return array[:, :, :bands]


def _palette(picture: Any) -> dict[int, str]:
    values = picture.getpalette("RGB") or []
    return {i: "#{:02x}{:02x}{:02x}".format(*values[3 * i : 3 * i + 3]) for i in range(len(values) // 3)}


def _png_depth(stream: IO[bytes]) -> tuple[int, int]:
    """Bit depth and colour type of a PNG, from its first chunk."""
    stream.seek(24)
    depth, kind = stream.read(2)
    stream.seek(0)
    return depth, kind


def _lossy(stream: IO[bytes], name: str) -> str:
    if name != "WEBP":
        return "JPEG" if name == "JPEG" else ""
    stream.seek(12)
    lossless = stream.read(4) == b"VP8L"
    stream.seek(0)
    return "" if lossless else "WebP"
