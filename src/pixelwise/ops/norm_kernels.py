"""Batch normalisation with ReLU and shortcut on bfloat16 pixels [P, C], in as few passes over memory as it takes.

Values are bits of bfloat16, sums are made in float32 and float64. Rows of the arrays may hold several pixels side by
side, so that loops are long enough for vectors; tables along a row then repeat.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pixelwise.ops.bfloat import narrow, widen
from pixelwise.ops.native import kernel

FLUSH = 128  # rows that are added up in float32
OPEN, POSITIVE, OUTPUT = (
    0,
    1,
    2,
)  # where gradients pass: everywhere, where x * scale + offset > 0, where y > 0
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


@njit(inline="always")
def _passed(gradient: Any, x: Any, y: Any, scale: Any, offset: Any, gate: Any, into: Any) -> None:
    """The gradient of one row behind the ReLU, in float32."""
    width = len(gradient)
    if gate == POSITIVE:
        for c in range(width):
            into[c] = widen(gradient[c]) if widen(x[c]) * scale[c] + offset[c] > ZERO else ZERO
    elif gate == OUTPUT:
        for c in range(width):
            into[c] = widen(gradient[c]) if y[c] != 0 else ZERO
    else:
        for c in range(width):
            into[c] = widen(gradient[c])


@kernel("void(u2[:,::1], u2[:,::1], u2[:,::1], f4[::1], f4[::1], f4[::1], i8, f8[:,::1], i8, i8)")
def slopes(
    gradient: Any, x: Any, y: Any, scale: Any, offset: Any, mean: Any, gate: Any, out: Any, start: Any, stop: Any
) -> None:  # fmt: skip
    """Add to `out` [2, W] the sums over rows of the gradient g and of g * (x - mean)."""
    width = x.shape[1]
    first, second = np.zeros(width, np.float32), np.zeros(width, np.float32)
    passed = np.empty(width, np.float32)
    for begin in range(start, stop, FLUSH):
        for row in range(begin, min(begin + FLUSH, stop)):
            line = x[row]
            _passed(gradient[row], line, y[row % y.shape[0]], scale, offset, gate, passed)
            for c in range(width):
                first[c] += passed[c]
                second[c] += passed[c] * (widen(line[c]) - mean[c])
        for c in range(width):
            out[0, c] += first[c]
            out[1, c] += second[c]
            first[c] = second[c] = ZERO


@kernel(
    "void(u2[:,::1], u2[:,::1], u2[:,::1], f4[::1], f4[::1], f4[::1], f4[::1], i8, u2[:,::1], u2[:,::1], i8, i8)"
)
def descend(
    gradient: Any, x: Any, y: Any, scale: Any, offset: Any, slope: Any, constant: Any, gate: Any,
    into: Any, beside: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Write g * scale + x * slope + constant; and to `beside`, where it has rows, g for the shortcut."""
    width = x.shape[1]
    passed = np.empty(width, np.float32)
    for row in range(start, stop):
        line, out = x[row], into[row]
        _passed(gradient[row], line, y[row % y.shape[0]], scale, offset, gate, passed)
        for c in range(width):
            out[c] = narrow(passed[c] * scale[c] + widen(line[c]) * slope[c] + constant[c])
        if beside.shape[0]:
            other = beside[row]
            for c in range(width):
                other[c] = narrow(passed[c])
