"""From a class map to polygons with classes and areas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OptionError, close_matches
from pixelwise.geo.classmaps import ClassMap, Grid
from pixelwise.geo.outlines import Outlines, Polygons, shapely_of, trace
from pixelwise.geo.surface import Surface
from pixelwise.types import IGNORE


@dataclass(frozen=True)
class PolygonOptions:
    """Which polygons are wanted and how exact.

    Attributes:
        simplify: Borders may be changed where a corner spans less than the square of this many pixels; 0 keeps
            every step of the pixels. 1.5 takes the steps out of slanting lines.
        min_area: Smaller polygons are left out, in square metres, or in pixels where the map has no coordinate
            system.
        skip: Names of classes without polygons.
    """

    simplify: float = 0.0
    min_area: float = 0.0
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ClassPolygons:
    """Polygons of a class map, by class and from top to bottom.

    Attributes:
        polygons: [n] shapely polygons in the coordinates of the map, outer rings counterclockwise.
        values: uint8 [n], the class index of each.
        areas: float [n], in `unit`.
        names: Class names by index.
        unit: `m2` or `px`.
        method: How areas were measured.
        crs: The coordinate system of the map as WKT, or None.
        dropped: How many polygons were smaller than `min_area`, and their area.
    """

    polygons: Polygons
    values: NDArray[np.uint8]
    areas: NDArray[np.float64]
    names: tuple[str, ...]
    unit: str
    method: str
    crs: str | None
    dropped: tuple[int, float] = (0, 0.0)

    def __len__(self) -> int:
        return len(self.polygons)

    @property
    def class_names(self) -> list[str]:
        """The class name of each polygon."""
        return [self.names[value] for value in self.values.tolist()]

    def by_class(self) -> dict[str, tuple[int, float]]:
        """Number and area of the polygons of each class that has any."""
        counts = np.bincount(self.values, minlength=len(self.names))
        areas = np.bincount(self.values, weights=self.areas, minlength=len(self.names))
        return {
            name: (int(count), float(area))
            for name, count, area in zip(self.names, counts, areas, strict=True)
            if count
        }


def polygonize(
    source: ClassMap, options: PolygonOptions | None = None, *, names: Sequence[str] = ()
) -> ClassPolygons:
    """The connected pixels of each class as polygons with holes.

    Pixels are connected by their sides. Without `simplify` the polygons cover exactly the pixels of the map; with
    it, shared borders are changed once for both neighbours, so that no gap or overlap comes up, and the frame of
    the map and its total area stay. The map is read in strips; memory is needed for one strip and the polygons.

    Args:
        source: A class map; pixels of 255 have no class and no polygon.
        options: Which polygons and how exact.
        names: Class names by index; without, those of the map, or class_0 and so on.

    Raises:
        OptionError: an option out of range or an unknown class.
        DataError: no pixels, or an impossible coordinate system.
        MaskError: a value that is no class index.

    >>> from pixelwise.geo.classmaps import ArrayMap
    >>> found = polygonize(ArrayMap.of(np.array([[0, 0, 1], [0, 1, 1]], np.uint8)))
    >>> found.by_class()
    {'class_0': (1, 3.0), 'class_1': (1, 3.0)}
    """
    options = options or PolygonOptions()
    shapely = shapely_of()
    for name, value in (("simplify", options.simplify), ("min_area", options.min_area)):
        if not (np.isfinite(value) and value >= 0):
            raise OptionError(f"{name} is {value}", remedy="give a number that is not negative")
    known = tuple(names) or source.names
    skipped = _indices(options.skip, known)
    # Where borders are simplified, what is left out still has to hold its side of them.
    outlines = trace(source.strips(), leave_out=() if options.simplify else (IGNORE, *skipped))
    if options.simplify:
        simple = shapely.coverage_simplify(outlines.polygons, options.simplify, simplify_boundary=False)
        outlines = Outlines(simple, outlines.values)
    kept = ~np.isin(outlines.values, (IGNORE, *skipped))
    polygons, values = outlines.polygons[kept], outlines.values[kept]
    highest = int(values.max(initial=0))
    known = _named(known, highest)
    surface = Surface(source.grid)
    areas = surface.areas(polygons)
    large = areas >= options.min_area
    dropped = int((~large).sum()), float(areas[~large].sum())
    polygons, values, areas = polygons[large], values[large], areas[large]
    boxes = shapely.bounds(polygons).reshape(-1, 4)
    order = np.lexsort((boxes[:, 0], boxes[:, 1], values))
    placed = _placed(polygons[order], source.grid)
    return ClassPolygons(
        placed, values[order], areas[order], known, surface.unit, surface.method, source.grid.crs, dropped
    )


def _placed(polygons: Polygons, grid: Grid) -> Polygons:
    """Polygons in pixel corners moved to the map, outer rings counterclockwise."""
    shapely = shapely_of()
    if not len(polygons):
        return polygons
    moved: Polygons = shapely.orient_polygons(shapely.transform(polygons, grid.to_map))
    return moved


def _named(names: tuple[str, ...], highest: int) -> tuple[str, ...]:
    """Names for all indices up to `highest`."""
    if names and highest >= len(names):
        found = f"the map holds class index {highest}, and there are {len(names)} class names"
        raise OptionError(found, remedy="give the classes.yaml that the map was made with: --classes FILE")
    return names or tuple(f"class_{index}" for index in range(highest + 1))


def _indices(wanted: Sequence[str], names: tuple[str, ...]) -> tuple[int, ...]:
    """The indices of class names, or of class_N and N where there are no names."""
    indices = []
    for name in wanted:
        if name in names:
            indices.append(names.index(name))
        elif not names and name.removeprefix("class_").isdecimal():
            indices.append(int(name.removeprefix("class_")))
        else:
            remedy = close_matches(name, names) if names else "give class_0 and so on, or --classes FILE"
            raise OptionError(f"unknown class {name!r}", remedy=remedy)
    return tuple(indices)


def document(polygons: ClassPolygons) -> str:
    """What is said about a set of polygons in the files that hold them, as JSON."""
    classes = [{"index": index, "name": name} for index, name in enumerate(polygons.names)]
    return json.dumps({"areas": polygons.method, "unit": polygons.unit, "classes": classes})
