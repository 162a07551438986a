"""Colours of classes as text and as numbers."""

from __future__ import annotations

import re
from collections.abc import Collection

from pixelwise.ops.colors import distinct_colors


def default_colors(count: int, taken: Collection[str] = ()) -> list[str]:
    """`count` distinct colours `#rrggbb`, none of them in `taken`; the same call gives the same colours.

    >>> default_colors(1) != default_colors(1, taken=default_colors(1))
    True
    """
    return [color for color in distinct_colors(count + len(taken)) if color not in taken][:count]


def is_color(value: object) -> bool:
    """Whether `value` is a colour as `#rrggbb`."""
    return isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value) is not None


def packed(color: str) -> int:
    """The colour `#rrggbb` as one number.

    >>> packed("#000102")
    258
    """
    return int(color[1:], 16)


def unpacked(value: int) -> str:
    """The inverse of `packed`."""
    return f"#{value:06x}"
