"""Colours for classes that came without, and palettes for index images."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from pixelwise.types import IGNORE, ClassSpec

# Twelve colours that stay apart for most colour-blind readers and on light and dark pages.
_FIRST = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#edc948"]
_FIRST += ["#76b7b2", "#9c755f", "#ff9da7", "#2f4b7c", "#8cd17d", "#86bcb6"]
IGNORE_COLOR = "#000000"


def distinct_colors(count: int) -> list[str]:
    """`count` different colours as `#rrggbb`, always the same ones.

    >>> distinct_colors(2)
    ['#4e79a7', '#f28e2b']
    >>> len(set(distinct_colors(255)))
    255
    """
    colors = list(_FIRST[:count])
    step = 0
    while len(colors) < count:
        hue = step * 0.61803398875 % 1  # the golden ratio spreads hues evenly however many there are
        red, green, blue = colorsys.hls_to_rgb(hue, 0.35 + 0.12 * (step % 4), 0.55 + 0.2 * (step % 2))
        color = f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
        step += 1
        if color not in colors:
            colors.append(color)
    return colors


def palette(classes: Sequence[ClassSpec]) -> list[int]:
    """768 values for an index image: the colour of each class, black for ignore, grey where no class is.

    >>> palette([ClassSpec("a", "#ff0000")])[:6]
    [255, 0, 0, 128, 128, 128]
    """
    values = [128] * 768
    for index, spec in enumerate(classes):
        values[3 * index : 3 * index + 3] = spec.rgb
    values[3 * IGNORE :] = [0, 0, 0]
    return values
