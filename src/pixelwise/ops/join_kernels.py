"""Doubling a map and putting another one beside it, forth and back, on bfloat16 maps [N, H, W, C]."""

from __future__ import annotations

from typing import Any

import numpy as np

from pixelwise.ops.bfloat import narrow, widen
from pixelwise.ops.native import kernel


@kernel("void(u2[:,:,:,::1], u2[:,:,:,::1], u2[:,:,:,::1], i8, i8)")
def join(low: Any, beside: Any, out: Any, start: Any, stop: Any) -> None:
    """Rows start..stop - 1 of all images of `out`: each pixel of `low` four times, then the channels of `beside`."""
    height, own, other = out.shape[1], low.shape[3], beside.shape[3]
    for row in range(start, stop):
        image, y = row // height, row % height
        for x in range(out.shape[2]):
            source, into = low[image, y // 2, x // 2], out[image, y, x]
            for c in range(own):
                into[c] = source[c]
            if other:
                further = beside[image, y, x]
                for c in range(other):
                    into[own + c] = further[c]


@kernel("void(u2[:,:,:,::1], u2[:,:,:,::1], u2[:,:,:,::1], i8, i8)")
def part(gradient: Any, low: Any, beside: Any, start: Any, stop: Any) -> None:
    """The gradients of both for rows start..stop - 1 of all images of `low`: sums of four, and copies."""
    height, own, other = low.shape[1], low.shape[3], beside.shape[3]
    for row in range(start, stop):
        image, y = row // height, row % height
        upper, lower = gradient[image, 2 * y], gradient[image, 2 * y + 1]
        for x in range(low.shape[2]):
            a, b, c, d = upper[2 * x], upper[2 * x + 1], lower[2 * x], lower[2 * x + 1]
            into = low[image, y, x]
            for k in range(own):
                into[k] = narrow((widen(a[k]) + widen(b[k])) + (widen(c[k]) + widen(d[k])))
        if other:
            for line in range(2 * y, 2 * y + 2):
                for x in range(gradient.shape[2]):
                    source, copy = gradient[image, line, x], beside[image, line, x]
                    for k in range(other):
                        copy[k] = source[np.int64(own + k)]
