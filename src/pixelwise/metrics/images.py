"""Scores of single images as a table; they are other numbers than those of the dataset and have other names.

The mean of `image_mean_iou` over images is not `mean_iou`: an image leaves out the classes that it does not show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.metrics.overlap import iou, pixel_accuracy
from pixelwise.ops.rates import mean_defined

Row = tuple[str | int | float, ...]


def image_table(
    images: Sequence[str], counts: NDArray[np.int64], names: Sequence[str]
) -> tuple[list[str], list[Row]]:
    """Column names and one row per image, the content of `images.csv`; what is undefined is an empty text.

    Args:
        images: Their names.
        counts: int64 [images, K, 3] as `counts_of` gives them.
        names: Of the K classes.

    Raises:
        DataError: the counts are of other images or classes.

    >>> from pixelwise.metrics.overlap import counts_of
    >>> head, rows = image_table(["a"], counts_of(np.array([[[3, 1], [0, 4]]])), ["road", "house"])
    >>> head
    ['image', 'image_mean_iou', 'image_accuracy', 'pixels', 'image_iou road', 'image_iou house']
    >>> rows
    [('a', 0.775, 0.875, 8, 0.75, 0.8)]
    """
    counts = np.asarray(counts)
    if counts.shape != (len(images), len(names), 3):
        found = f"counts of shape {counts.shape} for {len(images)} images and {len(names)} classes"
        raise DataError(
            found, remedy="pass one row per image and class: right, in the truth, in the prediction"
        )
    ious, accuracy, pixels = iou(counts), pixel_accuracy(counts), counts[..., 1].sum(axis=1)
    head = ["image", "image_mean_iou", "image_accuracy", "pixels", *(f"image_iou {name}" for name in names)]
    rows = [
        (
            image,
            _cell(mean_defined(ious[n])),
            _cell(float(accuracy[n])),
            int(pixels[n]),
            *(_cell(float(value)) for value in ious[n]),
        )
        for n, image in enumerate(images)
    ]
    return head, rows


def _cell(value: float) -> float | str:
    return "" if math.isnan(value) else value
