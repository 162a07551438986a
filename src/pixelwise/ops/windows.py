"""The windows of pooling: which input pixels each output pools, along each axis and in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OptionError
from pixelwise.ops.arithmetic import pixels
from pixelwise.ops.axes import Paddings, padding_per_axis, per_axis
from pixelwise.ops.indexmap import index_map
from pixelwise.ops.layers import Layer

Windows = list[list[int]]  # for each output along one axis, the inputs it pools


def pooling_layers(
    axes: int,
    kernel: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None,
    padding: Paddings,
    dilation: int | Sequence[int] = 1,
    ceil: bool,
) -> list[Layer]:
    """One pooling layer per axis; the stride is the kernel when left out.

    Raises:
        OptionError: a number out of range.
    """
    options = zip(
        per_axis(kernel, axes, "kernel"),
        per_axis(kernel if stride is None else stride, axes, "stride"),
        padding_per_axis(padding, axes),
        per_axis(dilation, axes, "dilation"),
        strict=True,
    )
    return [
        Layer("pooling", kernel=length, stride=step, padding=pixels(pad), dilation=rate, ceil=ceil)
        for length, step, pad, rate in options
    ]


def windows_of(layers: Sequence[Layer], sizes: Sequence[int]) -> list[Windows]:
    """The windows of pooling along each axis, padding left out.

    Raises:
        OptionError: a window holds nothing but padding, or the kernel is larger than the padded input.
    """
    windows = []
    for layer, size in zip(layers, sizes, strict=True):
        window = [[tap.input for tap in taps] for taps in index_map(layer, size)]
        if not all(window):
            raise OptionError(
                f"window {window.index([])} of {layer} holds no pixel of {size}",
                remedy="use less padding or a smaller dilation",
            )
        windows.append(window)
    return windows


def padded_counts(layer: Layer, size: int) -> list[int]:
    """Pixels of each window along one axis that lie in the input or in its padding."""
    before, after = layer.padding
    starts = [index * layer.stride - before for index in range(layer.output_size(size))]
    return [min(start + layer.kernel, size + after) - start for start in starts]


def adaptive_windows(sizes: Sequence[int], outputs: Sequence[int]) -> list[Windows]:
    """The windows of adaptive pooling along each axis: from floor(i I / O) to ceil((i + 1) I / O) - 1."""
    return [
        [list(range(i * size // count, -(-(i + 1) * size // count))) for i in range(count)]
        for size, count in zip(sizes, outputs, strict=True)
    ]


def flat_windows(windows: Sequence[Windows], shape: Sequence[int]) -> list[NDArray[np.int64]]:
    """For each output, row by row, the flat indices of the pixels it pools."""
    return [np.ravel_multi_index(np.ix_(*inside), tuple(shape)).ravel() for inside in product(*windows)]
