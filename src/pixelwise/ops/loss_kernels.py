"""The sums that a loss is made of, and their gradient, from low-resolution logits; see head_tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pixelwise.ops.head_tiles import IGNORED, ONE, TILE, ZERO, exp, log_sum_exp, mix, stretch
from pixelwise.ops.native import kernel


@njit(fastmath={"contract"})
def _shrink(
    rows: Any, columns: Any, shares: Any, factor: Any, tile: Any, slots: Any, into: Any, row: Any
) -> None:  # fmt: skip
    """The gradient of `stretch`: added to one row of `into`, and `rows` is zero again."""
    if factor:
        count = slots // factor
        for k in range(rows.shape[0]):
            for phase in range(factor):
                share = shares[phase]
                left = into[k, row, columns[0, phase] + tile * count :]
                source = rows[k, phase * count :]
                for x in range(count):
                    left[x] += (ONE - share) * source[x]
                for x in range(count):
                    left[x + 1] += share * source[x]
    else:
        for k in range(rows.shape[0]):
            line = into[k, row]
            for x in range(slots):
                at = tile * slots + x
                line[np.uint32(columns[0, at])] += (ONE - shares[at]) * rows[k, x]
                line[np.uint32(columns[1, at])] += shares[at] * rows[k, x]
    for k in range(rows.shape[0]):
        for x in range(TILE):
            rows[k, x] = ZERO


@njit
def _copy(source: Any, into: Any) -> None:
    """Every class of a tile; a loop compiles much faster than an assignment of slices."""
    for k in range(source.shape[0]):
        for x in range(TILE):
            into[k, x] = source[k, x]


@njit
def labels_of(
    labels: Any, y: Any, places: Any, tile: Any, slots: Any, weights: Any, seen: Any, weight: Any
) -> None:
    """Labels of a tile's pixels and the weights of their classes; unused slots are ignored pixels."""
    for x in range(slots):
        place = places[tile, x]
        label = labels[y, np.uint32(place)] if place >= 0 else np.uint8(IGNORED)
        seen[x] = label
        weight[x] = weights[label]
    for x in range(slots, TILE):
        seen[x] = IGNORED
        weight[x] = ZERO


@njit
def tile_sums(
    z: Any, seen: Any, weight: Any, slots: Any, smoothing: Any, overlaps: Any, largest: Any, total: Any, target: Any,
    line: Any, entropy: Any, weighed: Any, predicted: Any, out: Any,
) -> None:  # fmt: skip
    """What the logits z [K, TILE] of some pixels add to the sums; `line` is their log-sum-exp, and z is used up."""
    classes = z.shape[0]
    whole, each = ONE - smoothing, smoothing / np.float32(classes)
    for x in range(TILE):
        target[x] = ZERO
    if each != ZERO:
        for k in range(classes):
            for x in range(TILE):
                target[x] += each * z[k, x]
    for x in range(slots):
        if seen[x] != IGNORED:
            target[x] += whole * z[seen[x], x]
    log_sum_exp(z, largest, total, line)
    for x in range(TILE):
        entropy[x] += weight[x] * (line[x] - target[x])
        weighed[x] += weight[x]
    if overlaps:
        for x in range(TILE):
            total[x] = ONE / total[x] if seen[x] != IGNORED else ZERO
        for k in range(classes):
            for x in range(TILE):
                predicted[k, x] += z[k, x] * total[x]
        label, hits, pixels = np.uint8(IGNORED), 0.0, 0
        for x in range(slots):
            if seen[x] != label:
                if label != IGNORED:
                    out[1, label] += hits
                    out[2, label] += pixels
                label, hits, pixels = seen[x], 0.0, 0
            if label != IGNORED:
                hits += z[label, x] * total[x]
                pixels += 1
        if label != IGNORED:
            out[1, label] += hits
            out[2, label] += pixels


@njit
def softmax(z: Any, line: Any) -> None:
    """Make logits z [K, TILE] probabilities; `line` is their log-sum-exp."""
    for k in range(z.shape[0]):
        for x in range(TILE):
            z[k, x] = exp(z[k, x] - line[x])


@njit(fastmath={"contract"})
def _add_entropy_gradient(
    z: Any, total: Any, seen: Any, weight: Any, smoothing: Any, share: Any, up: Any, down: Any
) -> None:
    """From exponentials z of logits and their sums (used up): the gradient of the weighted cross-entropies.

    It is added to the two low-resolution rows, of which the second has this share.
    """
    classes = z.shape[0]
    whole, each = ONE - smoothing, smoothing / np.float32(classes)
    for x in range(TILE):
        total[x] = weight[x] / total[x]
    for k in range(classes):
        row, upper, lower = z[k], up[k], down[k]
        for x in range(TILE):
            target = each + whole if seen[x] == k else each
            slope = row[x] * total[x] - target * weight[x]
            upper[x] += (ONE - share) * slope
            lower[x] += share * slope


@njit
def tile_gradient(
    z: Any, seen: Any, weight: Any, slots: Any, smoothing: Any, overlaps: Any, upstream: Any, common: Any,
    counted: Any, own: Any,
) -> None:  # fmt: skip
    """Make the probabilities z [K, TILE] of some pixels the gradient of the sums with respect to their logits."""
    classes = z.shape[0]
    whole, each = ONE - smoothing, smoothing / np.float32(classes)
    for x in range(TILE):
        common[x] = weight[x]
        own[x] = -weight[x] * whole
    if overlaps:  # the softmax's own gradient: less what the probabilities weigh on average
        for x in range(TILE):
            counted[x] = ONE if seen[x] != IGNORED else ZERO
        for k in range(classes):
            slope = upstream[0, k]
            for x in range(TILE):
                common[x] -= counted[x] * slope * z[k, x]
        for x in range(slots):
            if seen[x] != IGNORED:
                share = upstream[1, seen[x]] * z[seen[x], x]
                common[x] -= share
                own[x] += share
        for k in range(classes):
            slope = upstream[0, k]
            for x in range(TILE):
                z[k, x] = z[k, x] * (common[x] + counted[x] * slope) - weight[x] * each
    else:
        for k in range(classes):
            for x in range(TILE):
                z[k, x] = z[k, x] * common[x] - weight[x] * each
    for x in range(slots):
        if seen[x] != IGNORED:
            z[seen[x], x] += own[x]


@kernel(
    "void(f4[:,:,::1], u1[:,::1], i4[:,::1], f4[::1], i4[:,::1], f4[::1], i8, i4[:,::1], f4[::1], f4, b1,"
    " f4[:,:,::1], f8[:,::1], i8, i8)"
)
def sums(
    low: Any, labels: Any, rows: Any, row_shares: Any, columns: Any, column_shares: Any, factor: Any, places: Any,
    weights: Any, smoothing: Any, overlaps: Any, lse: Any, out: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Log-sum-exp [H, tiles, TILE] of the output rows start..stop - 1, and in `out` [4, K] their sums.

    Per class: the probabilities, those of true pixels, the pixels; only if `overlaps`. The last row: cross-entropy
    and weight. `weights` has 256 entries, 0 for labels that count nowhere.
    """
    classes, slots = low.shape[0], places.shape[1]
    above = np.empty((classes, TILE), np.float32)
    below = np.empty((classes, TILE), np.float32)
    z = np.empty((classes, TILE), np.float32)
    predicted = np.empty((classes, TILE), np.float32)
    largest = np.empty(TILE, np.float32)
    total = np.empty(TILE, np.float32)
    target = np.empty(TILE, np.float32)
    entropy = np.empty(TILE, np.float32)
    weighed = np.empty(TILE, np.float32)
    weight = np.empty(TILE, np.float32)
    seen = np.empty(TILE, np.uint8)
    for k in range(classes):
        for x in range(TILE):
            above[k, x] = below[k, x] = ZERO
    for tile in range(places.shape[0]):
        for k in range(classes):
            for x in range(TILE):
                predicted[k, x] = ZERO
        for x in range(TILE):
            entropy[x] = weighed[x] = ZERO
        upper, lower = np.int64(-1), np.int64(-1)
        for y in range(start, stop):
            if rows[0, y] != upper:
                upper = np.int64(rows[0, y])
                if upper == lower:
                    _copy(below, above)
                else:
                    stretch(low, upper, columns, column_shares, factor, tile, slots, above)
                lower = np.int64(rows[1, y])
                stretch(low, lower, columns, column_shares, factor, tile, slots, below)
            mix(above, below, row_shares[y], z)
            labels_of(labels, y, places, tile, slots, weights, seen, weight)
            tile_sums(
                z, seen, weight, slots, smoothing, overlaps, largest, total, target, lse[y, tile], entropy, weighed,
                predicted, out,
            )  # fmt: skip
        for x in range(TILE):
            out[3, 0] += entropy[x]
            out[3, 1] += weighed[x]
        if overlaps:
            for k in range(classes):
                for x in range(TILE):
                    out[0, k] += predicted[k, x]


@kernel(
    "void(f4[:,:,::1], u1[:,::1], i4[:,::1], f4[::1], i4[:,::1], f4[::1], i8, i4[:,::1], f4[::1], f4, b1,"
    " f4[:,:,::1], f4[:,::1], f4[:,:,::1], b1, f8[:,::1], i8, i8)"
)
def gradient(
    low: Any, labels: Any, rows: Any, row_shares: Any, columns: Any, column_shares: Any, factor: Any, places: Any,
    weights: Any, smoothing: Any, overlaps: Any, lse: Any, upstream: Any, into: Any, fused: Any, out: Any,
    start: Any, stop: Any,
) -> None:  # fmt: skip
    """Add to `into`, shaped as `low`, the gradient of `sums` over output rows start..stop - 1.

    `upstream` [2, K]: the gradients with respect to the first two rows of its `out`; that with respect to the
    cross-entropy is in the `weights` already. If `fused`, `sums` was not called: `lse` is not read, `overlaps` has
    to be false, and `out` gets what `sums` would have put there. Each exponential is then computed once.
    """
    classes, slots = low.shape[0], places.shape[1]
    above = np.empty((classes, TILE), np.float32)
    below = np.empty((classes, TILE), np.float32)
    z = np.empty((classes, TILE), np.float32)
    up = np.empty((classes, TILE), np.float32)
    down = np.empty((classes, TILE), np.float32)
    unused = np.empty((0, TILE), np.float32)
    common = np.empty(TILE, np.float32)
    counted = np.empty(TILE, np.float32)
    own = np.empty(TILE, np.float32)
    largest = np.empty(TILE, np.float32)
    total = np.empty(TILE, np.float32)
    target = np.empty(TILE, np.float32)
    line = np.empty(TILE, np.float32)
    entropy = np.empty(TILE, np.float32)
    weighed = np.empty(TILE, np.float32)
    weight = np.empty(TILE, np.float32)
    seen = np.empty(TILE, np.uint8)
    for k in range(classes):
        for x in range(TILE):
            above[k, x] = below[k, x] = up[k, x] = down[k, x] = ZERO
    for tile in range(places.shape[0]):
        for x in range(TILE):
            entropy[x] = weighed[x] = ZERO
        upper, lower = np.int64(-1), np.int64(-1)
        for y in range(start, stop):
            if rows[0, y] != upper:
                if upper >= 0:
                    _shrink(up, columns, column_shares, factor, tile, slots, into, upper)
                upper = np.int64(rows[0, y])
                if upper == lower:
                    _copy(below, above)
                    _copy(down, up)
                    for k in range(classes):
                        for x in range(TILE):
                            down[k, x] = ZERO
                else:
                    if lower >= 0:
                        _shrink(down, columns, column_shares, factor, tile, slots, into, lower)
                    stretch(low, upper, columns, column_shares, factor, tile, slots, above)
                lower = np.int64(rows[1, y])
                stretch(low, lower, columns, column_shares, factor, tile, slots, below)
            share = row_shares[y]
            mix(above, below, share, z)
            labels_of(labels, y, places, tile, slots, weights, seen, weight)
            if fused:
                tile_sums(
                    z, seen, weight, slots, smoothing, False, largest, total, target, line, entropy, weighed,
                    unused, out,
                )  # fmt: skip
                _add_entropy_gradient(z, total, seen, weight, smoothing, share, up, down)
            else:
                softmax(z, lse[y, tile])
                tile_gradient(z, seen, weight, slots, smoothing, overlaps, upstream, common, counted, own)
                for k in range(classes):
                    for x in range(TILE):
                        up[k, x] += (ONE - share) * z[k, x]
                        down[k, x] += share * z[k, x]
        if upper >= 0:
            _shrink(up, columns, column_shares, factor, tile, slots, into, upper)
            _shrink(down, columns, column_shares, factor, tile, slots, into, lower)
        for x in range(TILE):
            out[3, 0] += entropy[x]
            out[3, 1] += weighed[x]
