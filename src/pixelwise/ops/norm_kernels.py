"""Batch normalisation with ReLU and shortcut on bfloat16 pixels [P, C], in as few passes over memory as it takes.

Values are bits of bfloat16, sums are made in float32 and float64. Rows of the arrays may hold several pixels side by
side, so that loops are long enough for vectors; tables along a row then repeat.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pixelwise.ops.bfloat import narrow, widen
from pixelwise.ops.native import kernel

FLUSH = 128  # rows that are added up in float32
# Where gradients pass: everywhere, where x * scale + offset > 0, where y > 0.
OPEN, POSITIVE, OUTPUT = 0, 1, 2
ZERO = np.float32(0)


@kernel("void(u2[:,::1], f4[::1], f8[:,::1], i8, i8)")
def moments(x: Any, shift: Any, out: Any, start: Any, stop: Any) -> None:
    """Add to `out` [2, W] the sums over rows of x - shift and of its square."""
    width = x.shape[1]
    first, second = np.zeros(width, np.float32), np.zeros(width, np.float32)
    for begin in range(start, stop, FLUSH):
        for row in range(begin, min(begin + FLUSH, stop)):
            line = x[row]
            for c in range(width):
                value = widen(line[c]) - shift[c]
                first[c] += value
                second[c] += value * value
        for c in range(width):
            out[0, c] += first[c]
            out[1, c] += second[c]
            first[c] = second[c] = ZERO


@kernel("void(u2[:,::1], f4[::1], f4[::1], u2[:,::1], b1, u2[:,::1], i8, i8)")
def apply(x: Any, scale: Any, offset: Any, shortcut: Any, relu: Any, y: Any, start: Any, stop: Any) -> None:
    """Write relu(x * scale + offset + shortcut) to y; a shortcut without rows is none."""
    width, floor = x.shape[1], ZERO if relu else np.float32(-np.inf)
    joined = shortcut.shape[0] > 0
    for row in range(start, stop):
        line, into = x[row], y[row]
        if joined:
            other = shortcut[row]
            for c in range(width):
                into[c] = narrow(max(widen(line[c]) * scale[c] + offset[c] + widen(other[c]), floor))
        else:
            for c in range(width):
                into[c] = narrow(max(widen(line[c]) * scale[c] + offset[c], floor))


def _slopes(gate: int) -> Any:
    """The kernel for one gate, which is a constant to the compiler: loops without branches become vectors."""

    @kernel("void(u2[:,::1], u2[:,::1], u2[:,::1], f4[::1], f4[::1], f4[::1], f8[:,::1], i8, i8)")
    def slopes(
        gradient: Any, x: Any, y: Any, scale: Any, offset: Any, mean: Any, out: Any, start: Any, stop: Any
    ) -> None:  # fmt: skip
        width = x.shape[1]
        first, second = np.zeros(width, np.float32), np.zeros(width, np.float32)
        for begin in range(start, stop, FLUSH):
            for row in range(begin, min(begin + FLUSH, stop)):
                above, line, seen = gradient[row], x[row], y[row]
                for c in range(width):
                    value, g = widen(line[c]), widen(above[c])
                    if gate == POSITIVE:
                        g = g if value * scale[c] + offset[c] > ZERO else ZERO
                    elif gate == OUTPUT:
                        g = g if widen(seen[c]) > ZERO else ZERO
                    first[c] += g
                    second[c] += g * (value - mean[c])
            for c in range(width):
                out[0, c] += first[c]
                out[1, c] += second[c]
                first[c] = second[c] = ZERO

    return slopes


_DESCEND = (
    "void(u2[:,::1], u2[:,::1], u2[:,::1], f4[::1], f4[::1], f4[::1], f4[::1], u2[:,::1], u2[:,::1], i8, i8)"
)


def _descend(gate: int) -> Any:
    @kernel(_DESCEND)
    def descend(
        gradient: Any, x: Any, y: Any, scale: Any, offset: Any, slope: Any, constant: Any, into: Any, beside: Any,
        start: Any, stop: Any,
    ) -> None:  # fmt: skip
        width = x.shape[1]
        for row in range(start, stop):
            above, line, out = gradient[row], x[row], into[row]
            for c in range(width):
                value, g = widen(line[c]), widen(above[c])
                if gate == POSITIVE:
                    g = g if value * scale[c] + offset[c] > ZERO else ZERO
                out[c] = narrow(g * scale[c] + value * slope[c] + constant[c])

    return descend


@kernel(_DESCEND)
def _descend_joined(
    gradient: Any, x: Any, y: Any, scale: Any, offset: Any, slope: Any, constant: Any, into: Any, beside: Any,
    start: Any, stop: Any,
) -> None:  # fmt: skip
    """The same for the gate at the output; g itself, the gradient of the shortcut, is written on the way."""
    width = x.shape[1]
    for row in range(start, stop):
        above, line, seen, out, other = gradient[row], x[row], y[row], into[row], beside[row]
        for c in range(width):  # two short loops: the compiler makes no vectors of one that writes to both
            g = widen(above[c])
            other[c] = narrow(g if widen(seen[c]) > ZERO else ZERO)
        for c in range(width):
            out[c] = narrow(widen(other[c]) * scale[c] + widen(line[c]) * slope[c] + constant[c])


# Sums over rows of the gradient g behind the gate and of g * (x - mean), added to `out` [2, W]; one kernel a gate.
SLOPES = tuple(_slopes(gate) for gate in (OPEN, POSITIVE, OUTPUT))
# Writes g * scale + x * slope + constant, and behind a shortcut and ReLU g to `beside`.
DESCEND = (_descend(OPEN), _descend(POSITIVE), _descend_joined)
