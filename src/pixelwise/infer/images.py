"""One image in; out come its class, its reconstruction, or the class and the box of its main object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.infer.predictor import Precision, as_array, computed
from pixelwise.models.autoencoder import Autoencoder
from pixelwise.models.classifier import Classifier
from pixelwise.models.localizer import Localizer
from pixelwise.ops.boxes import Corners, to_corners
from pixelwise.ops.labels import probabilities
from pixelwise.types import Image


def classify(model: Classifier, image: Image, *, precision: Precision | None = None) -> NDArray[np.float32]:
    """The probability of each class: float32 [K], in the order of `model.classes`, with sum 1.

    Args:
        model: A network with its classes and its preprocessing; it runs on the device it is on.
        image: [H, W, C], or [H, W] for one band; uint8, uint16 or float32, values as in the image files.
        precision: `float32` or `bfloat16`; by default what the bundle was checked with, else `float32`.

    Raises:
        DataError: another number of bands or another dtype than the model was trained on, an empty image,
            values that are not finite, or an image too large for the memory.
        OptionError: an unknown precision.
    """
    shares: NDArray[np.float32] = classify_all(model, [image], precision=precision)[0]
    return shares


def reconstruct(model: Autoencoder, image: Image, *, precision: Precision | None = None) -> Image:
    """The image as the model gives it back: [H, W, C] of the dtype of `image`, integers rounded and clipped.

    Takes and raises what `classify` does.
    """
    return as_image(restore_all(model, [image], precision=precision)[0], image.dtype)


def localize(
    model: Localizer, image: Image, *, precision: Precision | None = None
) -> tuple[int, float, Corners]:
    """Class, its probability, and the box of the main object; takes and raises what `classify` does.

    The box is (top, left, bottom, right) in pixels, cut off at the borders of the image; it may lie between pixels.
    A class that is `model.options.background` says that there is no object; the box then means nothing.
    """
    shares, boxes = localize_all(model, [image], precision=precision)
    index = int(shares[0].argmax())
    return index, float(shares[0, index]), to_corners(boxes[0].tolist(), (image.shape[0], image.shape[1]))


def classify_all(
    model: Classifier, images: Sequence[Image], *, precision: Precision | None = None
) -> NDArray[np.float32]:
    """`classify` for images of one size together: float32 [N, K]."""
    with computed(model, images, precision, lambda pixels: model(model.prepare(pixels))) as logits:
        return as_array(probabilities(logits))


def restore_all(
    model: Autoencoder, images: Sequence[Image], *, precision: Precision | None = None
) -> NDArray[np.float32]:
    """Reconstructions of images of one size, in the units of their files: float32 [N, H, W, C], not rounded."""
    with computed(model, images, precision, model.restore) as values:
        return as_array(values.float().permute(0, 2, 3, 1))


def localize_all(
    model: Localizer, images: Sequence[Image], *, precision: Precision | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities [N, K] and boxes [N, 4] for images of one size.

    A box is (centre row, centre column, height, width) as fractions of the image.
    """

    def answer(pixels: Tensor) -> tuple[Tensor, Tensor]:
        logits, boxes = model(model.prepare(pixels))
        return logits, boxes.clamp(0, 1)

    with computed(model, images, precision, answer) as (logits, boxes):
        return as_array(probabilities(logits)), as_array(boxes.float())


def as_image(values: NDArray[np.float32], dtype: np.dtype[Any]) -> Image:
    """Values in the units of an image file as an image of `dtype`: integers are rounded and clipped.

    >>> as_image(np.array([[[-3.0, 7.6, 300.0]]], np.float32), np.dtype(np.uint8)).tolist()
    [[[0, 8, 255]]]
    """
    if dtype.kind != "u":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.rint(values).clip(limits.min, limits.max).astype(dtype)
