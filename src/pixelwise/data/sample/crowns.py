"""Trees from above: round crowns, bright towards the sun and dark behind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.sample.canvas import Canvas
from pixelwise.data.sample.materials import TREE
from pixelwise.data.sample.paint import Sun
from pixelwise.types import Labels

Field = NDArray[np.float32]
_RADII = np.arange(6, 15)
_SHAPES = 5

# Leaf colours from tone 0 to tone 1, for each season; a picture mixes two neighbouring seasons.
_SEASONS = np.array(
    [
        [(0.30, 0.42, 0.20), (0.40, 0.47, 0.25), (0.52, 0.48, 0.38)],  # spring, some in blossom
        [(0.20, 0.31, 0.16), (0.27, 0.38, 0.20), (0.35, 0.41, 0.23)],  # summer
        [(0.27, 0.35, 0.18), (0.44, 0.40, 0.20), (0.48, 0.33, 0.20)],  # autumn
        [(0.20, 0.29, 0.21), (0.28, 0.33, 0.24), (0.38, 0.36, 0.31)],  # winter, conifers and bare twigs
    ]
)


def plant_crowns(
    crowns: NDArray[np.float64],
    canvas: Canvas,
    sun: Sun,
    season: float,
    scene: Field,
    labels: Labels,
    leaves: Field,
) -> None:
    """Draw crowns [N, 5] over `scene` [H, W, 3] and `labels` [H, W], in place and in order.

    Args:
        crowns: x, y, radius, tone and shape of each.
        canvas: the window.
        sun: the light.
        season: 0..1.
        scene: the lit scene.
        labels: its classes.
        leaves: fine texture [H, W], about 0.
    """
    stamps = _stamps(sun)
    colors = _leaf_colors(season, crowns[:, 3]).astype(np.float32)
    height, width = labels.shape
    x = np.rint(crowns[:, 0] - canvas.left).astype(int)
    y = np.rint(crowns[:, 1] - canvas.top).astype(int)
    radius = np.rint(crowns[:, 2]).astype(int).clip(_RADII[0], _RADII[-1])
    shape = (crowns[:, 4] * _SHAPES).astype(int).clip(0, _SHAPES - 1)
    seen = (x + 20 > 0) & (y + 20 > 0) & (x - 20 < width) & (y - 20 < height)
    for i in np.flatnonzero(seen):
        mask, shade = stamps[radius[i]][shape[i]]
        half = len(mask) // 2
        x0, y0 = x[i] - half, y[i] - half
        rows = slice(max(0, y0), min(height, y0 + len(mask)))
        columns = slice(max(0, x0), min(width, x0 + len(mask)))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        cut = slice(rows.start - y0, rows.stop - y0), slice(columns.start - x0, columns.stop - x0)
        part, light = mask[cut], shade[cut] + leaves[rows, columns]
        np.copyto(scene[rows, columns], light[..., None] * colors[i], where=part[..., None])
        labels[rows, columns][part] = TREE


def _leaf_colors(season: float, tone: NDArray[np.float64]) -> NDArray[np.float64]:
    place = season * len(_SEASONS)
    first = int(place) % len(_SEASONS)
    share = place - int(place)
    ramp = _SEASONS[first] * (1 - share) + _SEASONS[(first + 1) % len(_SEASONS)] * share
    return np.stack([np.interp(tone, (0.0, 0.5, 1.0), ramp[:, i]) for i in range(3)], axis=1)


def _stamps(sun: Sun) -> dict[int, list[tuple[NDArray[np.bool_], Field]]]:
    """For each radius some crowns: which pixels they cover, and how bright those are."""
    rng = np.random.default_rng(7)  # the outlines are the same everywhere, only the light differs
    stamps: dict[int, list[tuple[NDArray[np.bool_], Field]]] = {}
    for radius in _RADII.tolist():
        half = radius + 2
        y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
        distance, angle = np.hypot(x, y), np.arctan2(y, x)
        stamps[radius] = []
        for _ in range(_SHAPES):
            edge = np.full_like(distance, radius)
            bumps = np.zeros_like(distance)
            for lobes in (3, 5, 7):
                wave = np.cos(lobes * angle + np.float32(rng.uniform(0, 2 * np.pi)))
                edge += np.float32(radius * 0.045) * wave
                bumps += wave * (distance / radius)
            inside = distance <= edge
            u, v = x / edge, y / edge
            dome = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
            shade = 0.56 + 0.34 * dome - 0.42 * (u * sun.x + v * sun.y) + 0.05 * bumps
            stamps[radius].append((inside, np.clip(shade, 0.42, 1.4).astype(np.float32)))
    return stamps
