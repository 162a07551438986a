"""What stands where in a generated town: exact geometry and materials, before any light falls on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.sample import materials
from pixelwise.data.sample.grounds import Patch, bare_ground, blob, parcels
from pixelwise.data.sample.lots import Building, Car, Occupancy, build_halls, build_houses, drive_cars
from pixelwise.data.sample.materials import BACKGROUND, Material
from pixelwise.data.sample.streets import Lattice, Points, lay_streets

Crowns = NDArray[np.float64]  # [N, 5]: x, y, radius, tone 0..1, shape 0..1; drawn in order


@dataclass(frozen=True)
class Pool:
    """Standing water in a closed outline; `rim` is what frames it."""

    outline: Points
    material: Material
    rim: Material


@dataclass(frozen=True)
class River:
    """Running water along a line, `width` pixels wide, between banks."""

    line: Points
    width: int
    material: Material
    bank: Material


@dataclass(frozen=True)
class Town:
    """A whole town, `width` x `height` pixels of `pixel_size` metres."""

    width: int
    height: int
    pixel_size: float
    ground: Material
    patches: tuple[Patch, ...]
    rivers: tuple[River, ...]
    pools: tuple[Pool, ...]
    lattice: Lattice
    surfaces: tuple[Material, ...]  # of the roads, in the order of `lattice.roads`
    cars: tuple[Car, ...]
    buildings: tuple[Building, ...]
    crowns: Crowns


@dataclass
class _Site:
    """A town while it is being planned."""

    rng: np.random.Generator
    lattice: Lattice
    taken: Occupancy
    patches: list[Patch]
    pools: list[Pool]
    buildings: list[Building]
    crowns: list[Crowns]


def plan_town(rng: np.random.Generator, width: int, height: int) -> Town:
    """Plan a town of `width` x `height` pixels; all that matters about its style is drawn from `rng`."""
    lattice = lay_streets(
        rng,
        width,
        height,
        spacing=float(rng.uniform(180, 215)),
        loops=float(rng.uniform(0.35, 0.6)),
        unpaved=float(rng.uniform(0.1, 0.25)),
    )
    rivers = _rivers(rng, width, height)
    taken = Occupancy(width, height)
    for river in rivers:
        taken.line(river.line, river.width + 16)
    for road in lattice.roads:
        taken.line(road.line, road.width + 8)
    site = _Site(rng, lattice, taken, [], [], [], [])
    _settle(site, width, height)
    asphalt = [materials.paving(rng) for _ in range(4)]  # a town buys its asphalt from few suppliers
    surfaces = tuple(
        asphalt[rng.integers(len(asphalt))].shaded(float(rng.uniform(0.92, 1.08)))
        if road.paved
        else materials.dirt(rng)
        for road in lattice.roads
    )
    cars = drive_cars(rng, lattice.roads)
    _plant_avenues(site)
    crowns = np.concatenate(site.crowns) if site.crowns else np.zeros((0, 5))
    return Town(
        width=width,
        height=height,
        pixel_size=round(float(rng.uniform(0.25, 0.4)), 2),
        ground=materials.field(rng),
        patches=tuple(site.patches),
        rivers=rivers,
        pools=tuple(site.pools),
        lattice=lattice,
        surfaces=surfaces,
        cars=cars,
        buildings=tuple(site.buildings),
        crowns=crowns[rng.permutation(len(crowns))],
    )


# Land uses and how often a cell of the lattice gets them, in the country and in the centre.
_USES = ("homes", "trade", "field", "soil", "wood", "pond")
_COUNTRY = np.array([0.22, 0.15, 0.06, 0.22, 0.18, 0.17])
_CENTRE = np.array([0.42, 0.33, 0.02, 0.08, 0.06, 0.09])


def _settle(site: _Site, width: int, height: int) -> None:
    rng = site.rng
    rows, columns = site.lattice.nodes.shape[:2]
    phase = rng.uniform(0, 2 * np.pi, size=2)
    for row in range(rows - 1):
        for column in range(columns - 1):
            corners = site.lattice.cell(row, column)
            (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
            if x1 < 0 or y1 < 0 or x0 > width or y0 > height:
                continue
            wave = np.sin(1.1 * row + phase[0]) * np.sin(0.9 * column + phase[1])
            share = float(np.clip(0.5 + 0.6 * wave, 0.0, 1.0))
            use = rng.choice(_USES, p=_COUNTRY * (1 - share) + _CENTRE * share)
            _use_cell(site, str(use), corners, site.lattice.sides(row, column))


def _use_cell(site: _Site, use: str, corners: Points, sides: list[bool]) -> None:
    rng = site.rng
    if use == "homes":
        site.patches.append(_meadow(rng, corners))
        _dig_garden_pool(site, corners)
        site.buildings += build_houses(rng, corners, sides, site.taken)
        _plant(site, corners, spacing=36, chance=0.6)
    elif use == "trade":
        ground = materials.yard(rng) if rng.uniform() < 0.25 else materials.field(rng)
        site.patches.append(Patch(BACKGROUND, ((corners, ground),)))
        site.buildings += build_halls(rng, corners, site.taken)
        _plant(site, corners, spacing=44, chance=0.3)
    elif use == "field":
        site.patches.append(parcels(rng, corners))
        _plant(site, corners, spacing=60, chance=0.3)
    elif use == "soil":
        site.patches.append(_meadow(rng, corners))
        site.patches.append(bare_ground(rng, corners))
        _plant(site, corners, spacing=70, chance=0.12)
    elif use == "wood":
        site.patches.append(_meadow(rng, corners))
        _plant(site, corners, spacing=13, chance=0.98)
    else:
        site.patches.append(_meadow(rng, corners))
        _dig_pond(site, corners)
        _plant(site, corners, spacing=34, chance=0.5)


def _meadow(rng: np.random.Generator, corners: Points) -> Patch:
    return Patch(BACKGROUND, ((corners, materials.field(rng)),))


def _rivers(rng: np.random.Generator, width: int, height: int) -> tuple[River, ...]:
    rivers = []
    for _ in range(max(1, round(max(width, height) / 2600))):
        upright = rng.uniform() < 0.5
        length, breadth = (height, width) if upright else (width, height)
        along = np.arange(-80.0, length + 81.0, 10.0)
        swing, wave = rng.uniform(40, 80), rng.uniform(300, 500)
        middle = rng.uniform(0.3, 0.7) * breadth
        across = middle + swing * np.sin(2 * np.pi * along / wave + rng.uniform(0, 6.3))
        across += 0.4 * swing * np.sin(2 * np.pi * along / (0.43 * wave) + rng.uniform(0, 6.3))
        line = np.stack([across, along] if upright else [along, across], axis=1)
        bank = materials.field(rng).shaded(1.15)
        rivers.append(River(line, int(rng.integers(50, 90)), materials.water(rng), bank))
    return tuple(rivers)


def _dig_pond(site: _Site, corners: Points) -> None:
    rng = site.rng
    outline = blob(rng, corners, float(rng.uniform(0.66, 0.86)))
    site.pools.append(Pool(outline, materials.water(rng), materials.field(rng).shaded(1.15)))
    site.taken.polygon(outline)


def _dig_garden_pool(site: _Site, corners: Points) -> None:
    rng = site.rng
    if rng.uniform() > 0.35:
        return
    along = (corners[1] - corners[0]) / np.hypot(*(corners[1] - corners[0]))
    across = np.array([-along[1], along[0]])
    half, centre = rng.uniform((13, 9), (18, 13)), corners.mean(axis=0)
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    outline = centre + signs[:, :1] * along + signs[:, 1:] * across
    site.pools.append(Pool(outline, materials.water(rng), materials.yard(rng).shaded(1.25)))
    site.taken.polygon(outline + (outline - centre) * 0.4)


def _plant(site: _Site, corners: Points, *, spacing: float, chance: float) -> None:
    """Trees over a cell, on a jittered grid, wherever the ground is free."""
    rng = site.rng
    u, v = corners[1] - corners[0], corners[3] - corners[0]
    a = np.arange(0.08, 0.95, spacing / np.hypot(*u))
    b = np.arange(0.08, 0.95, spacing / np.hypot(*v))
    s, t = (grid.ravel() for grid in np.meshgrid(a, b))
    slant = corners[2] - corners[1] - v
    points = corners[0] + s[:, None] * u + t[:, None] * v + (s * t)[:, None] * slant
    points += rng.uniform(-0.35, 0.35, size=points.shape) * spacing
    keep = (rng.uniform(size=len(points)) < chance) & site.taken.free(points)
    _grow(site, points[keep])


def _plant_avenues(site: _Site) -> None:
    """Rows of trees along some of the roads."""
    for road in site.lattice.roads:
        if site.rng.uniform() > 0.2:
            continue
        along = road.line[-1] - road.line[0]
        length = np.hypot(*along)
        if length < 60:
            continue
        side = np.array([-along[1], along[0]]) / length * (road.width / 2 + 12) * site.rng.choice([-1, 1])
        steps = np.arange(0.14, 0.86, 26 / length)
        x, y = (np.interp(steps, np.linspace(0, 1, len(road.line)), road.line[:, i]) for i in (0, 1))
        points = np.stack([x, y], axis=1) + side + site.rng.normal(0, 1.5, size=(len(steps), 2))
        _grow(site, points[site.taken.free(points)])


def _grow(site: _Site, points: Points) -> None:
    rng, count = site.rng, len(points)
    radius = np.clip(rng.normal(12.0, 1.6, size=count), 8, 14)
    tone = np.clip(rng.uniform() + rng.normal(0, 0.18, size=count), 0, 1)
    site.crowns.append(np.column_stack([points, radius, tone, rng.uniform(size=count)]))
