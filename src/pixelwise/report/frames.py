"""Boxes drawn into pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pixelwise.report.pictures import Rgb
from pixelwise.types import ClassSpec

TRUTH = ClassSpec("truth", "#12b76a")
PREDICTION = ClassSpec("prediction", "#f97316")


def framed(rgb: Rgb, boxes: Iterable[tuple[Sequence[float], ClassSpec]]) -> Rgb:
    """A copy of a picture [H, W, 3] with boxes drawn in the colours of their classes.

    A box is (top, left, bottom, right) in pixels, half-open; its frame lies inside it, with a dark line along it
    where there is room, so that it shows on any ground.
    """
    picture = rgb.copy()
    most = max(rgb.shape[:2]) / 120
    for box, spec in boxes:
        top, left = (max(0, int(np.floor(value + 0.5))) for value in box[:2])
        bottom, right = int(np.floor(box[2] + 0.5)), int(np.floor(box[3] + 0.5))
        room = min(bottom - top, right - left)
        width = max(1, round(min(most, room / 10)))
        if room > 4 * width:
            _frame(picture, (top, left, bottom, right), width + 1, (0, 0, 0))
        _frame(picture, (top, left, bottom, right), width, spec.rgb)
    return picture


def _frame(picture: Rgb, box: tuple[int, int, int, int], width: int, color: tuple[int, int, int]) -> None:
    top, left, bottom, right = box
    inside = picture[top:bottom, left:right]
    for side in (inside[:width], inside[-width:], inside[:, :width], inside[:, -width:]):
        side[:] = color
