"""From a class map to polygons with classes and areas."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OptionError, close_matches
from pixelwise.geo.classmaps import ClassMap, Grid
from pixelwise.geo.outlines import Outlines, trace_parts
from pixelwise.geo.rings import Polygons, shapely_of
from pixelwise.geo.surface import Surface
from pixelwise.types import IGNORE, Labels


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
    """The connected pixels of each class as polygons with holes: all of `polygon_parts` at once, sorted.

    Raises:
        OptionError, DataError, MaskError: see `polygon_parts`.

    >>> from pixelwise.geo.classmaps import ArrayMap
    >>> found = polygonize(ArrayMap.of(np.array([[0, 0, 1], [0, 1, 1]], np.uint8)))
    >>> found.by_class()
    {'class_0': (1, 3.0), 'class_1': (1, 3.0)}
    """
    parts = list(polygon_parts(source, options, names=names))
    polygons = np.concatenate([part.polygons for part in parts])
    values = np.concatenate([part.values for part in parts])
    areas = np.concatenate([part.areas for part in parts])
    tally = Tally()
    for part in parts:
        tally.add(part)
    order = _order(polygons, values, source.grid)
    whole = replace(parts[0], polygons=polygons[order], values=values[order], areas=areas[order])
    return replace(whole, dropped=tally.dropped)


def polygon_parts(
    source: ClassMap, options: PolygonOptions | None = None, *, names: Sequence[str] = ()
) -> Iterator[ClassPolygons]:
    """The polygons of a class map as they are completed, strip by strip; at least one part, which may be empty.

    Pixels are connected by their sides. Without `simplify` the polygons cover exactly the pixels of the map; with
    it, shared borders are changed once for both neighbours, so that no gap or overlap comes up, and the frame of
    the map and its total area stay. Borders keep their pixels where they lie on the line between two strips, or
    cross it: a vertex every thousand rows or so. Memory is needed for one strip and the polygons that it cuts.

    Args:
        source: A class map; pixels of 255 have no class and no polygon.
        options: Which polygons and how exact.
        names: Class names by index; without, those of the map, or class_0 and so on.

    Raises:
        OptionError: an option out of range or an unknown class.
        DataError: no pixels, or an impossible coordinate system.
        MaskError: a value that is no class index.
    """
    options = options or PolygonOptions()
    for name, value in (("simplify", options.simplify), ("min_area", options.min_area)):
        if not (np.isfinite(value) and value >= 0):
            raise OptionError(f"{name} is {value}", remedy="give a number that is not negative")
    known = tuple(names) or source.names
    hidden = (IGNORE, *_indices(options.skip, known))
    if not known:
        highest = max((_highest(labels, hidden) for labels in source.strips()), default=0)
        known = tuple(f"class_{index}" for index in range(highest + 1))
    surface = Surface(source.grid)
    nothing = Outlines.joined(())
    # Where borders are simplified, what is left out still has to hold its side of them.
    leave_out = () if options.simplify else hidden
    traced = trace_parts(source.strips(), leave_out=leave_out, change=_simplification(options.simplify))
    for outlines in itertools.chain([nothing], traced):
        kept = ~np.isin(outlines.values, hidden)
        polygons, values = outlines.polygons[kept], outlines.values[kept]
        if values.max(initial=0) >= len(known):
            found = f"the map holds class index {values.max()}, and there are {len(known)} class names"
            raise OptionError(
                found, remedy="give the classes.yaml that the map was made with: --classes FILE"
            )
        areas = surface.areas(polygons)
        large = areas >= options.min_area
        dropped = int((~large).sum()), float(areas[~large].sum())
        placed, values, areas = _placed(polygons[large], source.grid), values[large], areas[large]
        order = _order(placed, values, source.grid)
        yield ClassPolygons(
            placed[order],
            values[order],
            areas[order],
            known,
            surface.unit,
            surface.method,
            source.grid.crs,
            dropped,
        )


@dataclass
class Tally:
    """Number and area of the polygons of each class, and of those that were too small."""

    classes: dict[str, tuple[int, float]] = field(default_factory=dict)
    dropped: tuple[int, float] = (0, 0.0)
    count: int = 0

    def add(self, part: ClassPolygons) -> None:
        """Count a part."""
        for name, (number, area) in part.by_class().items():
            before = self.classes.get(name, (0, 0.0))
            self.classes[name] = before[0] + number, before[1] + area
        self.dropped = self.dropped[0] + part.dropped[0], self.dropped[1] + part.dropped[1]
        self.count += len(part)

    def of(self, parts: Iterable[ClassPolygons]) -> Iterator[ClassPolygons]:
        """The parts, counted as they go by."""
        for part in parts:
            self.add(part)
            yield part


def _highest(labels: Labels, hidden: tuple[int, ...]) -> int:
    """The highest class index that is not hidden."""
    present = np.flatnonzero(np.bincount(labels.reshape(-1), minlength=IGNORE + 1))
    return int(present[~np.isin(present, hidden)].max(initial=0))


def _simplification(pixels: float) -> Callable[[Polygons], Polygons] | None:
    """Simplifies polygons together, but not their frame."""
    if not pixels:
        return None
    return lambda polygons: shapely_of().coverage_simplify(polygons, pixels, simplify_boundary=False)


def _order(placed: Polygons, values: NDArray[np.uint8], grid: Grid) -> NDArray[np.int64]:
    """By class, then from top to bottom of the map."""
    boxes = shapely_of().bounds(placed).reshape(-1, 4)
    pixels = [grid.to_pixels(boxes[:, corner]) for corner in ((0, 1), (2, 3), (0, 3), (2, 1))]
    top, left = (np.min([corner[:, axis] for corner in pixels], axis=0) for axis in (1, 0))
    order: NDArray[np.int64] = np.lexsort((left, top, values))
    return order


def _placed(polygons: Polygons, grid: Grid) -> Polygons:
    """Polygons in pixel corners moved to the map, outer rings counterclockwise."""
    shapely = shapely_of()
    if not len(polygons):
        return polygons
    moved: Polygons = shapely.orient_polygons(shapely.transform(polygons, grid.to_map))
    return moved


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
