"""Boxes: fractions of an image that networks answer in, corners in pixels that users see, and their overlap."""

from __future__ import annotations

from collections.abc import Sequence

Fractions = tuple[float, float, float, float]  # centre row, centre column, height, width; 0..1 of the image
Corners = tuple[float, float, float, float]  # top, left, bottom, right; half-open, pixel (0, 0) covers 0..1


def to_fractions(box: Sequence[float], size: tuple[int, int]) -> Fractions:
    """Corners in pixels of an image of `size` (height, width) as fractions of it.

    >>> to_fractions((2, 0, 4, 10), (4, 20))
    (0.75, 0.25, 0.5, 0.5)
    """
    top, left, bottom, right = box
    height, width = size
    return (
        (top + bottom) / 2 / height,
        (left + right) / 2 / width,
        (bottom - top) / height,
        (right - left) / width,
    )


def to_corners(box: Sequence[float], size: tuple[int, int]) -> Corners:
    """Fractions of an image as corners in its pixels, cut off at its borders.

    >>> to_corners((0.75, 0.25, 0.5, 0.75), (4, 20))
    (2.0, 0.0, 4.0, 12.5)
    """
    row, column, tall, wide = box
    height, width = size
    return (
        _inside(row - tall / 2) * height,
        _inside(column - wide / 2) * width,
        _inside(row + tall / 2) * height,
        _inside(column + wide / 2) * width,
    )


def box_iou(first: Sequence[float], second: Sequence[float]) -> float:
    """Area in both boxes divided by the area in either, 0..1; both as corners. 0 where both are empty.

    >>> box_iou((0, 0, 2, 2), (0, 1, 2, 3))
    0.3333333333333333
    """
    tall = min(first[2], second[2]) - max(first[0], second[0])
    wide = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, tall) * max(0.0, wide)
    either = _area(first) + _area(second) - shared
    return shared / either if either > 0 else 0.0


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _inside(value: float) -> float:
    return min(1.0, max(0.0, value))
