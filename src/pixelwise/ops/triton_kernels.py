"""Triton's kernels of `head`, for accelerators; see head_triton, which calls them.

No annotations: Triton looks them up when it compiles, and knows none but its own.

Everywhere: `low` are logits [N, K, h, w] by the strides of their four axes; `rows` [2, H] and `columns` [2, W] say
between which low-resolution rows and columns an output pixel lies, `row_shares` and `column_shares` how far towards
the second. Sums are added in a fixed order, so a run repeats to the last bit.
"""

from __future__ import annotations

import triton
import triton.language as tl

IGNORED = tl.constexpr(255)


@triton.jit
def _corners(
    low, step_y, step_x, rows, row_shares, columns, column_shares,
    y, x, height, width, inside,
):  # fmt: skip
    """Where the four low-resolution neighbours of output pixels are, and the weight of each."""
    top = tl.load(rows + y, mask=inside, other=0) * step_y
    bottom = tl.load(rows + height + y, mask=inside, other=0) * step_y
    left = tl.load(columns + x, mask=inside, other=0) * step_x
    right = tl.load(columns + width + x, mask=inside, other=0) * step_x
    down = tl.load(row_shares + y, mask=inside, other=0.0)
    across = tl.load(column_shares + x, mask=inside, other=0.0)
    return low + top + left, low + top + right, low + bottom + left, low + bottom + right, down, across


@triton.jit
def _between(a, b, c, d, down, across, offset, inside):
    """The logits of output pixels, from what the four addresses hold at `offset`."""
    upper = (1.0 - across) * tl.load(a + offset, mask=inside, other=0.0).to(tl.float32)
    upper += across * tl.load(b + offset, mask=inside, other=0.0).to(tl.float32)
    lower = (1.0 - across) * tl.load(c + offset, mask=inside, other=0.0).to(tl.float32)
    lower += across * tl.load(d + offset, mask=inside, other=0.0).to(tl.float32)
    return (1.0 - down) * upper + down * lower


@triton.jit
def labels(
    low, step_n, step_k, step_y, step_x, rows, row_shares, columns,
    column_shares, sharpness, out, confidence, classes, height, width,
    CONFIDENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The largest class of every pixel, and if CONFIDENT its probability, logits times the sharpness of that class."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < height * width
    a, b, c, d, down, across = _corners(
        low + image * step_n, step_y, step_x, rows, row_shares, columns, column_shares,
        pixel // width, pixel % width, height, width, inside,
    )  # fmt: skip
    best = _between(a, b, c, d, down, across, 0, inside)
    label = tl.zeros([BLOCK], tl.int32)
    for k in range(1, classes):
        z = _between(a, b, c, d, down, across, k * step_k, inside)
        label = tl.where(z > best, k, label)
        best = tl.where(z > best, z, best)
    place = image * height * width + pixel
    tl.store(out + place, label.to(tl.uint8), mask=inside)
    if CONFIDENT:
        sharp = tl.load(sharpness + label, mask=inside, other=1.0)
        total = tl.zeros([BLOCK], tl.float32)
        for k in range(classes):
            total += tl.exp((_between(a, b, c, d, down, across, k * step_k, inside) - best) * sharp)
        tl.store(confidence + place, 1.0 / total, mask=inside)


@triton.jit
def sums(
    low, step_n, step_k, step_y, step_x, rows, row_shares, columns,
    column_shares, truth, weights, smoothing, lse, parts, classes, height,
    width, OVERLAPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Log-sum-exp of every pixel, and what each block of pixels adds to the sums: parts [N, blocks, 2 + 3 K].

    Cross-entropy and weight, then of each class its probabilities, those of its true pixels, and these pixels.
    """
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < height * width
    place = image * height * width + pixel
    label = tl.load(truth + place, mask=inside, other=IGNORED).to(tl.int32)
    weight = tl.load(weights + label)
    a, b, c, d, down, across = _corners(
        low + image * step_n, step_y, step_x, rows, row_shares, columns, column_shares,
        pixel // width, pixel % width, height, width, inside,
    )  # fmt: skip
    largest = _between(a, b, c, d, down, across, 0, inside)
    total = tl.zeros([BLOCK], tl.float32) + 1.0
    own = tl.where(label == 0, largest, 0.0)
    mean = largest / classes
    for k in range(1, classes):
        z = _between(a, b, c, d, down, across, k * step_k, inside)
        larger = tl.maximum(largest, z)
        total = total * tl.exp(largest - larger) + tl.exp(z - larger)
        largest = larger
        own = tl.where(label == k, z, own)
        mean += z / classes
    line = largest + tl.log(total)
    tl.store(lse + place, line, mask=inside)
    into = parts + (image * tl.num_programs(0) + tl.program_id(0)) * (2 + 3 * classes)
    entropy = weight * (line - (1.0 - smoothing) * own - smoothing * mean)
    tl.store(into, tl.sum(tl.where(inside, entropy, 0.0)))
    tl.store(into + 1, tl.sum(weight))
    if OVERLAPS:
        for k in range(classes):
            z = _between(a, b, c, d, down, across, k * step_k, inside)
            p = tl.where(inside & (label != IGNORED), tl.exp(z - line), 0.0)
            tl.store(into + 2 + k, tl.sum(p))
            tl.store(into + 2 + classes + k, tl.sum(tl.where(label == k, p, 0.0)))
            tl.store(into + 2 + 2 * classes + k, tl.sum((label == k).to(tl.float32)))


@triton.jit
def means(
    low, step_n, step_k, step_y, step_x, rows, row_shares, columns,
    column_shares, truth, lse, slopes, out, classes, height, width,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Of every pixel the mean slope [2, K] of its probabilities, weighed by them; the second is the true class's."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < height * width
    place = image * height * width + pixel
    label = tl.load(truth + place, mask=inside, other=IGNORED).to(tl.int32)
    line = tl.load(lse + place, mask=inside, other=0.0)
    a, b, c, d, down, across = _corners(
        low + image * step_n, step_y, step_x, rows, row_shares, columns, column_shares,
        pixel // width, pixel % width, height, width, inside,
    )  # fmt: skip
    mean = tl.zeros([BLOCK], tl.float32)
    for k in range(classes):
        p = tl.exp(_between(a, b, c, d, down, across, k * step_k, inside) - line)
        slope = tl.load(slopes + k) + tl.where(label == k, tl.load(slopes + classes + k), 0.0)
        mean += p * slope
    tl.store(out + place, mean, mask=inside)


@triton.jit
def gradient(
    low, step_n, step_k, step_y, step_x, rows, row_shares, columns,
    column_shares, reach_y, reach_x, far_y, far_x, truth, weights, smoothing,
    lse, slopes, mean, out, classes, low_height, low_width, height, width,
    OVERLAPS: tl.constexpr, BLOCK: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The gradient with respect to low-resolution logits, out [N, K, h, w]: each gathers from the pixels it reaches.

    reach_y [2, h] and reach_x [2, w] are the first output row and column that a low-resolution one has a share in,
    and the last + 1; at most far_y rows and far_x columns. No two threads add to one value.
    """
    image = tl.program_id(2).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k = tl.program_id(1) * CLASSES + tl.arange(0, CLASSES)
    exists = at < low_height * low_width
    i, j = at // low_width, at % low_width
    first_y = tl.load(reach_y + i, mask=exists, other=0)
    end_y = tl.load(reach_y + low_height + i, mask=exists, other=0)
    first_x = tl.load(reach_x + j, mask=exists, other=0)
    end_x = tl.load(reach_x + low_width + j, mask=exists, other=0)
    wanted = exists[:, None] & (k < classes)[None, :]
    gathered = tl.zeros([BLOCK, CLASSES], tl.float32)
    for dy in range(far_y):
        for dx in range(far_x):
            y, x = first_y + dy, first_x + dx
            inside = exists & (y < end_y) & (x < end_x)
            a, b, c, d, down, across = _corners(
                low + image * step_n, step_y, step_x, rows, row_shares, columns, column_shares,
                y, x, height, width, inside,
            )  # fmt: skip
            above = tl.load(rows + y, mask=inside, other=-1) == i
            below = tl.load(rows + height + y, mask=inside, other=-1) == i
            left = tl.load(columns + x, mask=inside, other=-1) == j
            right = tl.load(columns + width + x, mask=inside, other=-1) == j
            share = tl.where(above, 1.0 - down, 0.0) + tl.where(below, down, 0.0)
            share *= tl.where(left, 1.0 - across, 0.0) + tl.where(right, across, 0.0)
            place = image * height * width + y * width + x
            label = tl.load(truth + place, mask=inside, other=IGNORED).to(tl.int32)
            weight = tl.load(weights + label)
            line = tl.load(lse + place, mask=inside, other=0.0)
            z = _between(
                a[:, None], b[:, None], c[:, None], d[:, None], down[:, None], across[:, None],
                (k * step_k)[None, :], inside[:, None] & wanted,
            )  # fmt: skip
            p = tl.exp(z - line[:, None])
            true = label[:, None] == k[None, :]
            target = tl.where(true, 1.0 - smoothing, 0.0) + smoothing / classes
            slope = weight[:, None] * (p - target)
            if OVERLAPS:
                each = tl.load(slopes + k, mask=k < classes, other=0.0)[None, :]
                own = tl.load(slopes + classes + k, mask=k < classes, other=0.0)[None, :]
                common = tl.load(mean + place, mask=inside, other=0.0)
                counted = (label != IGNORED)[:, None]
                slope += tl.where(counted, p * (each + tl.where(true, own, 0.0) - common[:, None]), 0.0)
            gathered += tl.where(inside[:, None] & wanted, share[:, None] * slope, 0.0)
    place = (image * classes + k[None, :]) * low_height * low_width + at[:, None]
    tl.store(out + place, gathered, mask=wanted)
