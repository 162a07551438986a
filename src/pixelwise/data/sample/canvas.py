"""Painting a town by numbers: every pixel holds the number of a material, and beside it its class."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pixelwise.data.sample.materials import BACKGROUND, Material
from pixelwise.types import Labels

Rows = NDArray[np.float32]
Shape = NDArray[np.float64]


class Canvas:
    """A window onto the town: materials, labels and shadows, drawn back to front.

    Coordinates are those of the town; `left` and `top` is the window's corner.
    """

    def __init__(self, left: int, top: int, width: int, height: int, ground: Material) -> None:
        self.left, self.top, self.width, self.height = left, top, width, height
        self._rows = [ground.row()]
        self._numbers = Image.new("I", (width, height), 0)
        self._labels = Image.new("L", (width, height), BACKGROUND)
        self._shadow = Image.new("L", (width, height), 0)
        self._draw_numbers = ImageDraw.Draw(self._numbers)
        self._draw_labels = ImageDraw.Draw(self._labels)
        self._draw_shadow = ImageDraw.Draw(self._shadow)

    def sees(self, shape: Shape, reach: float = 0.0) -> bool:
        """Could `shape` [N, 2], widened by `reach` pixels, touch the window."""
        (x0, y0), (x1, y1) = shape.min(axis=0) - reach, shape.max(axis=0) + reach
        return bool(
            x1 >= self.left
            and y1 >= self.top
            and x0 <= self.left + self.width
            and y0 <= self.top + self.height
        )

    def polygon(self, corners: Shape, material: Material, label: int | None = None) -> None:
        """Fill a polygon [N, 2]; without `label` the pixels keep the class of what lies beneath."""
        points = self._local(corners)
        self._draw_numbers.polygon(points, fill=self._number(material))
        if label is not None:
            self._draw_labels.polygon(points, fill=label)

    def line(self, shape: Shape, width: int, material: Material, label: int | None = None) -> None:
        """Draw a polyline [N, 2], `width` pixels wide with round joints and ends."""
        self._stroke(self._draw_numbers, shape, width, self._number(material))
        if label is not None:
            self._stroke(self._draw_labels, shape, width, label)

    def segments(self, shapes: Iterable[Shape], width: int, material: Material) -> None:
        """Draw many thin lines of one material, such as lane marks; they leave the labels alone."""
        number = self._number(material)
        for shape in shapes:
            self._draw_numbers.line(self._local(shape), fill=number, width=width)

    def cast_shadow(self, corners: Shape, offset: Shape) -> None:
        """Darken what a convex block with footprint `corners` [N, 2] keeps from the sun."""
        moved = corners + offset
        self._draw_shadow.polygon(self._local(moved), fill=255)
        following, moved_following = np.roll(corners, -1, axis=0), np.roll(moved, -1, axis=0)
        for quad in np.stack([corners, following, moved_following, moved], axis=1):
            self._draw_shadow.polygon(self._local(quad), fill=255)

    def cast_round_shadow(self, x: float, y: float, radius: float, offset: Shape) -> None:
        """Darken what a ball of `radius` at (x, y) keeps from the sun."""
        x, y = x - self.left, y - self.top
        ex, ey = x + offset[0], y + offset[1]
        self._draw_shadow.line([(x, y), (ex, ey)], fill=255, width=round(2 * radius))
        self._draw_shadow.ellipse([ex - radius, ey - radius, ex + radius, ey + radius], fill=255)

    def clear_shadow(self, corners: Shape) -> None:
        """Lift a polygon [N, 2], such as a roof, out of the shadows on the ground."""
        self._draw_shadow.polygon(self._local(corners), fill=0)

    def materials(self) -> tuple[NDArray[np.int32], Rows]:
        """The number of the material of each pixel [H, W] and the table [M, 11] it points into."""
        return np.asarray(self._numbers, dtype=np.int32), np.array(self._rows, dtype=np.float32)

    def labels(self) -> Labels:
        """The class of each pixel [H, W]."""
        return np.array(self._labels, dtype=np.uint8)

    def shadow(self) -> NDArray[np.float32]:
        """1 where the sun does not reach, 0 elsewhere, [H, W]."""
        return np.asarray(self._shadow, dtype=np.float32) / np.float32(255)

    def _number(self, material: Material) -> int:
        self._rows.append(material.row())
        return len(self._rows) - 1

    def _local(self, shape: Shape) -> list[tuple[float, float]]:
        return [(x - self.left, y - self.top) for x, y in shape.tolist()]

    def _stroke(self, draw: ImageDraw.ImageDraw, shape: Shape, width: int, fill: int) -> None:
        # Discs at the joints: those that Pillow draws leave hairline gaps in wide lines.
        points, radius = self._local(shape), (width - 1) / 2
        draw.line(points, fill=fill, width=width)
        for x, y in points:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)
