"""The distinct values of a mask with where and how often each occurs, found over runs of equal pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Runs:
    """A mask as runs of equal values along its rows: `values[which[i]]` fills `lengths[i]` pixels."""

    shape: tuple[int, int]
    values: NDArray[Any]  # distinct, ascending
    which: NDArray[np.intp]
    lengths: NDArray[np.intp]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Pixels of each distinct value."""
        return np.bincount(self.which, weights=self.lengths, minlength=len(self.values)).astype(np.int64)

    def first(self, index: int) -> tuple[int, int]:
        """Row and column of the first pixel with the distinct value number `index`."""
        run = int(np.argmax(self.which == index))
        row, column = divmod(int(self.lengths[:run].sum()), self.shape[1])
        return row, column

    def fill(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The mask with each distinct value replaced by its entry in `labels`."""
        return np.repeat(labels[self.which], self.lengths).reshape(self.shape)


def runs_of(mask: NDArray[Any]) -> Runs:
    """Cut an integer mask [H, W] into runs; masks have few edges, so this beats sorting the pixels."""
    flat = mask.reshape(-1)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    values, which = np.unique(flat[starts], return_inverse=True)
    lengths = np.diff(starts, append=flat.size)
    return Runs((mask.shape[0], mask.shape[1]), values, which, lengths)


def pack_colors(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Colours [H, W, 3] as one number 0xrrggbb per pixel [H, W]."""
    red, green, blue = (colors[:, :, band].astype(np.uint32) for band in range(3))
    return red << np.uint32(16) | green << np.uint32(8) | blue
