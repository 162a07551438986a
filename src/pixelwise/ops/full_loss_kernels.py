"""The sums that a loss is made of, and their gradient, from bfloat16 logits that have full size already."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pixelwise.ops.bfloat import narrow, widen
from pixelwise.ops.head_tiles import IGNORED, TILE, ZERO
from pixelwise.ops.loss_kernels import softmax, tile_gradient, tile_sums
from pixelwise.ops.native import kernel


@njit
def _read(
    logits: Any, row: Any, labels: Any, weights: Any, start: Any, z: Any, seen: Any, weight: Any
) -> Any:
    """Up to TILE pixels of a row, class by class, with their labels and weights; how many they are."""
    classes, width = z.shape[0], len(labels)
    count = min(TILE, width - start)
    line = logits[row]
    for x in range(count):
        at = (start + x) * classes
        for k in range(classes):
            z[k, x] = widen(line[at + k])
        label = labels[start + x]
        seen[x] = label
        weight[x] = weights[label]
    for x in range(count, TILE):
        for k in range(classes):
            z[k, x] = ZERO
        seen[x] = IGNORED
        weight[x] = ZERO
    return count


@kernel("void(u2[:,::1], i8, u1[:,::1], f4[::1], f4, b1, f4[:,::1], f8[:,::1], i8, i8)")
def sums(
    logits: Any, classes: Any, labels: Any, weights: Any, smoothing: Any, overlaps: Any, lse: Any, out: Any,
    start: Any, stop: Any,
) -> None:  # fmt: skip
    """As `loss_kernels.sums`, from rows [H, W K] of logits, for rows start..stop - 1; `lse` [H, tiles TILE]."""
    z, predicted = np.empty((classes, TILE), np.float32), np.zeros((classes, TILE), np.float32)
    largest, total = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    target, weight = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    entropy, weighed = np.zeros(TILE, np.float32), np.zeros(TILE, np.float32)
    seen = np.empty(TILE, np.uint8)
    for row in range(start, stop):
        for begin in range(0, labels.shape[1], TILE):
            count = _read(logits, row, labels[row], weights, begin, z, seen, weight)
            tile_sums(
                z, seen, weight, count, smoothing, overlaps, largest, total, target, lse[row, begin : begin + TILE],
                entropy, weighed, predicted, out,
            )  # fmt: skip
    for x in range(TILE):
        out[3, 0] += entropy[x]
        out[3, 1] += weighed[x]
    if overlaps:
        for k in range(classes):
            for x in range(TILE):
                out[0, k] += predicted[k, x]


@kernel("void(u2[:,::1], i8, u1[:,::1], f4[::1], f4, b1, f4[:,::1], f4[:,::1], u2[:,::1], i8, i8)")
def gradient(
    logits: Any, classes: Any, labels: Any, weights: Any, smoothing: Any, overlaps: Any, lse: Any, upstream: Any,
    into: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """As `loss_kernels.gradient`, written to rows start..stop - 1 of `into`; 0 beyond the labels."""
    z = np.empty((classes, TILE), np.float32)
    common, counted, own = np.empty(TILE, np.float32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    weight, seen = np.empty(TILE, np.float32), np.empty(TILE, np.uint8)
    for row in range(start, stop):
        out = into[row]
        begin = 0
        if row < len(labels):
            for begin in range(0, labels.shape[1], TILE):
                count = _read(logits, row, labels[row], weights, begin, z, seen, weight)
                softmax(z, lse[row, begin : begin + TILE])
                tile_gradient(z, seen, weight, count, smoothing, overlaps, upstream, common, counted, own)
                for x in range(count):
                    at = (begin + x) * classes
                    for k in range(classes):
                        out[at + k] = narrow(z[k, x])
            begin = labels.shape[1] * classes
        for at in range(begin, len(out)):
            out[at] = 0
