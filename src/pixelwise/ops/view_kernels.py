"""Views of an image and its labels: flip, zoom, turn, light and colour in one pass over the pixels that come out.

Both kernels write rows start..stop - 1 of `out` [h, w, C], bilinear, and `truth` [h, w], from the nearest pixel;
`color` [3, C] holds a factor and a summand for each band, and the value outside of the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pixelwise.ops.native import kernel

_TYPES = ("u1", "u2", "f4")  # of images
_OUTSIDE = 255
_HALF, _ZERO = np.float32(0.5), np.float32(0)


@kernel(
    [
        f"void({t}[:,:,::1], u1[:,::1], i8[:,::1], f4[::1], i8[:,::1], f4[::1], f4[:,::1], f4[:,:,::1], u1[:,::1],"
        " i8, i8)"
        for t in _TYPES
    ]
)
def upright(
    image: Any, labels: Any, rows: Any, row_shares: Any, columns: Any, column_shares: Any, color: Any, out: Any,
    truth: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Where rows stay rows: `rows` and `columns` [2, n] are the neighbours of each, -1 outside."""
    bands = np.uint64(image.shape[2])
    left, right = columns[0].max(), np.int64(0)
    for j in range(columns.shape[1]):
        if columns[0, j] >= 0:
            left, right = min(left, columns[0, j]), max(right, columns[1, j] + 1)
    first, last = np.uint64(max(left, 0)) * bands, np.uint64(right) * bands
    line = np.empty(image.shape[1] * image.shape[2], np.float32)
    for i in range(start, stop):
        into, classes = out[i].reshape(-1), truth[i]
        upper_row, lower_row, down = rows[0, i], rows[1, i], row_shares[i]
        if upper_row >= 0:
            upper, lower = image[upper_row].reshape(-1), image[lower_row].reshape(-1)
            for p in range(first, last):
                above = np.float32(upper[p])
                line[p] = above + (np.float32(lower[p]) - above) * down
            nearest = labels[lower_row if down > _HALF else upper_row]
        else:
            nearest = labels[0]
        for j in range(columns.shape[1]):
            at = np.uint64(j) * bands
            if upper_row < 0 or columns[0, j] < 0:
                classes[j] = _OUTSIDE
                for k in range(bands):
                    into[at + k] = color[2, k]
                continue
            here, there, across = np.uint64(columns[0, j]), np.uint64(columns[1, j]), column_shares[j]
            classes[j] = nearest[there if across > _HALF else here]
            for k in range(bands):
                value = line[here * bands + k]
                value += (line[there * bands + k] - value) * across
                into[at + k] = value * color[0, k] + color[1, k]


@kernel(
    [f"void({t}[:,:,::1], u1[:,::1], f4[::1], f4[:,::1], f4[:,:,::1], u1[:,::1], i8, i8)" for t in _TYPES]
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
