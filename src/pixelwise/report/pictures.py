"""Arrays of images and labels to 8-bit pictures; needs no drawing library."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.ops.colors import palette
from pixelwise.types import IGNORE, ClassSpec, Image, Labels

Rgb = NDArray[np.uint8]  # [H, W, 3]

_WRONG = (226, 36, 28)
_HATCH = ((150, 150, 150), (196, 196, 196))


def display_rgb(image: Image) -> Rgb:
    """Any image [H, W, C] or [H, W] as uint8 [H, W, 3] for the eye.

    One band becomes grey, two become the first band, more than three the first three. uint8 is shown as it
    is; other dtypes are stretched per band from the 2nd to the 98th percentile of their finite values.

    Raises:
        DataError: not an image.
    """
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] == 0:
        raise DataError(f"an array of shape {image.shape}", remedy="pass an image [H, W, C] or [H, W]")
    bands = [image[:, :, index] for index in (range(3) if image.shape[2] >= 3 else (0, 0, 0))]
    if image.dtype != np.uint8:
        bands = [_stretched(band) for band in bands]
    return np.stack(bands, axis=2)


def colored(labels: Labels, classes: Sequence[ClassSpec]) -> Rgb:
    """Labels [H, W] in the colours of their classes, ignore in black: uint8 [H, W, 3]."""
    return _lut(classes)[labels]


def overlay(rgb: Rgb, labels: Labels, classes: Sequence[ClassSpec], alpha: float = 0.5) -> Rgb:
    """The class colours laid over a picture [H, W, 3] with opacity `alpha` in 0..1; ignore stays clear.

    Raises:
        DataError: the sizes differ.
    """
    if rgb.shape[:2] != labels.shape:
        raise DataError(
            f"the picture is {rgb.shape[:2]} and the labels are {labels.shape}",
            remedy="pass the labels of this picture",
        )
    # Two small tables instead of float pictures: a weighted sum in uint16, rounded, in two passes.
    weight = round(alpha * 256)
    opaque = np.full(256, weight, np.uint16)
    opaque[IGNORE] = 0
    paint = (_lut(classes).astype(np.uint32) * weight).astype(np.uint16)
    paint[IGNORE] = 0
    mixed = rgb * (256 - opaque)[labels][:, :, None]
    mixed += paint[labels]
    mixed += 128
    return (mixed >> 8).astype(np.uint8)


def error_map(rgb: Rgb, truth: Labels, prediction: Labels) -> Rgb:
    """Where the prediction is wrong: red; right: the picture in pale grey; ignored: hatched. [H, W, 3]."""
    grey = rgb.astype(np.uint16).sum(axis=2) // 3
    dimmed = (150 + grey * 2 // 5).astype(np.uint8)
    picture = np.repeat(dimmed[:, :, None], 3, axis=2)
    picture[truth != prediction] = _WRONG
    diagonal = np.add.outer(np.arange(truth.shape[0]), np.arange(truth.shape[1]))
    stripes = np.array(_HATCH, np.uint8)[diagonal // 4 % 2]
    ignored = truth == IGNORE
    picture[ignored] = stripes[ignored]
    return picture


def heat(values: NDArray[Any]) -> Rgb:
    """Values [H, W] from black at 0 over red at 1/3 and yellow at 2/3 to white at 1 and above: [H, W, 3]."""
    steps = 3 * np.asarray(values, np.float64)[:, :, None] - np.arange(3)
    shown: NDArray[np.uint8] = np.rint(255 * steps.clip(0, 1)).astype(np.uint8)
    return shown


def index_png(labels: Labels, classes: Sequence[ClassSpec]) -> bytes:
    """Labels [H, W] as an index PNG: the pixels are the class indices, the palette their colours."""
    picture = PIL.Image.fromarray(labels)
    # All 256 entries, so that Pillow keeps 8 bits per pixel whatever the number of classes.
    picture.putpalette(palette(classes))
    return _encoded(picture, "PNG")


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture [H, W, 3] or [H, W] as PNG, quickly rather than small."""
    return _encoded(PIL.Image.fromarray(picture), "PNG", compress_level=1)


def data_uri(picture: Rgb, *, side: int = 384, photo: bool = False) -> str:
    """A picture [H, W, 3] for a page: at most `side` long, inlined; photos as JPEG, labels as PNG."""
    shown = PIL.Image.fromarray(picture)
    scale = side / max(shown.size)
    if scale < 1:
        size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
        # Class colours are never mixed: a blend of two would look like a third class.
        method = PIL.Image.Resampling.LANCZOS if photo else PIL.Image.Resampling.NEAREST
        shown = shown.resize(size, method)
    if photo:
        return inlined(_encoded(shown, "JPEG", quality=88), "image/jpeg")
    return inlined(_encoded(shown, "PNG"), "image/png")


def inlined(data: bytes, kind: str) -> str:
    """Bytes of the media type `kind` as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(picture: PIL.Image.Image, kind: str, *, quality: int = 88, compress_level: int = 6) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, quality=quality, compress_level=compress_level)
    return stream.getvalue()


def _lut(classes: Sequence[ClassSpec]) -> Rgb:
    return np.array(palette(classes), np.uint8).reshape(256, 3)


def _stretched(band: Image) -> NDArray[np.uint8]:
    values = band.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(band.shape, np.uint8)
    low, high = np.percentile(values[finite], (2, 98))
    values = np.where(finite, values, low)
    if high <= low:
        return np.full(band.shape, 128, np.uint8)
    shown: NDArray[np.uint8] = np.clip((values - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)
    return shown
