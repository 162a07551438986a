"""Triton's kernel of random views: what `view_kernels` does on processors, for a whole batch at once.

No annotations: Triton looks them up when it compiles, and knows none but its own.
"""

from __future__ import annotations

import triton
import triton.language as tl

OUTSIDE = tl.constexpr(255)


@triton.jit
def views(
    values, labels, facts, out, truth, height, width, length, BANDS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Pixels of views: out float32 [N, height, width, BANDS] and truth uint8 [N, height, width].

    `values` and `labels` hold images one after the other, pixel by pixel. `facts` float64 [N, length] says of each
    view: 0 where pixel (0, 0) of its image would lie, 1 pixels from one row there to the next, 2 and 3 height and width
    of the image; 4 to 9 a, b, c, d, y, x: pixel (i, j) lies at row a i + b j + y, column c i + d j + x; then of each
    band a factor, of each band a summand, of each band the value outside. Positions are float64: those of a view
    without zoom or turn are exact.
    """
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < height * width
    fact = facts + image * length
    first = tl.load(fact).to(tl.int64)
    step = tl.load(fact + 1).to(tl.int64)
    last_row = tl.load(fact + 2) - 1.0
    last_column = tl.load(fact + 3) - 1.0
    i = (pixel // width).to(tl.float64)
    j = (pixel % width).to(tl.float64)
    y = tl.load(fact + 4) * i + tl.load(fact + 5) * j + tl.load(fact + 8)
    x = tl.load(fact + 6) * i + tl.load(fact + 7) * j + tl.load(fact + 9)
    there = inside & (y >= -0.5) & (y <= last_row + 0.5) & (x >= -0.5) & (x <= last_column + 0.5)
    y = tl.minimum(tl.maximum(y, 0.0), last_row)
    x = tl.minimum(tl.maximum(x, 0.0), last_column)
    top = y.to(tl.int64)
    left = x.to(tl.int64)
    low = tl.minimum(top + 1, last_row.to(tl.int64))
    far = tl.minimum(left + 1, last_column.to(tl.int64))
    down = (y - top.to(tl.float64)).to(tl.float32)
    across = (x - left.to(tl.float64)).to(tl.float32)
    nearest = first + tl.where(down > 0.5, low, top) * step + tl.where(across > 0.5, far, left)
    label = tl.load(labels + nearest, mask=there, other=OUTSIDE)
    place = image * height * width + pixel
    tl.store(truth + place, label, mask=inside)
    a = (first + top * step + left) * BANDS
    b = (first + top * step + far) * BANDS
    c = (first + low * step + left) * BANDS
    d = (first + low * step + far) * BANDS
    for band in range(BANDS):
        upper = tl.load(values + a + band, mask=there, other=0).to(tl.float32)
        upper += (tl.load(values + b + band, mask=there, other=0).to(tl.float32) - upper) * across
        lower = tl.load(values + c + band, mask=there, other=0).to(tl.float32)
        lower += (tl.load(values + d + band, mask=there, other=0).to(tl.float32) - lower) * across
        factor = tl.load(fact + 10 + band).to(tl.float32)
        summand = tl.load(fact + 10 + BANDS + band).to(tl.float32)
        outside = tl.load(fact + 10 + 2 * BANDS + band).to(tl.float32)
        value = (upper + (lower - upper) * down) * factor + summand
        tl.store(out + place * BANDS + band, tl.where(there, value, outside), mask=inside)
