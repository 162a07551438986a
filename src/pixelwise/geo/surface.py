"""True areas on the ellipsoid, whatever the coordinate system of a map does to them.

A projection keeps angles or distances and gives up areas: a square metre of Web Mercator at 60 degrees north is a
quarter of one on the ground. Areas are therefore measured in an equal-area projection of the map's own ellipsoid:
Lambert's azimuthal one around the middle of the map, or his cylindrical one for maps in degrees, where parallels
and meridians stay straight. (Snyder 1987, Map Projections: A Working Manual, USGS 1395, pages 76 and 182.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, MissingExtraError
from pixelwise.geo.classmaps import Grid
from pixelwise.geo.rings import Polygons, shapely_of

_SIDE_PIXELS = 8  # longer straight sides are cut, since they are curved in another projection
_NODE_METRES = (
    2000.0  # the size of a pixel on the ground changes by 1e-7 of itself between the lines of nodes
)


@dataclass(frozen=True)
class Surface:
    """The ground below the pixels of a grid; without a coordinate system its unit is the pixel."""

    grid: Grid

    @property
    def unit(self) -> str:
        """`m2` or `px`."""
        return "px" if self.grid.crs is None else "m2"

    @property
    def method(self) -> str:
        """How areas are measured, in one sentence."""
        if self.grid.crs is None:
            return "areas in pixels: the map has no coordinate system"
        kind = "cylindrical" if self._geographic else "azimuthal"
        return f"areas in square metres on the ellipsoid, by Lambert's {kind} equal-area projection"

    def areas(self, polygons: Polygons) -> NDArray[np.float64]:
        """The area of each polygon, which is given in pixel corners."""
        shapely = shapely_of()
        if self.grid.crs is None or not len(polygons):
            plain: NDArray[np.float64] = shapely.area(polygons)
            return plain
        cut = shapely.segmentize(polygons, _SIDE_PIXELS)
        measured: NDArray[np.float64] = shapely.area(shapely.transform(cut, self._equal_area))
        return measured

    def pixel_areas(self, top: int, rows: int) -> NDArray[np.float64]:
        """The area of every pixel, [rows, W]: exact on a net of pixels, interpolated between them."""
        if self.grid.crs is None:
            return np.ones((rows, self.grid.width))
        step = self._node_step
        row_nodes, column_nodes = _nodes(top, rows, step), _nodes(0, self.grid.width, step)
        half = 0.5 if self._geographic else step / 2  # no cell may reach beyond a pole
        row, column = np.meshgrid(row_nodes + 0.5, column_nodes + 0.5, indexing="ij")
        turns = ((-half, -half), (half, -half), (half, half), (-half, half))
        corners = [self._equal_area(np.column_stack((column.ravel() + x, row.ravel() + y))) for x, y in turns]
        area = np.zeros(row.size)
        for one, following in zip(corners, corners[1:] + corners[:1], strict=True):
            area += one[:, 0] * following[:, 1] - following[:, 0] * one[:, 1]
        net = np.abs(area).reshape(row.shape) / 2 / (2 * half) ** 2
        by_row = _between(net.T, row_nodes, np.arange(top, top + rows)).T
        return _between(by_row, column_nodes, np.arange(self.grid.width))

    @cached_property
    def _crs(self) -> Any:
        return crs_of(self.grid.crs)

    @property
    def _geographic(self) -> bool:
        return bool(self._crs.is_geographic)

    @cached_property
    def _node_step(self) -> int:
        """Pixels between the nodes of the net."""
        middle = np.array([[self.grid.width / 2, self.grid.height / 2]])
        corner = self._equal_area(np.vstack((middle, middle + 1)))
        pixel = float(np.hypot(*(corner[1] - corner[0]))) / 2**0.5
        return int(np.clip(_NODE_METRES / pixel, 1, 256))

    @cached_property
    def _transformer(self) -> Any:
        import pyproj

        height, width = self.grid.height, self.grid.width
        rim = np.array([[0, 0], [width, 0], [0, height], [width, height], [width / 2, height / 2]], float)
        middle = self.grid.to_map(rim)[-1:]
        ellipsoid = self._crs.ellipsoid
        try:
            to_degrees = pyproj.Transformer.from_crs(self._crs, self._crs.geodetic_crs, always_xy=True)
            longitude, latitude = to_degrees.transform(middle[0, 0], middle[0, 1], errcheck=True)
            name = (
                f"cea +lon_0={longitude}"
                if self._geographic
                else f"laea +lat_0={latitude} +lon_0={longitude}"
            )
            text = f"+proj={name} +a={ellipsoid.semi_major_metre} +b={ellipsoid.semi_minor_metre} +type=crs"
            return pyproj.Transformer.from_crs(self._crs, pyproj.CRS.from_user_input(text), always_xy=True)
        except (pyproj.exceptions.ProjError, AttributeError) as error:
            found = f"the coordinate system {self._crs.name!r} has no relation to the Earth ({error})"
            raise DataError(found, remedy="give the map its true coordinate system with gdal_edit") from error

    def _equal_area(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n, 2] pixel corners to metres in the equal-area projection."""
        placed = self.grid.to_map(corners)
        east, north = self._transformer.transform(placed[:, 0], placed[:, 1])
        if not (np.isfinite(east).all() and np.isfinite(north).all()):
            found = f"parts of the map lie outside what {self._crs.name!r} can say"
            raise DataError(found, remedy="check the transform and the coordinate system of the map")
        return np.column_stack((east, north))


def crs_of(text: str | None) -> Any:
    """The pyproj CRS of WKT, an EPSG code or PROJJSON.

    Raises:
        MissingExtraError: pyproj is not installed.
        DataError: the text names no coordinate system.
    """
    try:
        import pyproj
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]"'
        raise MissingExtraError("areas need pyproj, which is not installed", remedy=remedy) from error
    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        found = f"unknown coordinate system {str(text)[:80]!r}"
        raise DataError(found, remedy='write an EPSG code, such as "EPSG:32631"') from error


def _nodes(start: int, count: int, step: int) -> NDArray[np.float64]:
    """Places from `start` to the last of `count` pixels, at most `step` apart, both ends among them."""
    return np.linspace(start, start + count - 1, max(1, -(-(count - 1) // step)) + 1 if count > 1 else 1)


def _between(
    values: NDArray[np.float64], nodes: NDArray[np.float64], places: NDArray[Any]
) -> NDArray[np.float64]:
    """Linear interpolation along the last axis, from `nodes` to `places`."""
    if len(nodes) == 1:
        return np.repeat(values, len(places), axis=1)
    position = (places - nodes[0]) / (nodes[1] - nodes[0])
    left = np.minimum(position.astype(np.int64), len(nodes) - 2)
    share = position - left
    result: NDArray[np.float64] = values[:, left] * (1 - share) + values[:, left + 1] * share
    return result
