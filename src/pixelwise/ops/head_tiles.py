"""Interpolation, softmax and its gradient, or the largest class, in one pass over tiles of an output row.

A tile is up to TILE pixels of one output row; for each class they lie one after the other, so that every inner loop
is over neighbouring values and becomes vector instructions. Two low-resolution rows are stretched to the tile's
columns and kept (`above`, `below`) for all output rows between them; an output row is a mixture of the two. Nothing
of the size classes x height x width exists.

Where the width grows by a whole factor, a tile holds every factor-th column first, then their right neighbours, and
so on: columns of one phase have one share, and their neighbours lie side by side.

What the arguments mean, as `head` makes them: `low` [K, h, 1 + w + more], edge columns repeated on both sides;
`rows` [2, H] the two low-resolution neighbours of each output row and `row_shares` the share of the second;
`columns` [2, slots] and `column_shares` the same for the slots of all tiles, or with `factor` > 0 [2, factor] for
one tile's phases; `places` [tiles, slots of a tile] the output column of each slot, or -1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

TILE = 256
IGNORED = 255

_F = np.float32
ZERO, ONE, _TWO = _F(0), _F(1), _F(2)
_LOWEST = _F(-87)  # its exponential is next to the smallest normal number
_PER_LOG2 = _F(1.4426950408889634)
_LOG2 = _F(0.6931471805599453)
_WHOLE = _F(12582912)  # 1.5 * 2^23: added to a number it leaves the number rounded in the last bits
# 2^f for f in -0.5..0.5, fitted for the smallest relative error, 2e-7 with the rounding
_C1, _C2, _C3 = _F(0.6931469440460205), _F(0.24022120237350464), _F(0.05550713092088699)
_C4, _C5 = _F(0.009675540961325169), _F(0.0013276470126584172)
_A3, _A5, _A7, _A9 = _F(1 / 3), _F(1 / 5), _F(1 / 7), _F(1 / 9)
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_MANTISSA = np.int32(23)


@intrinsic
def _bits(typing: Any, value: Any) -> Any:
    """The bits of a float32 as int32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(types.int32))

    return types.int32(types.float32), generate


@intrinsic
def _number(typing: Any, bits: Any) -> Any:
    """The float32 of these bits."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@njit(fastmath={"contract"})
def exp(x: Any) -> Any:
    """e^x for x <= 0 without a branch or a call, so that loops over it become vector instructions."""
    x = _LOWEST if x < _LOWEST else x
    shifted = x * _PER_LOG2 + _WHOLE
    f = x * _PER_LOG2 - (shifted - _WHOLE)
    power = ONE + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * _C5))))
    return _number(np.int32(_bits(power) + np.int32(_bits(shifted) << _MANTISSA)))


@njit(fastmath={"contract"})
def _log(x: Any) -> Any:
    """The natural logarithm of a positive x, in the same way; NaN stays NaN."""
    exponent = np.int32(np.int32(_bits(x) - _SQRT_HALF_BITS) >> _MANTISSA)
    mantissa = _number(np.int32(_bits(x) - np.int32(exponent << _MANTISSA)))
    u = (mantissa - ONE) / (mantissa + ONE)
    v = u * u
    series = ONE + v * (_A3 + v * (_A5 + v * (_A7 + v * _A9)))
    return _F(exponent) * _LOG2 + _TWO * u * series + (x - x)  # x - x: 0, or NaN where x is no number


@njit(fastmath={"contract"})
def stretch_one(
    line: Any, columns: Any, shares: Any, factor: Any, tile: Any, slots: Any, into: Any
) -> None:  # fmt: skip
    """A low-resolution row of one class, interpolated to the columns of a tile."""
    if factor:
        count = slots // factor
        for phase in range(factor):
            share = shares[phase]
            left = line[columns[0, phase] + tile * count :]
            out = into[phase * count :]
            for x in range(count):
                out[x] = left[x] + share * (left[x + 1] - left[x])
    else:
        for x in range(slots):
            at = tile * slots + x
            value = line[np.uint32(columns[0, at])]
            into[x] = value + shares[at] * (line[np.uint32(columns[1, at])] - value)


@njit
def stretch(
    low: Any, row: Any, columns: Any, shares: Any, factor: Any, tile: Any, slots: Any, into: Any
) -> None:  # fmt: skip
    """A low-resolution row of every class, interpolated to the columns of a tile."""
    for k in range(low.shape[0]):
        stretch_one(low[k, row], columns, shares, factor, tile, slots, into[k])


@njit(fastmath={"contract"})
def mix(above: Any, below: Any, share: Any, into: Any) -> None:
    """An output row of every class."""
    for k in range(above.shape[0]):
        a, b, out = above[k], below[k], into[k]
        for x in range(TILE):
            out[x] = a[x] + share * (b[x] - a[x])


@njit(fastmath={"contract"})
def log_sum_exp(z: Any, largest: Any, total: Any, lse: Any) -> None:
    """Make z e^(z - largest), which adds up to `total` over classes; `lse` is the logarithm of all."""
    for x in range(TILE):
        largest[x] = z[0, x]
        total[x] = ZERO
    for k in range(1, z.shape[0]):
        row = z[k]
        for x in range(TILE):
            largest[x] = row[x] if row[x] > largest[x] else largest[x]
    for k in range(z.shape[0]):
        row = z[k]
        for x in range(TILE):
            e = exp(row[x] - largest[x])
            row[x] = e
            total[x] += e
    for x in range(TILE):
        lse[x] = largest[x] + _log(total[x])


@njit(fastmath={"contract"})
def exp_sums(z: Any, largest: Any, sharp: Any, total: Any) -> None:
    """The sums over classes of e^(sharp (z - largest)); with the largest z as `largest` they are 1 at least."""
    for x in range(TILE):
        total[x] = ZERO
    for k in range(z.shape[0]):
        row = z[k]
        for x in range(TILE):
            total[x] += exp((row[x] - largest[x]) * sharp[x])
