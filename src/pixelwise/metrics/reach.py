"""How far around a contour the boundary scores look."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pixelwise.errors import OptionError

SHARE = 0.02
"""Width of the band as a share of the image's diagonal, as the authors of boundary IoU have it."""

TOLERANCE_SHARE = 0.0075
"""Distance at which contour pixels match as a share of the diagonal, as Csurka et al. 2013 have it."""


def default_width(height: int, width: int) -> int:
    """2 % of the diagonal of an image in whole pixels, at least 1.

    >>> default_width(360, 480), default_width(10, 10)
    (12, 1)
    """
    return max(1, round(SHARE * math.hypot(height, width)))


@dataclass(frozen=True)
class BoundaryOptions:
    """How contours are compared.

    Attributes:
        width: Of the band in pixels; None: 2 % of each image's diagonal.
        tolerance: Distance in pixels at which contour pixels match; None: the width if that is given, else 0.75 % of
            each image's diagonal.
        most: The default width is never larger, in pixels; for maps, whose diagonal says nothing about their borders.
        frame: Whether the frame of the image is a contour, as the authors of boundary IoU have it.
        pixel_size: Metres of a pixel's side; None: distances in pixels.
    """

    width: int | None = None
    tolerance: float | None = None
    most: int | None = None
    frame: bool = True
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        if self.width is not None and self.width < 1:
            raise OptionError(f"a boundary of {self.width} pixels", remedy="give a width of at least 1 pixel")
        if self.tolerance is not None and not 0 <= self.tolerance < math.inf:
            raise OptionError(f"the tolerance is {self.tolerance}", remedy="give at least 0 pixels")
        if self.pixel_size is not None and not 0 < self.pixel_size < math.inf:
            raise OptionError(f"the pixel size is {self.pixel_size}", remedy="give metres, more than 0")

    def reach(self, height: int, width: int) -> tuple[int, float]:
        """Width and tolerance for an image, in pixels."""
        most = math.inf if self.most is None else self.most
        if self.width is not None:
            return self.width, float(self.width if self.tolerance is None else self.tolerance)
        pixels = int(min(default_width(height, width), most))
        if self.tolerance is not None:
            return pixels, float(self.tolerance)
        return pixels, min(TOLERANCE_SHARE * math.hypot(height, width), TOLERANCE_SHARE / SHARE * most)

    @property
    def rule(self) -> str:
        """Where width and tolerance come from, in words."""
        if self.width is not None:
            return (
                "width and tolerance as given"
                if self.tolerance is not None
                else "width as given, tolerance the same"
            )
        most = "" if self.most is None else f" and at most {self.most} pixels"
        width = f"width {SHARE:.0%} of each image's diagonal, at least 1 pixel{most}"
        if self.tolerance is not None:
            return f"{width}; tolerance as given"
        return f"{width}; tolerance {TOLERANCE_SHARE:.2%} of it" + (" likewise" if most else "")

    @property
    def unit(self) -> str:
        """Of distances: `px` or `m`."""
        return "px" if self.pixel_size is None else "m"
