"""Counting pairs of labels run by run: labels are locally constant, so most pixels repeat the one before.

64 pixels at a time are compared with their left neighbours; the bits where truth or prediction changes end the
runs, and a run adds its length to one counter. Where nearly every pixel changes, pixels are counted one by one in
four tables in turn, so that no addition waits for the one before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pixelwise.ops.native import kernel

PAIRS = 256 * 256
TABLE = PAIRS + 80  # apart by no power of two: tables would share cache sets
TABLES = 4

_BLOCK = 64
_DENSE = np.uint64(40)  # changes per block from which runs are no help
_ONE, _EIGHT, _STEP = np.uint64(1), np.uint64(8), np.uint64(_BLOCK)
_SECOND, _THIRD, _FOURTH = np.uint64(TABLE), np.uint64(2 * TABLE), np.uint64(3 * TABLE)
_TWO, _THREE = np.uint64(2), np.uint64(3)
_UNIT = np.uint32(1)


@intrinsic
def _changes(typing: Any, truth: Any, prediction: Any, start: Any) -> Any:
    """Bit j says that pixel start + j differs from the one before; plain LLVM, which fits any processor."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pixels = ir.VectorType(ir.IntType(8), _BLOCK)

        def differ(array: Any, of: Any) -> Any:
            data = context.make_array(of)(context, builder, array).data
            loads = []
            for place in (values[2], builder.sub(values[2], ir.Constant(values[2].type, 1))):
                pointer = builder.bitcast(builder.gep(data, [place]), pixels.as_pointer())
                loads.append(builder.load(pointer, align=1))
            return builder.icmp_unsigned("!=", *loads)

        either = builder.or_(differ(values[0], signature.args[0]), differ(values[1], signature.args[1]))
        return builder.bitcast(either, ir.IntType(_BLOCK))

    return types.uint64(truth, prediction, start), generate


@intrinsic
def _lowest(typing: Any, bits: Any) -> Any:
    """Position of the lowest bit that is set; there is one."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def _how_many(typing: Any, bits: Any) -> Any:
    """How many bits are set."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return types.uint64(types.uint64), generate


@kernel("void(u1[::1], u1[::1], u4[::1])")
def count(truth: Any, prediction: Any, counts: Any) -> None:
    """Add to `counts`, TABLES tables of TABLE, how often each pair 256 truth + prediction occurs."""
    size = np.uint64(truth.size)
    start, place = np.uint64(0), _ONE  # pixels before `start` are counted; the run from it on goes on
    while place + _STEP <= size:
        bits = _changes(truth, prediction, place)
        if _how_many(bits) < _DENSE:
            while bits != np.uint64(0):
                end = place + _lowest(bits)
                counts[np.uint64(truth[start]) << _EIGHT | np.uint64(prediction[start])] += np.uint32(
                    end - start
                )
                start = end
                bits &= bits - _ONE
        else:
            if start < place:
                counts[np.uint64(truth[start]) << _EIGHT | np.uint64(prediction[start])] += np.uint32(
                    place - start
                )
            for quad in range(_BLOCK // TABLES):
                at = place + np.uint64(quad) * np.uint64(TABLES)
                counts[np.uint64(truth[at]) << _EIGHT | np.uint64(prediction[at])] += _UNIT
                at += _ONE
                counts[_SECOND + (np.uint64(truth[at]) << _EIGHT | np.uint64(prediction[at]))] += _UNIT
                at += _ONE
                counts[_THIRD + (np.uint64(truth[at]) << _EIGHT | np.uint64(prediction[at]))] += _UNIT
                at += _ONE
                counts[_FOURTH + (np.uint64(truth[at]) << _EIGHT | np.uint64(prediction[at]))] += _UNIT
            start = place + _STEP
        place += _STEP
    for last in range(start, size):
        counts[np.uint64(truth[last]) << _EIGHT | np.uint64(prediction[last])] += _UNIT
