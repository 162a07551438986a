"""Convolution and transposed convolution written out: one loop over outputs, one over the taps each reads.

Plain NumPy for looking at and for judging faster code by; networks use torch. As in every framework,
"convolution" is cross-correlation: the kernel is laid on the input as it is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pixelwise.errors import OptionError
from pixelwise.ops.arithmetic import padding_for, pixels
from pixelwise.ops.axes import Numbers, Paddings, numbers, padding_per_axis, per_axis, whole
from pixelwise.ops.indexmap import Tap, index_map
from pixelwise.ops.layers import Layer


def convolve(
    x: ArrayLike,
    kernel: ArrayLike,
    *,
    stride: int | Sequence[int] = 1,
    padding: Paddings = 0,
    dilation: int | Sequence[int] = 1,
) -> Numbers:
    """Convolution (cross-correlation) with zero padding, over one, two or three axes.

    Args:
        x: [*S], or with channels [C, *S].
        kernel: [*K] of as many axes as x, or [O, C, *K].
        stride: For all axes, or one per axis.
        padding: `valid`, `same`, `full`, a number, or one entry per axis: a mode, a number, (before, after).
        dilation: Of the kernel, for all axes or one per axis.

    Returns:
        [*outputs] or [O, *outputs]; whole numbers stay whole.

    Raises:
        OptionError: shapes that do not go together, a number out of range, a kernel larger than the input.

    >>> convolve([[1, 3, 2], [0, -1, 2], [1, -2, 1]], [[1, 0, 0], [-1, 0, 1], [0, -1, 1]], stride=2, padding=1)
    array([[ 2, -5],
           [-2,  1]])
    """
    image, weights = _with_channels(x, kernel, reads=1)
    sizes, lengths = image.shape[1:], weights.shape[2:]
    axes = len(sizes)
    options = zip(
        sizes,
        lengths,
        per_axis(stride, axes, "stride"),
        padding_per_axis(padding, axes),
        per_axis(dilation, axes, "dilation"),
        strict=True,
    )
    maps = []
    for size, length, step, pad, rate in options:
        pair = padding_for(pad, length, stride=step, dilation=rate, size=size)
        layer = Layer("convolution", kernel=length, stride=step, padding=pair, dilation=rate)
        maps.append(index_map(layer, size))
    return _as_given(_apply(image, weights, maps), x)


def convolve_transposed(
    x: ArrayLike,
    kernel: ArrayLike,
    *,
    stride: int | Sequence[int] = 1,
    padding: Paddings = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> Numbers:
    """Transposed convolution: each input pixel lays a weighted copy of the kernel on the output.

    It is the backward pass of `convolve` with the same options, and gives back the size of its input but not
    its values. With a kernel turned by 180 degrees it is a convolution of the input with zeros inserted.

    Args:
        x: [*S], or with channels [C, *S].
        kernel: [*K] of as many axes as x, or [C, O, *K] (the channels as the convolution has them).
        stride: Output pixels from one copy to the next, for all axes or one per axis.
        padding: Pixels cut off, a number, or one entry per axis: a number, (before, after).
        output_padding: Pixels added after, for all axes or one per axis.
        dilation: Of the kernel, for all axes or one per axis.

    Returns:
        [*outputs] or [O, *outputs]; whole numbers stay whole.

    Raises:
        OptionError: shapes that do not go together, a number out of range, an output without pixels.

    >>> convolve_transposed([[0, 1], [2, 3]], [[1, 2], [3, 4]])
    array([[ 0,  1,  2],
           [ 2, 10, 10],
           [ 6, 17, 12]])
    """
    image, weights = _with_channels(x, kernel, reads=0)
    maps = _transposed_maps(
        image.shape[1:],
        weights.shape[2:],
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )
    return _as_given(_apply(image, weights.swapaxes(0, 1), maps), x)


def zero_insertion(x: ArrayLike, stride: int, *, padding: int | tuple[int, int] = 0) -> Numbers:
    """`stride` - 1 zeros between neighbours along every axis, and a border of zeros around.

    A transposed convolution with kernel K and padding P is a convolution at stride 1 of this, with a border
    of K - 1 - P and the kernel turned by 180 degrees.

    Args:
        x: [*S].
        stride: Of the transposed convolution.
        padding: Width of the border, a number or (before, after).

    Raises:
        OptionError: a number out of range.

    >>> zero_insertion([1, 2, 3], 2, padding=1)
    array([0, 1, 0, 2, 0, 3, 0])
    """
    image = numbers(x, "x")
    stride, (before, after) = whole(stride, "stride"), pixels(padding)
    inner = tuple((size - 1) * stride + 1 for size in image.shape)
    result = np.zeros(tuple(before + length + after for length in inner), image.dtype)
    result[tuple(slice(before, before + length, stride) for length in inner)] = image
    return result


def weighted_copies(x: ArrayLike, kernel: ArrayLike, *, stride: int | Sequence[int] = 1) -> list[Numbers]:
    """The copies of the kernel whose sum is the transposed convolution, one per input pixel, row by row.

    Args:
        x: [*S].
        kernel: [*K] of as many axes.
        stride: Output pixels from one copy to the next, for all axes or one per axis.

    Raises:
        OptionError: shapes that do not go together, a number out of range.

    >>> [copy.tolist() for copy in weighted_copies([2, 1], [1, 3])]
    [[2, 6, 0], [0, 1, 3]]
    """
    image, weights = numbers(x, "x"), numbers(kernel, "kernel")
    copies = []
    for place in np.ndindex(image.shape):
        alone = np.zeros_like(image)
        alone[place] = image[place]
        copies.append(convolve_transposed(alone, weights, stride=stride))
    return copies


def overlap_counts(
    size: int | Sequence[int],
    kernel: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Paddings = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> NDArray[np.int64]:
    """How many copies of the kernel a transposed convolution lays on each output pixel.

    Where the stride does not divide the kernel the counts alternate, and so does the result of a network
    that has just begun to learn: checkerboards (Odena, Dumoulin, Olah: Deconvolution and Checkerboard
    Artifacts, 2016, https://distill.pub/2016/deconv-checkerboard).

    Args:
        size: Of the input, a number for one axis or one per axis.
        kernel: Its taps, for all axes or one per axis.
        stride: As all that follow: as in `convolve_transposed`.
        padding: Pixels cut off.
        output_padding: Pixels added after.
        dilation: Of the kernel.

    Returns:
        int64 [*outputs].

    Raises:
        OptionError: a number out of range.

    >>> overlap_counts(3, 3, stride=2)
    array([1, 1, 2, 1, 2, 1, 1])
    """
    sizes = tuple(size) if isinstance(size, Sequence) else (size,)
    counts = np.ones((), np.int64)
    maps = _transposed_maps(
        sizes,
        per_axis(kernel, len(sizes), "kernel"),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )
    for taps in maps:
        counts = np.multiply.outer(counts, np.array([len(read) for read in taps], np.int64))
    return counts


Maps = list[list[list[Tap]]]  # for each axis, for each output along it, the taps it reads


def _transposed_maps(
    sizes: Sequence[int],
    lengths: Sequence[int],
    *,
    stride: int | Sequence[int],
    padding: Paddings,
    output_padding: int | Sequence[int],
    dilation: int | Sequence[int],
) -> Maps:
    axes = len(sizes)
    options = zip(
        sizes,
        lengths,
        per_axis(stride, axes, "stride"),
        padding_per_axis(padding, axes),
        per_axis(dilation, axes, "dilation"),
        per_axis(output_padding, axes, "output_padding", least=0),
        strict=True,
    )
    maps = []
    for size, length, step, pad, rate, extra in options:
        pair = pixels(pad)
        layer = Layer(
            "transposed", kernel=length, stride=step, padding=pair, dilation=rate, output_padding=extra
        )
        maps.append(index_map(layer, size))
    return maps


def _apply(image: Numbers, weights: Numbers, maps: Maps) -> Numbers:
    """Sum over taps of weights [O, C] at the tap times the channels [C] at the input pixel."""
    kind = _result_type(image, weights)
    image, weights = image.astype(kind), weights.astype(kind)
    result = np.zeros((len(weights), *map(len, maps)), kind)
    for place in np.ndindex(result.shape[1:]):
        for read in product(*(taps[index] for taps, index in zip(maps, place, strict=True))):
            pixel = tuple(tap.input for tap in read)
            tap = tuple(tap.kernel for tap in read)
            result[:, *place] += weights[:, :, *tap] @ image[:, *pixel]
    return result


def _result_type(image: Numbers, weights: Numbers) -> np.dtype[Any]:
    kind = np.result_type(image, weights)
    return np.dtype(np.int64) if kind.kind in "biu" else kind  # sums of bytes do not fit into a byte


def _with_channels(x: ArrayLike, kernel: ArrayLike, *, reads: int) -> tuple[Numbers, Numbers]:
    """Image [C, *S] and kernel with both channel axes; axis `reads` of the kernel are the image's channels."""
    image, weights = numbers(x, "x"), numbers(kernel, "kernel")
    if weights.ndim == image.ndim and 1 <= image.ndim <= 3:
        return image[None], weights[None, None]
    form = ("[C, O, *K]", "[O, C, *K]")[reads]
    if weights.ndim != image.ndim + 1 or not 2 <= image.ndim <= 4:
        raise OptionError(
            f"x of shape {image.shape} and a kernel of shape {weights.shape}",
            remedy=f"give x [*S] and kernel [*K], or x [C, *S] and kernel {form}, with 1, 2 or 3 axes",
        )
    if weights.shape[reads] != len(image):
        raise OptionError(
            f"x has {len(image)} channels and the kernel {weights.shape} reads {weights.shape[reads]}",
            remedy=f"give x [C, *S] and kernel {form} with the same C",
        )
    return image, weights


def _as_given(result: Numbers, x: ArrayLike) -> Numbers:
    """Without the channel axis where x came without one."""
    return result[0] if np.ndim(x) == result.ndim - 1 else result
