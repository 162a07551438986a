"""Which places of a map to look at, so that the true area of each class can be estimated from them.

Places are drawn at random within each mapped class, every piece of ground of a class being as likely as any other.
How many go to each class follows Olofsson and others 2014 (section 5.1.2): shares of the map, but no fewer than some
fifty for a class that is rare. (Good practices for estimating area and assessing accuracy of land change, Remote
Sensing of Environment 148, 42-57.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, MissingExtraError, OptionError, OutputError
from pixelwise.files import replacing, write_text
from pixelwise.geo.areas import ClassAreas
from pixelwise.geo.classmaps import ClassMap
from pixelwise.geo.rings import shapely_of
from pixelwise.geo.surface import Surface

FEWEST = 50  # places of a class, where that many go round
_SPARE = 4  # candidates for each place; those on small pixels are turned down
SUFFIXES = (".gpkg", ".csv")


@dataclass(frozen=True, eq=False)
class SamplePlan:
    """Places to look at, in random order.

    Attributes:
        points: float [n, 2], x and y of pixel centres in the coordinates of the map.
        values: int64 [n], the class that the map has there.
        names: Class names by index.
        counts: int64 [K], places of each class.
        crs: The coordinate system of the map as WKT, or None.
    """

    points: NDArray[np.float64]
    values: NDArray[np.int64]
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    crs: str | None


def allocate(places: int, areas: NDArray[np.float64], *, fewest: int = FEWEST) -> NDArray[np.int64]:
    """How many of `places` go to each class: shares of its area, but no fewer than `fewest` for those that exist.

    Where there are not enough places for that, each class gets the same number.

    Raises:
        OptionError: fewer than 2 places for each class.

    >>> allocate(641, np.array([0.02, 0.015, 0.32, 0.645]), fewest=75).tolist()  # the paper rounds to 165 and 325
    [75, 75, 163, 328]
    """
    mapped = np.flatnonzero(areas > 0)
    if places < 2 * len(mapped):
        found = f"{places} places for {len(mapped)} mapped classes"
        raise OptionError(
            found, remedy=f"plan at least {2 * len(mapped)}; {FEWEST} for each class are of use"
        )
    fewest = min(fewest, places // len(mapped))
    counts = np.zeros(len(areas), np.int64)
    rest, sharing = places, list(mapped[np.argsort(areas[mapped], kind="stable")])
    while sharing and rest * areas[sharing[0]] / areas[sharing].sum() < fewest:  # the rarest one falls short
        counts[sharing.pop(0)] = fewest
        rest -= fewest
    if not sharing:
        counts[mapped[np.argmax(areas[mapped])]] += rest
        return counts
    exact = rest * areas[sharing] / areas[sharing].sum()
    counts[sharing] = exact.astype(np.int64)
    by_remainder = np.argsort(counts[sharing] - exact, kind="stable")[: rest - int(counts[sharing].sum())]
    counts[np.array(sharing)[by_remainder]] += 1
    return counts


def plan_sample(source: ClassMap, found: ClassAreas, places: int, *, seed: int = 0) -> SamplePlan:
    """Draw places within each class of a map; no pixel twice, the same ones for the same seed.

    Args:
        source: The map.
        found: What `class_areas` says of it.
        places: How many in all; classes with fewer pixels than their part give all of their pixels.
        seed: Of the draw.

    Raises:
        OptionError: fewer than 2 places for each class.
    """
    rng = np.random.default_rng(seed)
    counts = np.minimum(allocate(places, found.areas), found.pixels)
    # Pixels of a class are numbered in the order of the map. More are drawn than needed, in random order.
    ranks = [
        rng.choice(pixels, min(pixels, count * _SPARE), replace=False, shuffle=True)
        for pixels, count in zip(found.pixels.tolist(), counts.tolist(), strict=True)
    ]
    drawn = [np.zeros((len(rank), 3)) for rank in ranks]  # column, row, area of the pixel
    surface = Surface(source.grid)
    before = np.zeros(len(counts), np.int64)
    top = 0
    for labels in source.strips():
        area = surface.pixel_areas(top, len(labels)).reshape(-1)
        for value in np.flatnonzero(counts).tolist():
            places_of = np.flatnonzero(labels.reshape(-1) == value)
            here = (ranks[value] >= before[value]) & (ranks[value] < before[value] + len(places_of))
            pixel = places_of[ranks[value][here] - before[value]]
            row, column = np.divmod(pixel, labels.shape[1])
            drawn[value][here] = np.column_stack((column, row + top, area[pixel]))
            before[value] += len(places_of)
        top += len(labels)
    chosen = []
    for one, count in zip(drawn, counts.tolist(), strict=True):
        # A pixel of half the ground is taken half as often: in degrees, pixels shrink towards the poles.
        accepted = rng.random(len(one)) * one[:, 2].max(initial=0) <= one[:, 2]
        chosen.append(one[np.argsort(~accepted, kind="stable")][:count, :2])
    values = np.repeat(np.arange(len(counts)), counts)
    order = rng.permutation(len(values))  # the order must not give the class away
    points = source.grid.to_map(np.concatenate(chosen) + 0.5)[order]
    return SamplePlan(points, values[order], found.names, counts, source.grid.crs)


def write_plan(plan: SamplePlan, path: str | Path) -> Path:
    """Write the places with an empty column `reference`, as CSV or as points in a GeoPackage.

    The class that the map has there is left out: who looks at a place should not know it.

    Raises:
        OptionError: another suffix.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        found = f"no sample in files ending in {path.suffix or 'nothing'}"
        raise OptionError(found, remedy="write to NAME.gpkg, for a GIS, or NAME.csv")
    if path.suffix.lower() == ".csv":
        lines = [f"{index},{x!r},{y!r}," for index, (x, y) in enumerate(plan.points.tolist(), 1)]
        write_text(path, "\n".join(["id,x,y,reference", *lines]) + "\n")
        return path
    try:
        import pyogrio
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]", or write a .csv'
        raise MissingExtraError("GeoPackages need pyogrio, which is not installed", remedy=remedy) from error
    if plan.crs is None:
        raise DataError("the map has no coordinate system", remedy="write the places to a .csv")
    shapely = shapely_of()
    numbers = np.arange(1, len(plan.points) + 1, dtype=np.int32)
    empty = np.full(len(plan.points), None, object)
    with replacing(path) as temporary:
        temporary.unlink()  # GDAL would take the empty file for one of its own
        try:
            pyogrio.raw.write(
                str(temporary),
                shapely.to_wkb(shapely.points(plan.points)),
                [numbers, empty],
                ["id", "reference"],
                geometry_type="Point",
                crs=plan.crs,
                driver="GPKG",
                layer="places",
                dataset_options={"VERSION": "1.2"},
                layer_options={"DESCRIPTION": _told(plan.names)},
            )
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
            found = f"GDAL cannot write this file: {error}"
            remedy = "choose another folder, or free some space"
            raise OutputError(found, file=path, remedy=remedy) from error
    return path


def _told(names: Sequence[str]) -> str:
    return f"reference: the class found at the place, one of {', '.join(names)}"
