"""Does a mask follow the edges of its image? Masks of another image give themselves away.

The measure is the area under the ROC curve of the image's gradient as a detector of label borders: 0.5 for labels
that have nothing to do with the image, and clearly more for those that were drawn on it. Each mask is compared
with the images before and after it as well, since many scenes are laid out alike.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.ops.fingerprint import grey_of
from pixelwise.types import Image, Labels

_SIDE = 128  # edges are compared at this length of the longer side
_NEIGHBOURS = 8
_NARROW = 8  # pixels of the shorter side
_FEW = 40  # border pixels below which nothing can be said
_MARGIN = 0.06  # by which another image must fit better
_ALONG = 6  # pixels of a border that say the same
_LEVELS = 2**16 - 1  # that edges are told apart by when they are ranked
_FITS = 0.6  # what counts as following an image at all


@dataclass(frozen=True, eq=False)
class Outlines:
    """Ranks of the gradient of a small image (0 to 1), and where its labels have borders, both [h, w].

    `step` is how many pixels of the image one of them stands for.
    """

    ranks: NDArray[np.float32]
    borders: NDArray[np.bool_]
    step: int


@dataclass(frozen=True)
class Misfit:
    """A mask that follows another image better than its own; `other` is None where none nearby fits."""

    mask: Path
    fit: float
    other: Path | None
    other_fit: float


@dataclass
class _Fit:
    image: Path
    mask: Path
    outlines: Outlines
    own: float
    others: list[tuple[float, Path]] = field(default_factory=list)


class Alignment:
    """Takes in one pair after the other, keeps a few of them, and says which masks follow other images."""

    def __init__(self) -> None:
        self._recent: deque[_Fit] = deque()
        self._finished: list[tuple[Path, float, float, Path, float, float]] = []

    def add(self, image: Path, mask: Path, outlines: Outlines) -> None:
        """Compare a pair with the pairs before it."""
        own = _fit(outlines.ranks, outlines.borders)
        if np.isnan(own):
            return
        current = _Fit(image, mask, outlines, own)
        for other in self._recent:
            _compare(current, other)
            _compare(other, current)
        self._recent.append(current)
        if len(self._recent) > _NEIGHBOURS:
            self._finish(self._recent.popleft())

    def misfits(self) -> list[Misfit]:
        """Masks that another image explains clearly better, and those that fit far worse than the rest."""
        while self._recent:
            self._finish(self._recent.popleft())
        rows = self._finished
        if not rows:
            return []
        margins = np.array([own - mean for _, own, mean, _, _, _ in rows])
        usual = float(np.median(margins))
        spread = 1.4826 * float(np.median(np.abs(margins - usual)))
        found = []
        for (mask, own, _, other, best, noise), margin in zip(rows, margins.tolist(), strict=True):
            if best >= _FITS and best - own >= max(_MARGIN, noise):
                found.append(Misfit(mask, own, other, best))
            elif (
                len(rows) >= 20 and usual >= 0.08 and margin <= 0 and margin < usual - max(5 * spread, noise)
            ):
                found.append(Misfit(mask, own, None, 0.0))
        return found

    def _finish(self, fit: _Fit) -> None:
        if fit.others:
            best, other = max(fit.others, key=lambda pair: pair[0])
            mean = float(np.mean([value for value, _ in fit.others]))
            count = int(np.count_nonzero(fit.outlines.borders))
            # Four deviations of the difference of two fits; pixels along a border are not independent.
            noise = 4 * float(np.sqrt(2 * _ALONG / (12 * count)))
            self._finished.append((fit.mask, fit.own, mean, other, best, noise))


def outlines(image: Image, labels: Labels) -> Outlines | None:
    """The edges of an image [H, W, C] and of its labels [H, W], at a small size; None for a narrow strip."""
    step = max(1, -(-max(labels.shape) // _SIDE))
    fine = max(1, step // 2)  # two samples per pixel and axis are enough of a mean
    each = step // fine
    height, width = labels.shape[0] // step, labels.shape[1] // step
    if min(height, width) < _NARROW:
        return None
    small = image[: height * step, : width * step][::fine, ::fine][: height * each * 2, : width * each * 2]
    grey = grey_of(small)
    grey = grey[: grey.shape[0] // each * each, : grey.shape[1] // each * each]
    grey = grey.reshape(grey.shape[0] // each, each, -1, each).mean(axis=(1, 3))[:height, :width]
    classes = labels[step // 2 :: step, step // 2 :: step][:height, :width]
    down, right = np.abs(np.diff(grey, axis=0)), np.abs(np.diff(grey, axis=1))
    gradient = down[:, :-1] + right[:-1]
    borders = (classes[:-1, :-1] != classes[:-1, 1:]) | (classes[:-1, :-1] != classes[1:, :-1])
    return Outlines(_ranks(gradient), borders, step)


def _ranks(values: NDArray[Any]) -> NDArray[np.float32]:
    scale = _LEVELS / max(float(values.max(initial=0.0)), 1e-9)
    levels = (values * scale).astype(np.uint16)  # of 16 bits NumPy sorts them by radix, six times as fast
    order = np.argsort(levels, axis=None, kind="stable")
    ranks = np.empty(values.size, np.float32)
    ranks[order] = np.arange(values.size, dtype=np.float32) / max(1, values.size)
    return ranks.reshape(values.shape)


def _compare(mine: _Fit, other: _Fit) -> None:
    """How well the mask of `mine` follows the image of `other`, over the part that both have."""
    height = min(mine.outlines.borders.shape[0], other.outlines.ranks.shape[0])
    width = min(mine.outlines.borders.shape[1], other.outlines.ranks.shape[1])
    fit = _fit(other.outlines.ranks[:height, :width], mine.outlines.borders[:height, :width])
    if not np.isnan(fit):
        mine.others.append((fit, other.image))


def _fit(ranks: NDArray[np.float32], borders: NDArray[np.bool_]) -> float:
    """Mann-Whitney: how often a pixel on a border has a larger gradient than one that is not; NaN if too few."""
    on = int(np.count_nonzero(borders))
    off = borders.size - on
    if on < _FEW or off < _FEW:
        return float("nan")
    inside = float(np.dot(ranks.reshape(-1), borders.reshape(-1).astype(np.float32)))
    return inside / on - (float(ranks.sum()) - inside) / off + 0.5
