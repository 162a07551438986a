"""Houses, halls and cars: what people put on the land of a generated town."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from pixelwise.data.sample import materials
from pixelwise.data.sample.materials import Material
from pixelwise.data.sample.streets import Mask, Points, Road

Roof = Literal["flat", "gable", "hip"]
_COARSE = 4  # pixels of the town per cell of the occupancy map


@dataclass(frozen=True)
class Building:
    """A rectangular building: `corners` [4, 2], the first two along the ridge; `height` in pixels."""

    corners: Points
    height: float
    roof: Roof
    material: Material
    boxes: tuple[tuple[float, float, float], ...]  # chimneys or fans: place along and across 0..1, half size


@dataclass(frozen=True)
class Car:
    """A car: its outline [4, 2] and its colour."""

    corners: Points
    color: tuple[float, float, float]


class Occupancy:
    """Which ground is taken, at a quarter of the resolution."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("L", (-(-width // _COARSE), -(-height // _COARSE)), 0)
        self._draw = ImageDraw.Draw(self._image)

    def line(self, shape: Points, width: int) -> None:
        """Take a strip along a line."""
        points = [(x, y) for x, y in (shape / _COARSE).tolist()]
        self._draw.line(points, fill=1, width=max(1, round(width / _COARSE)), joint="curve")

    def polygon(self, corners: Points) -> None:
        """Take a polygon."""
        self._draw.polygon([(x, y) for x, y in (corners / _COARSE).tolist()], fill=1)

    def free(self, points: Points) -> Mask:
        """For each point: is the ground free; beyond the edge it is."""
        taken = np.asarray(self._image)
        height, width = taken.shape
        column, row = np.floor(points / _COARSE).astype(int).T
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        free: Mask = ~(inside & (taken[row.clip(0, height - 1), column.clip(0, width - 1)] > 0))
        return free

    def all_free(self, corners: Points) -> bool:
        """Is a quadrilateral [4, 2] free throughout."""
        width, height = self._image.size
        for x, y in _spread(corners):
            place = int(x // _COARSE), int(y // _COARSE)
            if 0 <= place[0] < width and 0 <= place[1] < height and self._image.getpixel(place):
                return False
        return True


_STEPS = np.stack(np.meshgrid(np.linspace(0, 1, 7), np.linspace(0, 1, 7)), axis=-1).reshape(-1, 2)


def _spread(corners: Points) -> list[list[float]]:
    origin, along, across = corners[0], corners[1] - corners[0], corners[3] - corners[0]
    points: list[list[float]] = (origin + _STEPS[:, :1] * along + _STEPS[:, 1:] * across).tolist()
    return points


def _rectangle(centre: Points, along: Points, length: float, depth: float) -> Points:
    """Corners [4, 2] of a rectangle whose first side runs along the unit vector `along`."""
    across = np.array([-along[1], along[0]])
    half = along * length / 2, across * depth / 2
    return np.array(
        [
            centre - half[0] - half[1],
            centre + half[0] - half[1],
            centre + half[0] + half[1],
            centre - half[0] + half[1],
        ]
    )


def build_houses(
    rng: np.random.Generator, corners: Points, sides: Sequence[bool], taken: Occupancy
) -> list[Building]:
    """Houses along those sides of a cell [4, 2] where a road runs."""
    houses = []
    centre = corners.mean(axis=0)
    for start, end, road in zip(corners, np.roll(corners, -1, axis=0), sides, strict=True):
        length = float(np.hypot(*(end - start)))
        along = (end - start) / length
        inward = np.array([-along[1], along[0]])
        inward = inward if inward @ (centre - start) > 0 else -inward
        place = 22.0
        while (road or rng.uniform() < 0.7) and place < length - 40:
            front, depth = rng.uniform(36, 58), rng.uniform(30, 42)
            setback = rng.uniform(19, 25)
            middle = start + along * (place + front / 2) + inward * (setback + depth / 2)
            houses += _try_building(rng, _rectangle(middle, along, front, depth), taken, flat=0.25)
            place += front + rng.uniform(9, 18)
    return houses


def build_halls(rng: np.random.Generator, corners: Points, taken: Occupancy) -> list[Building]:
    """A few big buildings inside a cell [4, 2]."""
    halls = []
    along = (corners[1] - corners[0]) / np.hypot(*(corners[1] - corners[0]))
    for _ in range(30):
        s, t = rng.uniform(0.2, 0.8, size=2)
        top, bottom = corners[0] + (corners[1] - corners[0]) * s, corners[3] + (corners[2] - corners[3]) * s
        shape = _rectangle(top + (bottom - top) * t, along, rng.uniform(50, 96), rng.uniform(38, 60))
        halls += _try_building(rng, shape, taken, flat=0.6)
    return halls


def _try_building(
    rng: np.random.Generator, corners: Points, taken: Occupancy, *, flat: float
) -> list[Building]:
    """The building if its ground, with a gap around it, is free."""
    margin = corners + (corners - corners.mean(axis=0)) * 0.13
    if not taken.all_free(margin):
        return []
    taken.polygon(margin)
    first, second = np.hypot(*(corners[1] - corners[0])), np.hypot(*(corners[3] - corners[0]))
    if second > first:  # the ridge follows the longer side
        corners = np.roll(corners, -1, axis=0)
    angle = float(np.arctan2(*(corners[1] - corners[0])[::-1]))
    roof: Roof = "flat" if rng.uniform() < flat else "gable" if rng.uniform() < 0.6 else "hip"
    count = int(rng.integers(1, 6)) if roof == "flat" else int(rng.integers(0, 3))
    boxes = [
        (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.25, 0.75)), float(rng.uniform(1.6, 3.6)))
        for _ in range(count)
    ]
    height = float(rng.uniform(12, 18) if first < 60 else rng.uniform(14, 21))
    return [Building(corners, height, roof, materials.roof(rng, angle), tuple(boxes))]


_PAINTS = ((0.85, 0.85, 0.84), (0.12, 0.12, 0.13), (0.55, 0.56, 0.58), (0.55, 0.12, 0.12), (0.15, 0.25, 0.5))


def drive_cars(rng: np.random.Generator, roads: Sequence[Road]) -> tuple[Car, ...]:
    """Cars on the lanes of the paved roads, and some parked at the kerb."""
    cars = []
    for road in roads:
        for _ in range(int(rng.poisson(1.6)) if road.paved else 0):
            step = int(rng.integers(0, len(road.line) - 1))
            start, end = road.line[step], road.line[step + 1]
            along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
            across = np.array([-along[1], along[0]])
            lane = rng.choice([-1, 1]) * road.width * rng.choice([0.25, 0.52])
            centre = start + (end - start) * rng.uniform() + across * lane
            paint = np.array(_PAINTS[rng.integers(len(_PAINTS))]) * rng.uniform(0.85, 1.1)
            shape = _rectangle(centre, along, rng.uniform(9, 12), rng.uniform(4.6, 5.6))
            cars.append(Car(shape, (float(paint[0]), float(paint[1]), float(paint[2]))))
    return tuple(cars)
