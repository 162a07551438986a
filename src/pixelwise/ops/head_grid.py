"""Where the pixels of a full-size map lie between those of a small one, as the kernels of the head want it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.ops import native

Size = tuple[int, int]

BAND = 16  # low-resolution rows that a thread takes at a time
# Of a tile in which classes that cannot win are left out: output columns, and low-resolution ones at least and at most.
# In narrow tiles fewer classes are left, but loops are too short for vectors; in wide ones rows leave the cache.
LABEL_SLOTS, LABEL_COLUMNS = 256, (16, 64)


@dataclass(frozen=True, eq=False)
class Grid:
    """Where output pixels lie between low-resolution ones: the arrays that head_tiles describes."""

    low: Size
    rows: NDArray[np.int32]
    row_shares: NDArray[np.float32]
    columns: NDArray[np.int32]
    column_shares: NDArray[np.float32]
    factor: int
    places: NDArray[np.int32]
    spans: NDArray[np.int32]
    padded: int  # columns of the low-resolution planes
    bands: tuple[tuple[int, int], ...]  # output rows, first and last + 1

    @property
    def tables(self) -> tuple[Any, ...]:
        """What every kernel takes."""
        return (self.rows, self.row_shares, self.columns, self.column_shares, self.factor, self.places)


@lru_cache(maxsize=64)
def grid_of(low: Size, span: Size, size: Size, slots: int) -> Grid:
    """The grid of maps of `low` resized to `span` and cropped to `size`, in tiles of `slots` columns."""
    rows, row_shares = neighbours(low[0], span[0], size[0])
    edges = range(0, low[0], BAND)
    starts = [int(np.searchsorted(rows[0], edge)) for edge in edges] + [size[0]]
    bands = tuple((start, stop) for start, stop in pairwise(starts) if start < stop)
    factor = span[1] // low[1] if span[1] % low[1] == 0 and span[1] // low[1] <= slots else 0
    if factor:
        count = slots // factor
        tiles = -(-size[1] // (count * factor))
        at = (np.arange(factor) + 0.5) / factor - 0.5
        first = np.floor(at)
        columns, shares = np.stack([first + 1, first + 2]).astype(np.int32), (at - first).astype(np.float32)
        phases = np.arange(factor)[:, None] + factor * np.arange(count)
        places = (np.arange(tiles)[:, None, None] * count * factor + phases).reshape(tiles, -1)
        begins = np.arange(tiles) * count
        spans = np.stack([begins + columns[0, 0], begins + count - 1 + columns[1, -1]], axis=1)
    else:
        tiles = -(-size[1] // slots)
        columns, shares = neighbours(low[1], span[1], tiles * slots)
        columns = columns + 1
        places = np.arange(tiles * slots).reshape(tiles, slots)
        left = columns[0, ::slots]
        # a tile that lies wholly behind the middle of the last column is one cell wide all the same
        spans = np.stack([left, np.maximum(columns[1, slots - 1 :: slots], left + 1)], axis=1)
    return Grid(
        low=low,
        rows=rows,
        row_shares=row_shares,
        columns=columns,
        column_shares=shares,
        factor=factor,
        places=np.where(places < size[1], places, -1).astype(np.int32),
        spans=np.ascontiguousarray(spans, np.int32),
        padded=max(low[1] + 2, int(spans.max()) + 1),
        bands=bands,
    )


def neighbours(low: int, span: int, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Of each output position the two low-resolution ones beside it, and the share of the second."""
    at = np.maximum((np.arange(count) + 0.5) * (low / span) - 0.5, 0)
    first = np.minimum(at.astype(np.int32), low - 1)
    return np.stack([first, np.minimum(first + 1, low - 1)]), (at - first).astype(np.float32)


def label_slots(width: int, span: int) -> int:
    """Output columns of a tile of `labels_from_low`."""
    if span % width:
        return LABEL_SLOTS // 2
    least, most = LABEL_COLUMNS
    factor = span // width
    return factor * min(max(LABEL_SLOTS // factor, least), most)


def planes_of(low: Tensor, grid: Grid) -> NDArray[np.float32]:
    """Contiguous float32 [N, K, h, padded], edge columns repeated."""
    width = grid.low[1]
    planes = np.empty((*low.shape[:3], grid.padded), np.float32)
    if native.threads() == 1 and low.dtype == torch.float32:
        # torch would wake its threads, which then wait busily, in the way of a runtime whose turn is next
        planes[..., 1 : width + 1] = low.detach().numpy()
    else:
        torch.from_numpy(planes)[..., 1 : width + 1] = low.detach()
    planes[..., 0] = planes[..., 1]
    planes[..., width + 1 :] = planes[..., width : width + 1]
    return planes


def folded(into: NDArray[np.float32], grid: Grid) -> Tensor:
    """The gradient of `planes_of`, as a view of `into`, which changes."""
    width = grid.low[1]
    into[..., 1] += into[..., 0]
    for more in range(width + 1, grid.padded):
        into[..., width] += into[..., more]
    return torch.from_numpy(into)[..., 1 : width + 1]


def share_bands(
    grid: Grid, count: int, work: Callable[[int, int, int], None], *, apart: bool = False
) -> None:
    """Call `work` with each of `count` images and each band of rows, on several threads.

    Neighbouring bands have a low-resolution row in common: with `apart` they are never worked on at the same time.
    """
    for first, step in ((0, 2), (1, 2)) if apart else ((0, 1),):
        bands = grid.bands[first::step]

        def piece(at: int, bands: tuple[tuple[int, int], ...] = bands) -> None:
            work(at // len(bands), *bands[at % len(bands)])

        native.share(piece, count * len(bands))
