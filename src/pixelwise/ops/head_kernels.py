"""The largest class of every pixel from low-resolution logits, and its probability; see head_tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pixelwise.ops.head_tiles import ONE, TILE, ZERO, exp_sums, mix, stretch, stretch_one
from pixelwise.ops.native import kernel

_USUAL = 4  # stride of logits, for which the compiler is told how columns of its phases interleave


@njit(inline="always")  # as a function of its own it halves the speed of everything around it
def _woven(winner: Any, slots: Any, line: Any) -> None:
    """Write the columns of four phases, one phase after the other in `winner`, side by side."""
    count, step = np.uint32(slots // _USUAL), np.uint32(_USUAL)
    second, third, fourth = winner[count:], winner[2 * count :], winner[3 * count :]
    for x in range(count):
        at = step * np.uint32(x)
        line[at] = winner[x]
        line[at + np.uint32(1)] = second[x]
        line[at + np.uint32(2)] = third[x]
        line[at + np.uint32(3)] = fourth[x]


@njit
def _candidates(low: Any, upper: Any, lower: Any, first: Any, last: Any, bound: Any, chosen: Any) -> int:
    """The classes that may be largest between two rows and the columns first..last; returns how many.

    Inside a cell every class lies between its values at the four corners. One that is nowhere above what some other
    class has at least cannot win.
    """
    cells = last - first
    for x in range(cells):
        bound[x] = -np.inf
    for k in range(low.shape[0]):
        a, b = low[k, upper, first:], low[k, lower, first:]
        for x in range(cells):
            least = min(min(a[x], a[x + 1]), min(b[x], b[x + 1]))
            bound[x] = max(bound[x], least)
    count = 0
    for k in range(low.shape[0]):
        a, b = low[k, upper, first:], low[k, lower, first:]
        wins = np.int32(0)
        for x in range(cells):
            most = max(max(a[x], a[x + 1]), max(b[x], b[x + 1]))
            wins |= np.int32(most >= bound[x])
        if wins:
            chosen[count] = k
            count += 1
    return count


@kernel(
    "void(f4[:,:,::1], i4[:,::1], f4[::1], i4[:,::1], f4[::1], i8, i4[:,::1], i4[:,::1], u1[:,::1], i8, i8)",
    fastmath={"nnan", "nsz"},
)
def labels(
    low: Any, rows: Any, row_shares: Any, columns: Any, column_shares: Any, factor: Any, places: Any, spans: Any,
    out: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """The largest class of the pixels of output rows start..stop - 1; `spans` [tiles, 2] first and last column."""
    classes, slots = low.shape[0], places.shape[1]
    above = np.empty((classes, slots), np.float32)
    below = np.empty((classes, slots), np.float32)
    bound = np.empty(low.shape[2], np.float32)
    best = np.empty(slots, np.float32)
    winner = np.empty(slots, np.int32)
    chosen = np.empty(classes, np.int32)
    for tile in range(places.shape[0]):
        upper, count = np.int64(-1), 0
        whole = places[tile, slots - 1] >= 0
        for y in range(start, stop):
            if rows[0, y] != upper:
                upper, lower = np.int64(rows[0, y]), np.int64(rows[1, y])
                count = _candidates(low, upper, lower, spans[tile, 0], spans[tile, 1], bound, chosen)
                for x in range(slots):
                    winner[x] = chosen[0] if count else 0
                for c in range(count if count > 1 else 0):
                    k = chosen[c]
                    stretch_one(low[k, upper], columns, column_shares, factor, tile, slots, above[c])
                    stretch_one(low[k, lower], columns, column_shares, factor, tile, slots, below[c])
            if count > 1:
                share = row_shares[y]
                for x in range(slots):
                    best[x] = -np.inf
                for c in range(count):
                    k, a, b = chosen[c], above[c], below[c]
                    for x in range(slots):
                        z = a[x] + share * (b[x] - a[x])
                        winner[x] = k if z > best[x] else winner[x]
                        best[x] = max(best[x], z)
            if whole and factor == _USUAL:
                _woven(winner, slots, out[y, np.uint32(places[tile, 0]) :])
            else:
                for x in range(slots):
                    if places[tile, x] >= 0:
                        out[y, np.uint32(places[tile, x])] = winner[x]


@kernel(
    "void(f4[:,:,::1], i4[:,::1], f4[::1], i4[:,::1], f4[::1], i8, i4[:,::1], f4[::1], u1[:,::1], f4[:,::1], i8, i8)"
)
def confident_labels(
    low: Any, rows: Any, row_shares: Any, columns: Any, column_shares: Any, factor: Any, places: Any,
    sharpness: Any, out: Any, confidence: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """The largest class of the pixels of output rows start..stop - 1 and its probability.

    Logits are multiplied by the `sharpness` [K] of the largest class before the softmax.
    """
    classes, slots = low.shape[0], places.shape[1]
    above = np.empty((classes, TILE), np.float32)
    below = np.empty((classes, TILE), np.float32)
    z = np.empty((classes, TILE), np.float32)
    largest = np.empty(TILE, np.float32)
    total = np.empty(TILE, np.float32)
    sharp = np.empty(TILE, np.float32)
    winner = np.empty(TILE, np.int32)
    for k in range(classes):
        for x in range(TILE):
            above[k, x] = below[k, x] = ZERO
    for tile in range(places.shape[0]):
        upper = np.int64(-1)
        for y in range(start, stop):
            if rows[0, y] != upper:
                upper, lower = np.int64(rows[0, y]), np.int64(rows[1, y])
                stretch(low, upper, columns, column_shares, factor, tile, slots, above)
                stretch(low, lower, columns, column_shares, factor, tile, slots, below)
            mix(above, below, row_shares[y], z)
            for x in range(TILE):
                largest[x] = z[0, x]
                winner[x] = 0
            for k in range(1, classes):
                row = z[k]
                for x in range(TILE):
                    winner[x] = k if row[x] > largest[x] else winner[x]
                    largest[x] = row[x] if row[x] > largest[x] else largest[x]
            for x in range(TILE):
                sharp[x] = sharpness[np.uint32(winner[x])]
            exp_sums(z, largest, sharp, total)
            for x in range(slots):
                if places[tile, x] >= 0:
                    out[y, np.uint32(places[tile, x])] = winner[x]
                    confidence[y, np.uint32(places[tile, x])] = ONE / total[x]


@kernel("void(f4[:,:,::1], u1[:,::1], i8, i8)")
def largest_plane(planes: Any, out: Any, start: Any, stop: Any) -> None:
    """The first largest class of rows start..stop - 1, from planes [K, h, w] that need no enlarging."""
    width = out.shape[1]
    best = np.empty(width, np.float32)
    winner = np.empty(width, np.uint8)
    for y in range(start, stop):
        for x in range(width):
            best[x] = planes[0, y, x]
            winner[x] = 0
        for k in range(1, planes.shape[0]):
            row = planes[k, y]
            for x in range(width):
                winner[x] = k if row[x] > best[x] else winner[x]
                best[x] = row[x] if row[x] > best[x] else best[x]
        for x in range(width):
            out[y, x] = winner[x]
