"""Holes of a few unlabelled pixels inside a class, as resampling and gaps between polygons leave them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelwise.errors import MaskError

MOST = 8
"""Pixels of the largest hole that is taken for an accident."""


@dataclass(frozen=True, eq=False)
class Specks:
    """Holes: how many, their pixels in the order of rows, and the one value around the hole of each pixel."""

    count: int
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    around: NDArray[np.int64]


def find_specks(values: NDArray[Any], unlabelled: Collection[int], *, most: int = MOST) -> Specks | None:
    """Holes of up to `most` pixels of the `unlabelled` values in a mask [H, W], each inside one other value.

    Pixels hang together by their sides. What touches the border of the mask is no hole.
    """
    empty = np.isin(values, list(unlabelled))
    if not empty.any():
        return None
    parts, count = ndimage.label(empty)
    small = np.bincount(parts.reshape(-1), minlength=count + 1) <= most
    small[0] = False
    rows, columns = np.nonzero(small[parts])
    inner = (rows > 0) & (columns > 0) & (rows < values.shape[0] - 1) & (columns < values.shape[1] - 1)
    part = parts[rows, columns]
    low = np.full(count + 1, np.iinfo(np.int64).max)
    high = np.full(count + 1, np.iinfo(np.int64).min)
    at_border = np.unique(part[~inner])
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        y, x = rows[inner] + down, columns[inner] + right
        outside = ~empty[y, x]
        np.minimum.at(low, part[inner][outside], values[y, x][outside].astype(np.int64))
        np.maximum.at(high, part[inner][outside], values[y, x][outside].astype(np.int64))
    inside = low == high
    inside[at_border] = False
    chosen = inside[part]
    if not chosen.any():
        return None
    part = part[chosen]
    return Specks(len(np.unique(part)), rows[chosen], columns[chosen], low[part])


def holes_error(masks: Sequence[tuple[Path, Specks]]) -> MaskError:
    """The finding for all masks with holes; the file with most of them stands for the others."""
    file, worst = max(masks, key=lambda found: len(found[1].rows))
    row, column = int(worst.rows[0]), int(worst.columns[0])
    return MaskError(
        f"{sum(specks.count for _, specks in masks):,} holes of up to {MOST} unlabelled pixels inside one class, in "
        f"{len(masks)} masks; most in this one: {len(worst.rows)} pixels, first at row {row}, column {column}",
        file=file,
        code="mask-specks",
        count=sum(len(specks.rows) for _, specks in masks),
        position=(column, row),
        remedy="harmless where they count nowhere; `pixelwise check DATA --recipe FILE` writes a step fill_specks that "
        "closes them",
    )
