"""What surfaces look like. All classes draw from one stock of colours, at other odds, and share one grain.

A grey roof, a worn road, gravel and glinting water may be the very same colour with the very same grain.
What tells the classes apart is wider: outlines, shading, cast shadows, patterns of ten pixels and more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

BACKGROUND, BUILDING, ROAD, TREE, WATER, SOIL = range(6)

TONES = {
    "char": (0.25, 0.25, 0.26),
    "slate": (0.37, 0.38, 0.40),
    "ash": (0.52, 0.52, 0.51),
    "pale": (0.70, 0.68, 0.64),
    "brick": (0.60, 0.31, 0.23),
    "brown": (0.46, 0.36, 0.27),
    "ochre": (0.60, 0.48, 0.33),
    "sand": (0.67, 0.60, 0.47),
    "moss": (0.30, 0.38, 0.22),
    "olive": (0.48, 0.50, 0.30),
    "grass": (0.42, 0.53, 0.29),
    "straw": (0.61, 0.56, 0.38),
    "steel": (0.28, 0.37, 0.46),
    "teal": (0.23, 0.36, 0.36),
}
_TONE_VALUES = np.array(list(TONES.values()))

# How often each tone serves for each kind of surface, in the order of TONES.
#             char slat ash  pale bric brow ochr sand moss oliv gras stra stee teal
_MIX = {
    "field": (0.05, 0.05, 0.1, 0.1, 0.05, 0.2, 0.2, 0.1, 0.8, 5.0, 7.0, 1.1, 0.05, 0.1),
    "yard": (0.1, 0.6, 2.0, 3.0, 0.1, 0.3, 0.8, 2.0, 0.1, 0.5, 0.5, 0.6, 0.05, 0.05),
    "roof": (0.7, 1.1, 0.5, 0.8, 9.0, 0.7, 0.5, 0.3, 0.15, 0.25, 0.2, 0.3, 0.5, 0.2),
    "paved": (0.5, 5.0, 5.5, 0.8, 0.02, 0.1, 0.1, 0.1, 0.02, 0.02, 0.02, 0.05, 0.1, 0.05),
    "dirt":   (0.1, 0.2, 0.3, 0.4, 0.7, 2.0, 2.5, 2.0, 0.1, 0.5, 0.2, 1.2, 0.1, 0.1),
    "water":  (1.2, 0.5, 0.2, 0.1, 0.1, 0.5, 0.3, 0.1, 0.8, 0.5, 0.2, 0.1, 5.0, 5.5),
    "soil": (0.2, 0.2, 0.4, 0.4, 0.5, 5.0, 4.0, 2.5, 0.1, 0.3, 0.2, 0.6, 0.05, 0.05),
}  # fmt: skip


@dataclass(frozen=True)
class Material:
    """Colour (reflectance 0..1) and patterns (relative amplitudes) of one surface.

    `grain` is 1-2 px wide, `speckle` about 4 px, `blotch` tens of pixels, `relief` lit bumps of about 12 px.
    `stripe` is a wave of `period` px along direction `angle`, bent by `warp`.
    """

    color: tuple[float, float, float]
    grain: float = 0.05
    speckle: float = 0.05
    blotch: float = 0.05
    relief: float = 0.0
    stripe: float = 0.0
    angle: float = 0.0
    period: float = 10.0
    warp: float = 0.0

    def shaded(self, factor: float) -> Material:
        """The same surface, lighter or darker by `factor`."""
        red, green, blue = self.color
        return replace(self, color=(red * factor, green * factor, blue * factor))

    def row(self) -> tuple[float, ...]:
        """The material as a row of the table that the renderer indexes."""
        wave = 2 * np.pi / self.period
        patterns = (self.grain, self.speckle, self.blotch, self.relief, self.stripe)
        return (*self.color, *patterns, wave * np.cos(self.angle), wave * np.sin(self.angle), self.warp)


def draw_color(rng: np.random.Generator, kind: str) -> tuple[float, float, float]:
    """A colour for `kind` ("field", "roof", ...): two tones mixed, with jitter."""
    weights = np.array(_MIX[kind])
    first, second = rng.choice(len(weights), size=2, p=weights / weights.sum())
    share = rng.uniform(0.0, 0.45)
    color = _TONE_VALUES[first] * (1 - share) + _TONE_VALUES[second] * share
    color = color * np.exp(rng.normal(0.0, 0.10)) * np.exp(rng.normal(0.0, 0.03, size=3))
    red, green, blue = (float(value) for value in np.clip(color, 0.08, 0.95))
    return red, green, blue


def _grained(rng: np.random.Generator, kind: str, blotch: float) -> Material:
    # Grain and speckle have one distribution for every class: fine texture says nothing.
    grain, speckle = rng.uniform(0.01, 0.07), rng.uniform(0.01, 0.06)
    return Material(draw_color(rng, kind), float(grain), float(speckle), blotch)


def field(rng: np.random.Generator) -> Material:
    """Meadow, lawn or crop: soft blotches; sometimes fine crop rows or broad mowing swaths."""
    base = _grained(rng, "field", float(rng.uniform(0.09, 0.15)))
    angle, kind = float(rng.uniform(0, np.pi)), rng.uniform()
    if kind < 0.12:
        return replace(
            base, stripe=float(rng.uniform(0.02, 0.07)), angle=angle, period=float(rng.uniform(4, 6))
        )
    if kind < 0.35:
        return replace(
            base, stripe=float(rng.uniform(0.02, 0.05)), angle=angle, period=float(rng.uniform(28, 44))
        )
    return base


def yard(rng: np.random.Generator) -> Material:
    """Paved or gravelled ground around buildings; it counts as background."""
    return _grained(rng, "yard", float(rng.uniform(0.05, 0.11)))


def roof(rng: np.random.Generator, angle: float) -> Material:
    """Roofing with ribs or rows of tiles across the direction `angle`."""
    base = _grained(rng, "roof", float(rng.uniform(0.0, 0.05)))
    return replace(
        base, stripe=float(rng.uniform(0.11, 0.16)), angle=angle, period=float(rng.uniform(5.5, 6.5))
    )


def paving(rng: np.random.Generator) -> Material:
    """Asphalt, new or worn."""
    return _grained(rng, "paved", float(rng.uniform(0.02, 0.07)))


def dirt(rng: np.random.Generator) -> Material:
    """The surface of an unpaved road, in the colours of soil."""
    return _grained(rng, "dirt", float(rng.uniform(0.03, 0.08)))


def water(rng: np.random.Generator) -> Material:
    """Water with long bent ripples, from clear to muddy, sometimes glinting."""
    base = _grained(rng, "water", float(rng.uniform(0.0, 0.05)))
    return replace(
        base,
        stripe=float(rng.uniform(0.11, 0.16)),
        angle=float(rng.uniform(0, np.pi)),
        period=float(rng.uniform(9, 12)),
        warp=float(rng.uniform(1.2, 2.2)),
    )


def soil(rng: np.random.Generator, angle: float, *, furrows: bool) -> Material:
    """Bare ground: clods and heaps that catch the light, with or without straight furrows."""
    base = _grained(rng, "soil", float(rng.uniform(0.02, 0.08)))
    if furrows:
        relief, stripe = float(rng.uniform(0.07, 0.11)), float(rng.uniform(0.13, 0.18))
        return replace(base, relief=relief, stripe=stripe, angle=angle, period=float(rng.uniform(8, 12)))
    return replace(base, relief=float(rng.uniform(0.18, 0.25)))
