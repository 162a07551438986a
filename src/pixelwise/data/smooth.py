"""Masks whose values were mixed at borders, as smooth resizing and lossy compression do it.

Between the values 1 and 4 mixing leaves a thin rim of 2 or 3, which are classes as well. Real objects that are thin,
a pole or a strip of grass, lie between few pairs of classes; mixing makes rims between all of them. Classes that are
steps of one quantity, as heights and severities are, have rims everywhere as well, but of every width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import MaskError

_ROWS = 64  # that are looked at, evenly spaced
_THIN = 3  # pixels across the widest rim
_THICK = 6  # what is wider is no rim
_OFTEN = 0.35  # of the runs of a value
_FEW = 8  # borders between two values from which on they count
_SHARE = 0.45  # of the borders of all pairs of values; published sets stay below 0.37
_NEARLY_ALL = 0.97  # of the borders, as steps of one quantity have it
_AREA = 9  # pixels across the narrowest area that is no rim whatever its width
_CLEAR = 0.4  # of what lies between such areas; steps of random fields stay below 0.35
_SHARE_OF_ONE = 0.9  # the same of one pair alone: pavement lies between most roads and houses


@dataclass(frozen=True)
class Smooth:
    """The share of borders between values that are not neighbours which have a rim; column and row of the first."""

    share: float
    first: tuple[int, int]


def find_smooth(values: NDArray[Any]) -> Smooth | None:
    """Rims of values in between along the borders of an index mask [H, W], if mixing has made them."""
    step = -(-values.shape[0] // _ROWS)
    rows = values[step // 2 :: step]
    width = rows.shape[1]
    begins = np.ones(rows.shape, bool)
    np.not_equal(rows[:, 1:], rows[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    found, run = np.unique(rows.reshape(-1)[starts], return_inverse=True)
    if len(found) < 3:
        return None
    lengths = np.diff(starts, append=rows.size)
    linked = starts[1:] % width != 0  # a run and the next one lie in one row
    up = run[1:] > run[:-1]
    rim = np.zeros(len(run), bool)
    rim[1:-1] = linked[:-1] & linked[1:] & (up[:-1] == up[1:]) & (lengths[1:-1] <= _THIN)
    inner = np.unique(run[rim])
    # Where all rims are of one value that is seldom wide, it is a class of outlines.
    if len(inner) == 0 or (len(inner) == 1 and (lengths[run == inner[0]] > _THICK).mean() < _OFTEN):
        return None
    first = np.flatnonzero(rim & ~np.roll(rim, 1))
    last = np.flatnonzero(rim & ~np.roll(rim, -1))
    apart = np.abs(np.diff(found[run].astype(np.int64))) > 1
    direct = np.flatnonzero(linked & apart & ~rim[1:] & ~rim[:-1])
    one, other = np.append(run[first - 1], run[direct]), np.append(run[last + 1], run[direct + 1])
    pair = np.minimum(one, other) * len(found) + np.maximum(one, other)
    _, which = np.unique(pair, return_inverse=True)
    borders, rims = np.bincount(which), np.bincount(which[: len(first)], minlength=which.max() + 1)
    known = borders >= _FEW
    share = len(first) / len(pair)
    if not known.any() or min(share, (rims[known] / borders[known]).mean()) < (
        _SHARE if known.sum() > 1 else _SHARE_OF_ONE
    ):
        return None
    if share > _NEARLY_ALL and _thin_alone(found[run].astype(np.int64), lengths, starts // width) < _CLEAR:
        return None
    row, column = divmod(int(starts[first[0]]), width)
    return Smooth(share, (column, row * step + step // 2))


def _thin_alone(values: NDArray[np.int64], lengths: NDArray[np.intp], rows: NDArray[np.intp]) -> float:
    """Of what lies between areas whose values are not neighbours, the share that is a rim and nothing else."""
    areas = np.flatnonzero(lengths > _AREA)
    one, other = areas[:-1], areas[1:]
    apart = (np.abs(values[one] - values[other]) > 1) & (rows[one] == rows[other]) & (other - one > 1)
    one, other = one[apart], other[apart]
    ups = np.append(0, np.cumsum(values[1:] > values[:-1]))
    wide = np.append(0, np.cumsum(lengths > _THIN))
    up = ups[other] - ups[one]
    thin = ((up == 0) | (up == other - one)) & (wide[other] == wide[one + 1])
    return float(thin.mean()) if len(thin) else 0.0


def smooth_error(masks: Sequence[tuple[Path, Smooth]]) -> MaskError:
    """The finding for all such masks; the one with the largest share stands for the others."""
    file, worst = max(masks, key=lambda found: found[1].share)
    column, row = worst.first
    others = f", as do {len(masks) - 1} other masks" if len(masks) > 1 else ""
    return MaskError(
        f"looks resized smoothly, or stored as JPEG before{others}: {worst.share:.0%} of the borders between values "
        f"that are not neighbours have a thin rim of values in between, first at row {row}, column {column}",
        file=file,
        code="mask-smooth",
        value=round(worst.share, 3),
        count=len(masks),
        position=worst.first,
        remedy="use the original masks: PNG, resized by nearest alone; the rims are of wrong classes, unless they are "
        "real objects that thin",
    )
