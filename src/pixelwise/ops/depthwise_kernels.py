"""Depthwise 3 x 3 convolution and its gradients on bfloat16 maps [N, H, W, C], stride 1, padded to the same size."""

from __future__ import annotations

from typing import Any

import numpy as np

from pixelwise.ops.bfloat import narrow, widen
from pixelwise.ops.native import kernel

ZERO = np.float32(0)


@kernel("void(u2[:,:,:,::1], f4[:,::1], i8, u2[:,:,:,::1], i8, i8)")
def convolve(x: Any, taps: Any, rate: Any, out: Any, start: Any, stop: Any) -> None:
    """Rows start..stop - 1 of all images of `out`; `taps` [9, C] row by row."""
    _, height, width, channels = x.shape
    total = np.empty(channels, np.float32)
    for row in range(start, stop):
        image, y = row // height, row % height
        for column in range(width):
            for c in range(channels):
                total[c] = ZERO
            for tap in range(9):
                line, at = y + (tap // 3 - 1) * rate, column + (tap % 3 - 1) * rate
                if 0 <= line < height and 0 <= at < width:
                    source, weight = x[image, line, at], taps[tap]
                    for c in range(channels):
                        total[c] += weight[c] * widen(source[c])
            into = out[image, y, column]
            for c in range(channels):
                into[c] = narrow(total[c])


@kernel("void(u2[:,:,:,::1], u2[:,:,:,::1], i8, f8[:,::1], i8, i8)")
def correlate(x: Any, gradient: Any, rate: Any, out: Any, start: Any, stop: Any) -> None:
    """Add to `out` [9, C] the gradient of the taps that rows start..stop - 1 of `gradient` bring."""
    _, height, width, channels = x.shape
    total = np.zeros((9, channels), np.float32)
    for row in range(start, stop):
        image, y = row // height, row % height
        for column in range(width):
            above = gradient[image, y, column]
            for tap in range(9):
                line, at = y + (tap // 3 - 1) * rate, column + (tap % 3 - 1) * rate
                if 0 <= line < height and 0 <= at < width:
                    source, into = x[image, line, at], total[tap]
                    for c in range(channels):
                        into[c] += widen(above[c]) * widen(source[c])
        for tap in range(9):
            for c in range(channels):
                out[tap, c] += total[tap, c]
                total[tap, c] = ZERO
