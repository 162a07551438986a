"""Counting pairs of labels run by run: labels are locally constant, so most pixels repeat the one before.

64 pixels at a time are compared with their left neighbours; where truth or prediction changes a run ends, and it adds
its length to one counter. The ends are first written to a list, eight of each block whether there are as many or not,
because a loop over those of one block would guess wrong at nearly every block when it ends. Where nearly every pixel
changes, pixels are counted one by one in four tables in turn, so that no addition waits for the one before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from pixelwise.ops.native import kernel

PAIRS = 256 * 256
TABLE = PAIRS + 80  # apart by no power of two: tables would share cache sets
TABLES = 4

_BLOCK = 64
_DENSE = np.uint64(40)  # changes per block from which runs are no help
_AHEAD = np.uint64(4096)  # bytes: the processor by itself asks too late, and not beyond a page
_LISTED = 512  # ends of runs that are listed before they are counted: the pixels are still in the cache then
_AT_ONCE = 8
_ZERO, _ONE, _EIGHT, _STEP = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(_BLOCK)
_SECOND, _THIRD, _FOURTH = np.uint64(TABLE), np.uint64(2 * TABLE), np.uint64(3 * TABLE)
_UNIT = np.uint32(1)
_LABELS = "Array(u1, 1, 'C', readonly=True)"  # takes those that can be written to as well


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
def _fetch(typing: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line of a place that will be read soon; one behind the end does no harm."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [data.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [data.type], kind)
        pointer = builder.gep(data, [values[1]])
        builder.call(function, [pointer, *(ir.Constant(number, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.none(array, place), generate


@intrinsic
def _lowest(typing: Any, bits: Any) -> Any:
    """Position of the lowest bit that is set; 64 where none is."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@intrinsic
def _how_many(typing: Any, bits: Any) -> Any:
    """How many bits are set."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return types.uint64(types.uint64), generate


@njit
def _count_runs(truth: Any, prediction: Any, counts: Any, start: Any, ends: Any, many: Any) -> Any:
    """Add the runs from `start` on that end at the first `many` of `ends`; where the next one begins."""
    for number in range(many):
        end = ends[number]
        counts[np.uint64(truth[start]) << _EIGHT | np.uint64(prediction[start])] += np.uint32(end - start)
        start = end
    return start


@kernel(f"void({_LABELS}, {_LABELS}, u4[::1])")
def count(truth: Any, prediction: Any, counts: Any) -> None:
    """Add to `counts`, TABLES tables of TABLE, how often each pair 256 truth + prediction occurs."""
    size = np.uint64(truth.size)
    ends = np.empty(_LISTED + _BLOCK, np.uint64)
    many = _ZERO
    start, place = _ZERO, _ONE  # runs before `start` are counted; those up to `place` have their ends listed
    while place + _STEP <= size:
        bits = _changes(truth, prediction, place)
        _fetch(truth, place + _AHEAD)
        _fetch(prediction, place + _AHEAD)
        changes = _how_many(bits)
        if changes < _DENSE:
            more = many
            many += changes
            while True:
                for nth in range(_AT_ONCE):
                    ends[more + np.uint64(nth)] = place + _lowest(bits)
                    bits &= bits - _ONE
                more += np.uint64(_AT_ONCE)
                if more >= many:
                    break
            if many >= np.uint64(_LISTED):
                start = _count_runs(truth, prediction, counts, start, ends, many)
                many = _ZERO
        else:
            start = _count_runs(truth, prediction, counts, start, ends, many)
            many = _ZERO
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
    start = _count_runs(truth, prediction, counts, start, ends, many)
    for last in range(start, size):
        counts[np.uint64(truth[last]) << _EIGHT | np.uint64(prediction[last])] += _UNIT
