"""Triton's kernel that counts pairs of labels.

No annotations: Triton looks them up when it compiles, and knows none but its own.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _place(truth, prediction, classes, ignore):
    """Where a pair is counted: rows are classes, `ignore`, other values; columns are classes, other values."""
    row = tl.where(truth < classes, truth, classes + 1)
    row = tl.where(truth == ignore, classes, row)
    return row * (classes + 1) + tl.minimum(prediction, classes)


@triton.jit
def count(
    truth, prediction, tables, words, classes, ignore, copies, size, ROUNDS: tl.constexpr, WORDS: tl.constexpr
):
    """Add to tables int64 [copies, classes + 2, classes + 1], of `size` values each, how often pairs of labels occur.

    `truth` and `prediction` are words of four labels, int32, the first one in the lowest byte. A run of n equal pairs
    that ends before pixel e is counted as e - (e - n): where a pair is followed by another, the number of pixels up to
    there is added for the one and taken away from the other. So nothing happens inside of runs, of which label maps
    mostly consist. The copies are there so that not all programs add to the same places; their sum is the answer.
    """
    table = tables + (tl.program_id(0) % copies) * size
    for turn in range(ROUNDS):
        word = (tl.program_id(0).to(tl.int64) * ROUNDS + turn) * WORDS + tl.arange(0, WORDS)
        inside = word < words
        last = word == words - 1
        true = tl.load(truth + word, mask=inside, other=0).to(tl.uint32, bitcast=True)
        said = tl.load(prediction + word, mask=inside, other=0).to(tl.uint32, bitcast=True)
        true_after = tl.load(truth + word + 1, mask=inside & ~last, other=0).to(tl.uint32, bitcast=True)
        said_after = tl.load(prediction + word + 1, mask=inside & ~last, other=0).to(tl.uint32, bitcast=True)
        changes = (true ^ ((true >> 8) | (true_after << 24))) | (said ^ ((said >> 8) | (said_after << 24)))
        changes = tl.where(inside, changes | (last.to(tl.uint32) << 24), 0)
        if tl.max((changes != 0).to(tl.int32), axis=0) > 0:
            here = _place((true & 255).to(tl.int32), (said & 255).to(tl.int32), classes, ignore)
            for byte in tl.static_range(4):
                if byte < 3:
                    true, said = true >> 8, said >> 8
                else:
                    true, said = true_after, said_after
                after = _place((true & 255).to(tl.int32), (said & 255).to(tl.int32), classes, ignore)
                ends = ((changes >> (8 * byte)) & 255) != 0
                until = word * 4 + (byte + 1)
                tl.atomic_add(table + here, until, mask=ends, sem="relaxed")
                goes_on = ends & ~last if byte == 3 else ends
                tl.atomic_add(table + after, -until, mask=goes_on, sem="relaxed")
                here = after
