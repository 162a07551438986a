"""Views of an image and its labels: flip, zoom, turn, light and colour in one pass over the pixels that come out.

Both kernels write rows start..stop - 1 of `out` [h, w, C], bilinear, and `truth` [h, w], from the nearest pixel;
`color` [3, C] holds a factor and a summand for each band, and the value outside of the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pixelwise.ops.native import kernel

# readonly: arrays that can be written to are taken as well
_IMAGES = [f"Array({dtype}, 3, 'C', readonly=True)" for dtype in ("u1", "u2", "f4")]
_LABELS = "Array(u1, 2, 'C', readonly=True)"
_OUTSIDE = 255
_HALF, _ZERO = np.float32(0.5), np.float32(0)
_USUAL = 3  # bands


@njit
def _beside(step: Any, center: Any, count: Any, limit: Any) -> Any:
    """The two pixels beside each of `count` positions along an axis, -1 outside, and the share of the second."""
    pixels, shares = np.full((2, count), -1, np.int64), np.empty(count, np.float32)
    for position in range(count):
        at = step * (position - (count - 1) / 2) + (center - 0.5)
        outside = at < -0.5 or at > limit - 0.5
        at = min(max(at, 0.0), limit - 1.0)
        first = np.int64(at)
        shares[position] = np.float32(at - first)
        if not outside:
            pixels[0, position], pixels[1, position] = first, min(first + 1, limit - 1)
    return pixels, shares


@njit
def _across(
    line: Any, nearest: Any, columns: Any, shares: Any, color: Any, into: Any, classes: Any, bands: Any
) -> None:
    """One row of a view from `line`, the values of all bands in the row of the image, and from its labels."""
    step = np.uint64(bands)
    for j in range(columns.shape[1]):
        at = np.uint64(j) * step
        if columns[0, j] < 0:
            classes[j] = _OUTSIDE
            for k in range(bands):
                into[at + np.uint64(k)] = color[2, k]
            continue
        here, there, share = np.uint64(columns[0, j]), np.uint64(columns[1, j]), shares[j]
        classes[j] = nearest[there if share > _HALF else here]
        for k in range(bands):
            value = line[here * step + np.uint64(k)]
            value += (line[there * step + np.uint64(k)] - value) * share
            into[at + np.uint64(k)] = value * color[0, k] + color[1, k]


@kernel(
    [f"void({image}, {_LABELS}, f8[::1], f4[:,::1], f4[:,:,::1], u1[:,::1], i8, i8)" for image in _IMAGES]
)
def upright(
    image: Any, labels: Any, place: Any, color: Any, out: Any, truth: Any, start: Any, stop: Any
) -> None:
    """Where rows stay rows: `place` is step and centre along the rows, then along the columns."""
    bands = image.shape[2]
    rows, row_shares = _beside(place[0], place[1], truth.shape[0], image.shape[0])
    columns, column_shares = _beside(place[2], place[3], truth.shape[1], image.shape[1])
    left, right = columns[0].max(), np.int64(0)
    for j in range(columns.shape[1]):
        if columns[0, j] >= 0:
            left, right = min(left, columns[0, j]), max(right, columns[1, j] + 1)
    first, last = np.uint64(max(left, 0) * bands), np.uint64(right * bands)
    line = np.empty(image.shape[1] * image.shape[2], np.float32)
    for i in range(start, stop):
        upper_row, lower_row, down = rows[0, i], rows[1, i], row_shares[i]
        if upper_row < 0:
            truth[i] = _OUTSIDE
            for j in range(out.shape[1]):
                out[i, j] = color[2]
            continue
        upper, lower = image[upper_row].reshape(-1), image[lower_row].reshape(-1)
        for p in range(first, last):
            above = np.float32(upper[p])
            line[p] = above + (np.float32(lower[p]) - above) * down
        nearest = labels[lower_row if down > _HALF else upper_row]
        into, classes = out[i].reshape(-1), truth[i]
        if bands == _USUAL:  # a number that the compiler knows takes two thirds of the time
            _across(line, nearest, columns, column_shares, color, into, classes, _USUAL)
        else:
            _across(line, nearest, columns, column_shares, color, into, classes, bands)


@kernel(
    [f"void({image}, {_LABELS}, f4[::1], f4[:,::1], f4[:,:,::1], u1[:,::1], i8, i8)" for image in _IMAGES]
)
def turned(
    image: Any, labels: Any, place: Any, color: Any, out: Any, truth: Any, start: Any, stop: Any
) -> None:
    """Any affine map: `place` is (a, b, c, d, y, x), pixel (i, j) lies at row a i + b j + y, column c i + d j + x."""
    height, width, bands = image.shape
    last_row, last_column = np.float32(height - 1), np.float32(width - 1)
    one = np.uint64(1)
    for i in range(start, stop):
        row = place[0] * np.float32(i) + place[4]
        column = place[2] * np.float32(i) + place[5]
        for j in range(out.shape[1]):
            y, x = row + place[1] * np.float32(j), column + place[3] * np.float32(j)
            if y < -_HALF or y > last_row + _HALF or x < -_HALF or x > last_column + _HALF:
                truth[i, j] = _OUTSIDE
                for k in range(bands):
                    out[i, j, k] = color[2, k]
                continue
            y, x = min(max(y, _ZERO), last_row), min(max(x, _ZERO), last_column)
            top, left = np.uint64(y), np.uint64(x)
            low, far = min(top + one, np.uint64(height - 1)), min(left + one, np.uint64(width - 1))
            down, across = y - np.float32(top), x - np.float32(left)
            truth[i, j] = labels[low if down > _HALF else top, far if across > _HALF else left]
            for k in range(bands):
                upper, lower = np.float32(image[top, left, k]), np.float32(image[low, left, k])
                upper += (np.float32(image[top, far, k]) - upper) * across
                lower += (np.float32(image[low, far, k]) - lower) * across
                out[i, j, k] = (upper + (lower - upper) * down) * color[0, k] + color[1, k]
