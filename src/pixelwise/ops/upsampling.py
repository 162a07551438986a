"""Upsampling by a whole factor: nearest, bilinear, and bilinear as a fixed transposed convolution.

Plain NumPy over the last one, two or three axes, for looking at; networks use `resize`. Half-pixel centres
(align_corners=False): output o lies at (o + 0.5) / factor - 0.5 of the input.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pixelwise.ops.axes import Numbers, last_axes, numbers, whole
from pixelwise.ops.indexmap import index_map
from pixelwise.ops.layers import Layer


def upsample_nearest(x: ArrayLike, factor: int, *, axes: int = 2) -> Numbers:
    """Each pixel repeated `factor` times along the last `axes` axes.

    Raises:
        OptionError: a number out of range.

    >>> upsample_nearest([[1, 2], [3, 4]], 2).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    """
    image, factor = numbers(x, "x"), whole(factor, "factor")
    last_axes(image, axes)
    for axis in range(-axes, 0):
        image = np.repeat(image, factor, axis=axis)
    return image


def upsample_bilinear(x: ArrayLike, factor: int, *, axes: int = 2) -> Numbers:
    """Linear interpolation along each of the last `axes` axes; beyond the border the border pixel goes on.

    Returns:
        Floats, each of the last `axes` axes `factor` times as long.

    Raises:
        OptionError: a number out of range.

    >>> upsample_bilinear([1, 2], 2, axes=1).tolist()
    [1.0, 1.25, 1.75, 2.0]
    """
    image, factor = numbers(x, "x"), whole(factor, "factor")
    sizes = last_axes(image, axes)
    for axis, size in zip(range(-axes, 0), sizes, strict=True):
        image = np.moveaxis(np.moveaxis(image, axis, -1) @ _matrix(size, factor).T, -1, axis)
    return image


def bilinear_kernel(factor: int, *, axes: int = 2) -> NDArray[np.float64]:
    """The fixed kernel with which a transposed convolution interpolates linearly.

    With stride `factor`, this kernel of 2 factor - factor % 2 taps per axis and padding factor // 2 the sizes
    are those of `upsample_bilinear`, and so are the values, but for the outputs along the border that reach
    beyond it: the transposed convolution finds zeros there. In a network each channel has the kernel on its
    own: a torch weight of shape [C, 1, *K] with groups=C.

    Args:
        factor: Of the upsampling.
        axes: 1, 2 or 3.

    Returns:
        float64, `axes` axes of 2 factor - factor % 2.

    Raises:
        OptionError: a number out of range.

    >>> bilinear_kernel(2, axes=1).tolist()
    [0.25, 0.75, 0.75, 0.25]
    """
    factor = whole(factor, "factor")
    last_axes(np.empty((1, 1, 1)), axes)
    taps = 2 * factor - factor % 2
    triangle = 1 - np.abs(np.arange(taps) - (taps - 1) / 2) / factor
    return reduce(np.multiply.outer, [triangle] * axes)


def _matrix(size: int, factor: int) -> NDArray[np.float64]:
    """[size * factor, size]: how much of each input is in each output."""
    matrix = np.zeros((size * factor, size))
    for output, taps in enumerate(index_map(Layer("upsample_bilinear", factor=factor), size)):
        for tap in taps:
            matrix[output, tap.input] += tap.weight
    return matrix
