"""Patches of ground: fields, bare soil in its forms, and the outlines they have."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pixelwise.data.sample import materials
from pixelwise.data.sample.materials import BACKGROUND, SOIL, Material
from pixelwise.data.sample.streets import Points


@dataclass(frozen=True)
class Patch:
    """Ground of one class: nested outlines, each with its material, and wheel tracks on top."""

    label: int
    rings: tuple[tuple[Points, Material], ...]
    tracks: tuple[Points, ...] = ()


def _inset(corners: Points, share: float) -> Points:
    shrunk: Points = corners + (corners.mean(axis=0) - corners) * share
    return shrunk


def blob(rng: np.random.Generator, corners: Points, share: float) -> Points:
    """A rounded outline [48, 2] that fills about `share` of the width of a cell."""
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = np.ones_like(t)
    for lobes in (2, 3, 5):
        radius += rng.normal(0.0, 0.16 / lobes) * np.cos(lobes * t + rng.uniform(0, 2 * np.pi))
    centre = corners.mean(axis=0)
    u, v = (corners[1] + corners[2] - corners[0] - corners[3]) / 4, (corners[2] + corners[3]) / 2 - centre
    outline: Points = centre + share * radius[:, None] * (np.cos(t)[:, None] * u + np.sin(t)[:, None] * v)
    return outline


def _rough(rng: np.random.Generator, corners: Points, size: float) -> Points:
    """The outline with its edges broken up by about `size` pixels."""
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    edges = [a + (b - a) * t for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    outline = np.concatenate(edges)
    return outline + rng.normal(0.0, size, size=outline.shape)


def parcels(rng: np.random.Generator, corners: Points) -> Patch:
    """A cell split into two or three strips of field: sharp borders that mean nothing."""
    cuts = [0.0, *sorted(rng.uniform(0.25, 0.75, size=rng.integers(1, 3))), 1.0]
    top, bottom = corners[1] - corners[0], corners[2] - corners[3]
    strips = []
    for a, b in pairwise(cuts):
        points = [
            corners[0] + top * a,
            corners[0] + top * b,
            corners[3] + bottom * b,
            corners[3] + bottom * a,
        ]
        strips.append((np.array(points), materials.field(rng)))
    return Patch(BACKGROUND, tuple(strips))


def bare_ground(rng: np.random.Generator, corners: Points) -> Patch:
    """A ploughed field, a quarry or a building site inside a cell [4, 2]."""
    angle = float(np.arctan2(*(corners[1] - corners[0])[::-1])) + (np.pi / 2 if rng.uniform() < 0.5 else 0.0)
    kind = rng.uniform()
    if kind < 0.4:  # a ploughed field
        outline = _rough(rng, _inset(corners, rng.uniform(0.12, 0.22)), 1.0)
        return Patch(SOIL, ((outline, materials.soil(rng, angle, furrows=True)),))
    base = materials.soil(rng, angle, furrows=False)
    if kind < 0.7:  # a quarry: terraces, each darker or lighter than the one above
        rings, shade = [], 1.0
        for share in (0.86, 0.66, 0.44, 0.24):
            rings.append((blob(rng, corners, share), base.shaded(shade)))
            shade *= rng.choice([0.84, 1.14])
        return Patch(SOIL, tuple(rings))
    outline = _rough(rng, _inset(corners, rng.uniform(0.12, 0.28)), 3.0)
    return Patch(SOIL, ((outline, base),), _wheel_tracks(rng, corners))


def _wheel_tracks(rng: np.random.Generator, corners: Points) -> tuple[Points, ...]:
    """Three double tracks that bend across a building site."""
    inner = _inset(corners, 0.4)
    tracks = []
    for _ in range(3):
        a, b, c = (inner[i] + rng.normal(0, 10, size=2) for i in rng.permutation(4)[:3])
        t = np.linspace(0, 1, 12)[:, None]
        line = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        across = np.array([a[1] - c[1], c[0] - a[0]])
        across = across / (np.hypot(*across) + 1e-6) * 3.5
        tracks += [line - across, line + across]
    return tuple(tracks)
