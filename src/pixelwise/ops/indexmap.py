"""Which inputs feed which output through which kernel tap.

One axis at a time, as lists that a page can step through; for images each pair of a row's tap and a column's
tap is one tap of the plane, and its weight the product of both.
"""

from __future__ import annotations

from typing import NamedTuple

from pixelwise.errors import OptionError
from pixelwise.ops.axes import whole
from pixelwise.ops.layers import Layer


class Tap(NamedTuple):
    """One input pixel that an output pixel reads, through which kernel tap, and how much of it.

    The weight is 1 where the kernel is learned or the maximum is taken; in bilinear upsampling it is the
    value of the fixed kernel at this tap.
    """

    input: int
    kernel: int
    weight: float = 1.0


class PlaneTap(NamedTuple):
    """A tap of the plane: (row, column) of the input pixel and of the kernel tap, and the weight."""

    input: tuple[int, int]
    kernel: tuple[int, int]
    weight: float = 1.0


def taps(layer: Layer, output: int, size: int | None = None) -> list[Tap]:
    """What output pixel `output` of a layer reads, inputs in ascending order.

    A convolution reads input S o - P + D k through tap k. A transposed convolution is the same relation with
    input and output exchanged: input i reaches output S i - P + D k, so output o reads the i for which
    (o + P - D k) / S is whole. Upsampling is the transposed convolution that `Layer.as_transposed` names.

    Args:
        layer: The layer.
        output: Index of the output pixel.
        size: Input pixels. What lies outside is left out, since it is zero (in pooling: never the maximum),
            and stands for the border pixel in bilinear upsampling. Without it the input has no end.

    >>> taps(Layer("convolution", kernel=3, stride=2, padding=(1, 1)), 0, size=5)
    [Tap(input=0, kernel=1, weight=1.0), Tap(input=1, kernel=2, weight=1.0)]
    >>> taps(Layer("transposed", kernel=3, stride=2, padding=(1, 1)), 1)
    [Tap(input=0, kernel=2, weight=1.0), Tap(input=1, kernel=0, weight=1.0)]
    """
    found = _unbounded(layer, output)
    if size is None:
        return found
    if layer.kind == "upsample_bilinear":
        return [tap._replace(input=min(max(tap.input, 0), size - 1)) for tap in found]
    return [tap for tap in found if 0 <= tap.input < size]


def _unbounded(layer: Layer, output: int) -> list[Tap]:
    own = layer.as_transposed
    before = own.padding[0]
    if own.kind != "transposed":
        return [Tap(output * own.stride - before + own.dilation * k, k) for k in range(own.kernel)]
    found = []
    for k in reversed(range(own.kernel)):
        place, rest = divmod(output + before - own.dilation * k, own.stride)
        if rest == 0:
            found.append(Tap(place, k, _weight(layer, k)))
    return found


def _weight(layer: Layer, k: int) -> float:
    if layer.kind != "upsample_bilinear":
        return 1.0
    middle = (layer.as_transposed.kernel - 1) / 2
    return 1 - abs(k - middle) / layer.factor


def index_map(layer: Layer, size: int) -> list[list[Tap]]:
    """For each output pixel the taps it reads, on an axis of `size` input pixels.

    Raises:
        OptionError: the layer does not fit the size.

    >>> [[tap.input for tap in row] for row in index_map(Layer("convolution", kernel=3, stride=2), 7)]
    [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    >>> [[tap.weight for tap in row] for row in index_map(Layer("upsample_bilinear", factor=2), 2)]
    [[0.25, 0.75], [0.75, 0.25], [0.25, 0.75], [0.75, 0.25]]
    """
    return [taps(layer, output, size) for output in range(layer.output_size(size))]


def index_map_2d(rows: Layer, columns: Layer, size: tuple[int, int]) -> list[list[list[PlaneTap]]]:
    """For each output row and column the taps it reads: every tap of the row with every tap of the column.

    Args:
        rows: The layer along the first axis.
        columns: The layer along the second.
        size: Input rows and columns.

    Raises:
        OptionError: the layer does not fit the size.

    >>> layer = Layer("convolution", kernel=2)
    >>> [tap.input for tap in index_map_2d(layer, layer, (3, 3))[1][0]]
    [(1, 0), (1, 1), (2, 0), (2, 1)]
    """
    if len(size) != 2:
        raise OptionError(f"size is {size!r}", remedy="give (rows, columns)")
    down, across = index_map(rows, whole(size[0], "rows")), index_map(columns, whole(size[1], "columns"))
    return [[_products(row, column) for column in across] for row in down]


def _products(rows: list[Tap], columns: list[Tap]) -> list[PlaneTap]:
    return [
        PlaneTap((row.input, column.input), (row.kernel, column.kernel), row.weight * column.weight)
        for row in rows
        for column in columns
    ]
