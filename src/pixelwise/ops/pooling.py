"""Pooling and unpooling: max pooling with its switches, average, global and adaptive pooling.

Plain NumPy over the last one, two or three axes, written out for looking at; networks pool with torch's layers and
unpool with `models.blocks.Unpool`. Switches are flat indices into the pooled axes of the input, as in torch: the first
of several equal maxima.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pixelwise.errors import OptionError
from pixelwise.ops.axes import Numbers, Paddings, last_axes, numbers, per_axis
from pixelwise.ops.windows import (
    Windows,
    adaptive_windows,
    flat_windows,
    padded_counts,
    pooling_layers,
    windows_of,
)

Switches = NDArray[np.int64]


def max_pool(
    x: ArrayLike,
    kernel: int | Sequence[int],
    *,
    axes: int = 2,
    stride: int | Sequence[int] | None = None,
    padding: Paddings = 0,
    dilation: int | Sequence[int] = 1,
    ceil: bool = False,
) -> tuple[Numbers, Switches]:
    """The largest value of each window, and where it was.

    Args:
        x: [..., *S]; the last `axes` axes are pooled.
        kernel: Pixels of a window, for all axes or one per axis.
        axes: 1, 2 or 3.
        stride: From one window to the next, for all axes or one per axis; the kernel when left out.
        padding: Never the maximum; a number or one entry per axis, at most half the kernel.
        dilation: From one pixel of a window to the next.
        ceil: Let a last window reach beyond the padding.

    Returns:
        Values and switches, both [..., *outputs]; switches int64, flat indices into *S.

    Raises:
        OptionError: a number out of range, or a window that holds no pixel.

    >>> values, switches = max_pool([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]], 2)
    >>> values.tolist(), switches.tolist()
    ([[5, 6], [7, 8]], [[5, 2], [12, 15]])
    """
    image = numbers(x, "x")
    sizes = last_axes(image, axes)
    layers = pooling_layers(axes, kernel, stride=stride, padding=padding, dilation=dilation, ceil=ceil)
    return _maxima(image, windows_of(layers, sizes))


def switch_positions(switches: ArrayLike, shape: Sequence[int]) -> Switches:
    """Flat switches as positions, (row, column) for an image: [...] to int64 [..., axes].

    Args:
        switches: Flat indices into the pooled input.
        shape: The pooled axes of that input.

    Raises:
        OptionError: a switch points outside `shape`.

    >>> switch_positions([[5, 2], [12, 15]], (4, 4)).tolist()
    [[[1, 1], [0, 2]], [[3, 0], [3, 3]]]
    """
    places = _places(switches, shape)
    return np.stack(np.unravel_index(places, tuple(shape)), axis=-1).astype(np.int64)


def max_unpool(values: ArrayLike, switches: ArrayLike, shape: Sequence[int]) -> Numbers:
    """Values back at their switches, zeros everywhere else; where two share a switch, the last one stays.

    Args:
        values: [..., *outputs] of a max pooling, or others in their place.
        switches: Of that pooling, the same shape.
        shape: The pooled axes of its input.

    Returns:
        [..., *shape].

    Raises:
        OptionError: two shapes, or a switch that points outside `shape`.

    >>> max_unpool([[1, 2], [3, 4]], [[5, 2], [12, 15]], (4, 4)).tolist()
    [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    """
    given, places = numbers(values, "values"), _places(switches, shape)
    if given.shape != places.shape or given.ndim < len(shape):
        raise OptionError(
            f"values of shape {given.shape} with switches of shape {places.shape}, to unpool to {tuple(shape)}",
            remedy="give values and switches of one pooling, and the shape of its input",
        )
    lead = given.shape[: given.ndim - len(shape)]
    planes = np.zeros((prod(lead), prod(shape)), given.dtype)
    np.put_along_axis(planes, places.reshape(prod(lead), -1), given.reshape(prod(lead), -1), axis=1)
    return planes.reshape(*lead, *shape)


def average_pool(
    x: ArrayLike,
    kernel: int | Sequence[int],
    *,
    axes: int = 2,
    stride: int | Sequence[int] | None = None,
    padding: Paddings = 0,
    ceil: bool = False,
    count_include_pad: bool = True,
) -> Numbers:
    """The mean of each window.

    Args:
        x: [..., *S]; the last `axes` axes are pooled.
        kernel: Pixels of a window, for all axes or one per axis.
        axes: 1, 2 or 3.
        stride: From one window to the next; the kernel when left out.
        padding: Zeros around, a number or one entry per axis, at most half the kernel.
        ceil: Let a last window reach beyond the padding; what lies beyond never counts.
        count_include_pad: Divide by the pixels and the padding of a window, or by its pixels alone.

    Returns:
        [..., *outputs], floats.

    Raises:
        OptionError: a number out of range.

    >>> average_pool([1, 2, 3, 4], 2, axes=1).tolist()
    [1.5, 3.5]
    >>> average_pool([6, 6], 3, axes=1, padding=1, stride=1, count_include_pad=False).tolist()
    [6.0, 6.0]
    """
    image = numbers(x, "x")
    sizes = last_axes(image, axes)
    layers = pooling_layers(axes, kernel, stride=stride, padding=padding, ceil=ceil)
    windows = windows_of(layers, sizes)
    if count_include_pad:
        counts = [padded_counts(layer, size) for layer, size in zip(layers, sizes, strict=True)]
        return _means(image, windows, counts)
    return _means(image, windows)


def global_average_pool(x: ArrayLike, *, axes: int = 2) -> Numbers:
    """The mean over the last `axes` axes: one number per channel, whatever the size; [C, *S] to [C].

    Raises:
        OptionError: x has fewer axes.

    >>> global_average_pool([[[1, 2], [3, 6]]]).tolist()
    [3.0]
    """
    image = numbers(x, "x")
    last_axes(image, axes)
    means: Numbers = np.asarray(image.mean(axis=tuple(range(-axes, 0))))
    return means


def adaptive_average_pool(x: ArrayLike, size: int | Sequence[int], *, axes: int = 2) -> Numbers:
    """The means of `size` windows along each of the last `axes` axes, whatever the size of the input.

    Output i of O pools the inputs floor(i I / O) to ceil((i + 1) I / O) - 1, so windows may overlap by one.

    Returns:
        [..., *size], floats.

    Raises:
        OptionError: a number out of range.

    >>> adaptive_average_pool([1, 2, 3, 4, 5], 2, axes=1).tolist()
    [2.0, 4.0]
    """
    image = numbers(x, "x")
    return _means(image, adaptive_windows(last_axes(image, axes), per_axis(size, axes, "size")))


def adaptive_max_pool(x: ArrayLike, size: int | Sequence[int], *, axes: int = 2) -> tuple[Numbers, Switches]:
    """The maxima of `size` windows along each of the last `axes` axes, with switches as in `max_pool`.

    Raises:
        OptionError: a number out of range.

    >>> [part.tolist() for part in adaptive_max_pool([1, 5, 3, 4, 2], 2, axes=1)]
    [[5, 4], [1, 3]]
    """
    image = numbers(x, "x")
    return _maxima(image, adaptive_windows(last_axes(image, axes), per_axis(size, axes, "size")))


def _maxima(image: Numbers, windows: Sequence[Windows]) -> tuple[Numbers, Switches]:
    lead, shape = image.shape[: -len(windows)], image.shape[-len(windows) :]
    planes = image.reshape(-1, prod(shape))
    switches = np.stack(
        [inside[planes[:, inside].argmax(axis=1)] for inside in flat_windows(windows, shape)], axis=1
    )
    outputs = (*lead, *map(len, windows))
    values = np.take_along_axis(planes, switches, axis=1)
    return values.reshape(outputs), switches.reshape(outputs)


def _means(
    image: Numbers, windows: Sequence[Windows], counts: Sequence[Sequence[int]] | None = None
) -> Numbers:
    """Sums of the windows divided by their pixels, or by `counts`, given along each axis."""
    lead, shape = image.shape[: -len(windows)], image.shape[-len(windows) :]
    planes = image.reshape(-1, prod(shape))
    if counts is None:
        counts = [[len(inside) for inside in window] for window in windows]
    divisors = [prod(count) for count in product(*counts)]
    means = [
        planes[:, inside].sum(axis=1) / divisor
        for inside, divisor in zip(flat_windows(windows, shape), divisors, strict=True)
    ]
    result: NDArray[Any] = np.stack(means, axis=1)
    return result.reshape(*lead, *map(len, windows))


def _places(switches: ArrayLike, shape: Sequence[int]) -> Switches:
    places = numbers(switches, "switches")
    lengths = per_axis(tuple(shape), len(shape), "shape")
    if places.dtype.kind not in "iu" or places.min() < 0 or places.max() >= prod(lengths):
        raise OptionError(
            f"switches of {places.dtype} in {places.min()}..{places.max()} for shape {lengths}",
            remedy=f"give whole numbers in 0..{prod(lengths) - 1}",
        )
    return places.astype(np.int64)
