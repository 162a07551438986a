"""Does a mask fit its image at another place? A mask that was moved, or cut at another corner, gives itself away.

The borders of the labels are laid on the edges of the image at every shift, by one correlation in Fourier space, after
the mean edge strength around each pixel is taken off (else a rough region draws all borders into it). Right
masks have one sharp peak at no shift, moved ones elsewhere. In sets whose labels do not follow edges, such as
land use, the peak means nothing; so nothing is said unless nearly all masks of the set peak where they should.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.fft import irfft2, next_fast_len, rfft2

from pixelwise.data.alignment import Outlines
from pixelwise.errors import MaskError

_AROUND = 9  # pixels of the mean that is taken off
_FEW = 40  # border pixels below which nothing can be said
_SLACK = 2  # small pixels that are no shift
_CLEAR = 6.0  # deviations over all shifts: what a peak must have
_ABOVE = 3.0  # deviations by which it must exceed the value at no shift
_PAIRS = 20  # with a peak, below which nothing is known of a set
_RIGHT = 0.9  # of them that must have it where it belongs


@dataclass(frozen=True)
class Peak:
    """Where a mask fits its image best: rows and columns it would have to move by, in pixels of the image.

    `height` is the fit there and `here` the best near no shift, both in standard deviations over all shifts.
    """

    rows: int
    columns: int
    height: float
    here: float

    @property
    def elsewhere(self) -> bool:
        """Clearly better at another place."""
        return self.height >= _CLEAR and self.height - self.here >= _ABOVE

    @property
    def right(self) -> bool:
        """Clearly best where it is."""
        return self.here >= _CLEAR and self.here == self.height


def find_peak(outlines: Outlines) -> Peak | None:
    """The shift at which labels follow edges best; None where there are too few borders."""
    borders = outlines.borders.astype(np.float32)
    on = float(borders.sum())
    if min(on, borders.size - on) < _FEW:
        return None
    edges = outlines.ranks - ndimage.uniform_filter(outlines.ranks, _AROUND, mode="nearest")
    size = tuple(
        next_fast_len(side, real=True) for side in borders.shape
    )  # a side of 127 takes twice as long as 128
    fits = irfft2(rfft2(edges - edges.mean(), size) * np.conj(rfft2(borders, size)), size)
    deviation = float(fits.std())
    if deviation == 0:
        return None
    row, column = np.unravel_index(int(fits.argmax()), fits.shape)
    near = np.arange(-_SLACK, _SLACK + 1)
    here = float(fits[np.ix_(near, near)].max()) / deviation
    rows, columns = _signed(int(row), fits.shape[0]), _signed(int(column), fits.shape[1])
    return Peak(rows * outlines.step, columns * outlines.step, float(fits[row, column]) / deviation, here)


def find_displaced(peaks: Sequence[tuple[Path, Peak]]) -> list[tuple[Path, Peak]]:
    """The masks of a set that fit elsewhere; none where its masks do not follow edges as a rule."""
    right = sum(peak.right for _, peak in peaks)
    if len(peaks) < _PAIRS or right < _RIGHT * len(peaks):
        return []
    return [(mask, peak) for mask, peak in peaks if peak.elsewhere]


def moved_error(mask: Path, peak: Peak) -> MaskError:
    """What is said of a mask that fits elsewhere."""
    moves = [
        f"{abs(by)} pixels {word[by > 0]}"
        for by, word in ((peak.rows, ("up", "down")), (peak.columns, ("to the left", "to the right")))
        if by
    ]
    return MaskError(
        f"the mask follows its image only where it is moved by about {' and '.join(moves)}",
        file=mask,
        code="mask-moved",
        value=f"{peak.rows} {peak.columns}",
        remedy="look at both; move the mask back, label the image again, or take the pair out",
    )


def _signed(index: int, count: int) -> int:
    return index - count if index > count // 2 else index
