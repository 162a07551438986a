"""Drawing the parts of a town onto a canvas, from the ground up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixelwise.data.sample.canvas import Canvas
from pixelwise.data.sample.grounds import Patch
from pixelwise.data.sample.lots import Building, Car
from pixelwise.data.sample.materials import BUILDING, ROAD, WATER, Material
from pixelwise.data.sample.plan import Pool, River, Town
from pixelwise.data.sample.streets import Mask, Points, Road


@dataclass(frozen=True)
class Sun:
    """Direction in which the light travels over the ground (unit vector) and length of shadow per height."""

    x: float
    y: float
    reach: float

    def facing(self, normal: Points) -> float:
        """How much a slope that falls towards `normal` (unit vector) faces the sun, -1..1."""
        return -float(normal[0] * self.x + normal[1] * self.y)

    def shadow(self, height: float) -> Points:
        """The offset from a point at `height` pixels to its shadow, in pixels."""
        length = height * self.reach
        return np.array([self.x * length, self.y * length])


def paint_town(town: Town, canvas: Canvas, sun: Sun) -> None:
    """Draw all of the town that the canvas sees, but for the trees' crowns."""
    for patch in town.patches:
        _paint_patch(patch, canvas)
    for pool in town.pools:
        _paint_pool(pool, canvas)
    for river in town.rivers:
        _paint_river(river, canvas)
    _paint_roads(town, canvas)
    for car in town.cars:
        _paint_car(car, canvas)
    seen = [house for house in town.buildings if canvas.sees(house.corners, 60)]
    for house in seen:
        canvas.cast_shadow(house.corners, sun.shadow(house.height))
    for x, y, radius, *_ in town.crowns[_near(town.crowns, canvas)].tolist():
        canvas.cast_round_shadow(x, y, radius, sun.shadow(0.95 * radius))
    for house in seen:
        _paint_house(house, canvas, sun)


def road_mask(town: Town) -> Mask:
    """Where the roads of the whole town run [H, W], before anything hides them."""
    canvas = Canvas(0, 0, town.width, town.height, town.ground)
    _paint_roads(town, canvas)
    roads: Mask = canvas.labels() == ROAD
    return roads


def _near(crowns: Points, canvas: Canvas) -> Mask:
    x, y = crowns[:, 0], crowns[:, 1]
    across = (x > canvas.left - 50) & (x < canvas.left + canvas.width + 50)
    return across & (y > canvas.top - 50) & (y < canvas.top + canvas.height + 50)


def _paint_patch(patch: Patch, canvas: Canvas) -> None:
    for outline, material in patch.rings:
        if canvas.sees(outline):
            canvas.polygon(outline, material, patch.label)
    if patch.tracks and canvas.sees(patch.rings[0][0]):
        canvas.segments(patch.tracks, 2, patch.rings[0][1].shaded(0.78))


def _paint_pool(pool: Pool, canvas: Canvas) -> None:
    if not canvas.sees(pool.outline, 8):
        return
    centre = pool.outline.mean(axis=0)
    arms = pool.outline - centre
    length = np.hypot(arms[:, 0], arms[:, 1])[:, None]
    canvas.polygon(pool.outline + arms / length * 3.5, pool.rim)
    canvas.polygon(pool.outline, pool.material.shaded(1.14), WATER)
    canvas.polygon(centre + arms * 0.86, pool.material, WATER)
    canvas.polygon(centre + arms * 0.62, pool.material.shaded(0.86), WATER)


def _paint_river(river: River, canvas: Canvas) -> None:
    canvas.line(river.line, river.width + 7, river.bank)
    canvas.line(river.line, river.width, river.material.shaded(1.14), WATER)
    canvas.line(river.line, round(0.78 * river.width), river.material)
    canvas.line(river.line, round(0.45 * river.width), river.material.shaded(0.86))


def _paint_roads(town: Town, canvas: Canvas) -> None:
    roads = zip(town.lattice.roads, town.surfaces, strict=True)
    seen = [(road, surface) for road, surface in roads if canvas.sees(road.line, 40)]
    seen.sort(key=lambda pair: (pair[0].paved, pair[0].width))  # the main roads run on top
    for road, surface in seen:
        if road.paved:
            canvas.line(road.line, road.width + 5, surface.shaded(1.5))
    for road, surface in seen:
        canvas.line(road.line, road.width, surface, ROAD)
    for road, surface in seen:
        _paint_lanes(road, surface, canvas)


def _paint_lanes(road: Road, surface: Material, canvas: Canvas) -> None:
    """Lane marks on paved roads, wheel ruts on the others."""
    length = float(np.hypot(*np.diff(road.line, axis=0).T).sum())
    steps = np.linspace(0, 1, max(4, int(length / 3)))
    t = np.linspace(0, 1, len(road.line))
    line = np.stack([np.interp(steps, t, road.line[:, i]) for i in (0, 1)], axis=1)
    ahead = np.gradient(line, axis=0)
    across = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) / np.hypot(*ahead.T)[:, None]
    gap = max(3, int(0.7 * road.width / 3))  # no marks inside a junction
    line, across = line[gap:-gap], across[gap:-gap]
    if len(line) < 4:
        return
    if not road.paved:
        ruts = [line + across * offset for offset in (-2.8, 2.8)]
        canvas.segments(ruts, 2, surface.shaded(0.8))
        return
    marks = [line[i : i + 3] for i in range(0, len(line) - 2, 5)]
    canvas.segments(marks, 2 if road.width > 17 else 1, surface.shaded(1.75))
    if road.width > 14:
        edge = road.width / 2 - 2.5
        canvas.segments([line + across * edge, line - across * edge], 1, surface.shaded(1.5))


def _paint_car(car: Car, canvas: Canvas) -> None:
    if not canvas.sees(car.corners):
        return
    canvas.polygon(car.corners, Material(car.color, 0.02, 0.0, 0.0))
    a, b, c, d = car.corners
    glass = np.array([a + (b - a) * 0.6, a + (b - a) * 0.78, d + (c - d) * 0.78, d + (c - d) * 0.6])
    canvas.polygon(glass, Material((0.16, 0.18, 0.2), 0.0, 0.0, 0.0))


def _paint_house(house: Building, canvas: Canvas, sun: Sun) -> None:
    canvas.clear_shadow(house.corners)
    canvas.polygon(house.corners, house.material.shaded(1.35), BUILDING)
    a, b, c, d = house.corners
    along, across = (b - a) / np.hypot(*(b - a)), (d - a) / np.hypot(*(d - a))
    if house.roof == "flat":
        inset = np.array([along + across, across - along, -along - across, along - across]) * 2.6
        canvas.polygon(house.corners + inset, house.material)
    else:
        hip = along * np.hypot(*(d - a)) * (0.5 if house.roof == "hip" else 0.0)
        left, right = (a + d) / 2 + hip, (b + c) / 2 - hip
        facets = [(np.array([a, b, right, left]), -across), (np.array([c, d, left, right]), across)]
        if house.roof == "hip":
            facets += [(np.array([b, c, right]), along), (np.array([d, a, left]), -along)]
        for shape, normal in facets:
            canvas.polygon(shape, house.material.shaded(1 + 0.42 * sun.facing(normal)))
        gutter = np.array([a, b, c, d, a])
        canvas.segments([np.array([left, right]), gutter], 2, house.material.shaded(1.4))
    for u, v, half in house.boxes:
        centre = a + (b - a) * u + (d - a) * v
        box = centre + np.array([-along - across, along - across, along + across, across - along]) * half
        canvas.polygon(box + sun.shadow(3.0), house.material.shaded(0.6))
        canvas.polygon(box, house.material.shaded(1.3))
