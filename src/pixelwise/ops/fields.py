"""Receptive fields: the input pixels that an output pixel depends on, through a chain of layers, along one axis.

Each layer is asked which of its inputs an output reads, from the last layer back to the first, so what comes
out is exact for any chain: holes of dilated kernels, borders, and the outputs of one upsampling step, which do
not all see equally much. For convolutions and pooling alone it is the known closed form, with the effective
kernels E and the strides S:

- jump of layer l: J_l = S_1 S_2 ... S_l, and J_0 = 1
- size: 1 + sum over l of (E_l - 1) J_{l-1}
- start: - sum over l of P_l J_{l-1}

Araujo, Norris and Sim: Computing Receptive Fields of Convolutional Neural Networks, 2019,
https://distill.pub/2019/computing-receptive-fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from pixelwise.errors import OptionError
from pixelwise.ops.indexmap import taps
from pixelwise.ops.layers import Layer, chain_sizes


@dataclass(frozen=True)
class Field:
    """What the outputs of a chain of layers depend on, away from the borders.

    Attributes:
        size: Input pixels from the first to the last that one output depends on; the most of any output.
        stride: Input pixels from one output to the next, the jump; below 1 where the output is finer.
        start: The first input that outputs 0..period - 1 depend on; negative inside the padding.
        period: Outputs after which the pattern of who sees what repeats; 1 without upsampling.
    """

    size: int
    stride: Fraction
    start: int
    period: int


def seen(layers: Sequence[Layer], output: int, *, size: int | None = None) -> tuple[int, ...]:
    """The input pixels that one output of a chain depends on, in ascending order.

    Args:
        layers: From the input to the output.
        output: Index of the output pixel.
        size: Input pixels; without it the input has no end.

    Raises:
        OptionError: there is no such output, or a layer does not fit the size.

    >>> dilated = [Layer("convolution", kernel=3, dilation=2)] * 2
    >>> seen(dilated, 0)
    (0, 2, 4, 6, 8)
    """
    lengths: Sequence[int | None] = [None] * len(layers)
    if size is not None:
        *lengths, outputs = chain_sizes(layers, size)
        if not 0 <= output < outputs:
            raise OptionError(f"output {output}", remedy=f"give an index in 0..{outputs - 1}")
    places = {output}
    for layer, length in zip(reversed(layers), reversed(lengths), strict=True):
        places = {tap.input for place in places for tap in taps(layer, place, length)}
    return tuple(sorted(places))


def receptive_field(layers: Sequence[Layer]) -> Field:
    """Size, jump and start of the receptive field of a chain of layers.

    >>> conv, pool = Layer("convolution", kernel=3, padding=(1, 1)), Layer("pooling", kernel=2, stride=2)
    >>> receptive_field([conv, conv, pool, conv])
    Field(size=10, stride=Fraction(2, 1), start=-4, period=1)
    >>> receptive_field([Layer("upsample_bilinear", factor=2)])
    Field(size=2, stride=Fraction(1, 2), start=-1, period=2)
    """
    stride, period = _pace(layers)
    spans = _spans(layers, period)
    return Field(
        size=max((last - first + 1 for first, last in spans), default=0),
        stride=stride,
        start=min((first for first, _ in spans), default=0),
        period=period,
    )


def receptive_fields(layers: Sequence[Layer]) -> tuple[Field, ...]:
    """The receptive field in the input after the first layer, after the first two, and so on.

    >>> [field.size for field in receptive_fields([Layer("convolution", kernel=3)] * 3)]
    [3, 5, 7]
    """
    return tuple(receptive_field(layers[: count + 1]) for count in range(len(layers)))


def halo(layers: Sequence[Layer]) -> tuple[int, int]:
    """Input pixels (before, after) a tile that the tile's outputs depend on.

    Tiles begin and end at multiples of `stride * period` of the receptive field, which is where an output's
    view begins anew; for an encoder and decoder that come back to full size, that is the encoder's stride.

    >>> halo([Layer("convolution", kernel=3, padding=(1, 1))] * 4)
    (4, 4)
    >>> halo([Layer("pooling", kernel=2, stride=2), Layer("upsample_nearest", factor=2)])
    (0, 0)
    """
    stride, period = _pace(layers)
    spans = _spans(layers, period)
    first = min((first for first, _ in spans), default=0)
    last = max((last for _, last in spans), default=0)
    return max(0, -first), max(0, last + 1 - int(stride * period))


def _pace(layers: Sequence[Layer]) -> tuple[Fraction, int]:
    """Inputs per output, and the fewest outputs that are a whole number of pixels at every layer."""
    pace, period = Fraction(1), 1
    for layer in reversed(layers):
        own = layer.as_transposed
        pace *= Fraction(1, own.stride) if own.kind == "transposed" else own.stride
        period = lcm(period, pace.denominator)
    return pace, period


def _spans(layers: Sequence[Layer], period: int) -> list[tuple[int, int]]:
    """First and last input of the outputs of one period that see any: a transposed convolution may leave gaps."""
    views = [seen(layers, output) for output in range(period)]
    return [(view[0], view[-1]) for view in views if view]
