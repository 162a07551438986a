"""Class maps read in strips of rows, so that a map larger than memory can be walked through once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import MaskError
from pixelwise.geo.facts import RasterFacts
from pixelwise.geo.reader import open_raster
from pixelwise.geo.writer import read_tags
from pixelwise.ops.tiles import Box
from pixelwise.types import IGNORE, Labels

_STRIP_PIXELS = 1 << 22  # 4 MB of labels, and some ten times that while their borders are traced


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie.

    Attributes:
        height: Rows.
        width: Columns.
        transform: (a, b, c, d, e, f) with x = a * column + b * row + c and y = d * column + e * row + f, where
            column and row count pixel corners.
        crs: The coordinate reference system as WKT, or None.
    """

    height: int
    width: int
    transform: tuple[float, float, float, float, float, float] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    crs: str | None = None

    def to_map(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n, 2] columns and rows as x and y."""
        a, b, c, d, e, f = self.transform
        column, row = corners[:, 0], corners[:, 1]
        return np.column_stack((a * column + b * row + c, d * column + e * row + f))

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n, 2] x and y as columns and rows."""
        a, b, c, d, e, f = self.transform
        x, y = points[:, 0] - c, points[:, 1] - f
        scale = a * e - b * d
        return np.column_stack(((e * x - b * y) / scale, (a * y - d * x) / scale))


class ClassMap(Protocol):
    """Anything with a grid whose labels can be read strip by strip, and the names of its classes if it has them."""

    @property
    def grid(self) -> Grid:
        """Where its pixels lie."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its classes; empty where it does not say."""

    def strips(self) -> Iterator[Labels]:
        """uint8 [h, W] from top to bottom, 255 where there is no class."""


@dataclass(frozen=True, eq=False)
class ArrayMap:
    """A class map in memory."""

    labels: Labels
    grid: Grid
    names: tuple[str, ...] = ()
    rows: int = 0  # of a strip; 0: as many as are good

    @staticmethod
    def of(labels: Labels, *, rows: int = 0) -> ArrayMap:
        """Labels [H, W] without a place on Earth."""
        return ArrayMap(labels, Grid(*labels.shape[:2]), (), rows)

    def strips(self) -> Iterator[Labels]:
        """The rows in parts."""
        rows = self.rows or strip_rows(self.grid.width)
        return (self.labels[top : top + rows] for top in range(0, self.grid.height, rows))


@dataclass(frozen=True)
class GeoTiffMap:
    """A class map in a GeoTIFF, opened when its strips are read."""

    path: Path
    grid: Grid
    names: tuple[str, ...] = ()
    block: int = field(default=1)

    def strips(self) -> Iterator[Labels]:
        """The rows in parts; nodata becomes 255.

        Raises:
            UnreadableError: a part of the file is damaged.
            MaskError: a value is no class index.
        """
        rows = strip_rows(self.grid.width, self.block)
        with open_raster(self.path) as reader:
            for top in range(0, self.grid.height, rows):
                box = Box(top, 0, min(top + rows, self.grid.height), self.grid.width)
                values, empty = reader.read(box)
                labels = self._labels(values[:, :, 0], empty, top)
                # of a wide map a row of blocks is much more than is good to work on at a time
                part = strip_rows(self.grid.width)
                yield from (labels[begin : begin + part] for begin in range(0, len(labels), part))

    def _labels(self, values: NDArray[Any], empty: NDArray[np.bool_] | None, top: int) -> Labels:
        bad = (values < 0) | (values > IGNORE)
        if empty is not None:
            bad &= ~empty
        if bad.any():
            row, column = np.argwhere(bad)[0]
            found = f"value {values[row, column]} at row {top + row}, column {column} is no class index"
            raise MaskError(found, file=self.path, remedy="classes are 0 to 254, and 255 means none")
        labels = values.astype(np.uint8)
        if empty is not None:
            labels[empty] = IGNORE
        return labels


@dataclass(frozen=True)
class GeoTiffColors:
    """A class map in colours, in a GeoTIFF, opened when its strips are read."""

    path: Path
    grid: Grid
    block: int

    def strips(self) -> Iterator[NDArray[np.uint8]]:
        """uint8 [h, W, 3] from top to bottom.

        Raises:
            UnreadableError: a part of the file is damaged.
        """
        rows = strip_rows(self.grid.width, self.block)
        with open_raster(self.path) as reader:
            for top in range(0, self.grid.height, rows):
                yield reader.read(Box(top, 0, min(top + rows, self.grid.height), self.grid.width))[0]


def open_colors(path: str | Path) -> GeoTiffColors | None:
    """Open a GeoTIFF of three bands of uint8; None where it is another one.

    Raises:
        MissingExtraError: rasterio is not installed.
        UnreadableError: missing, empty, no GeoTIFF, damaged.
    """
    with open_raster(path) as reader:
        facts = reader.facts
    colors = facts.bands == 3 and facts.dtype == "uint8"
    return GeoTiffColors(Path(path), grid_of(facts), facts.block[0]) if colors else None


def open_map(path: str | Path) -> GeoTiffMap:
    """Open a class map in a GeoTIFF without reading its pixels.

    Raises:
        MissingExtraError: rasterio is not installed.
        UnreadableError: missing, empty, no GeoTIFF, damaged.
        MaskError: several bands, or no integers.
    """
    path = Path(path)
    with open_raster(path) as reader:
        facts = reader.facts
    kind = np.dtype(facts.dtype)
    if facts.bands != 1 or kind.kind not in "iu":
        found = f"has {facts.bands} {'band' if facts.bands == 1 else 'bands'} of {kind}"
        remedy = "give a class map: one band of class indices, as `pixelwise predict` writes it"
        raise MaskError(found, file=path, remedy=remedy)
    return GeoTiffMap(path, grid_of(facts), _names(path), block=facts.block[0])


def grid_of(facts: RasterFacts) -> Grid:
    """The grid of a raster; one that is placed by control points alone is as good as without a place."""
    place = facts.place
    if place.transform is None:
        return Grid(facts.height, facts.width)
    return Grid(facts.height, facts.width, place.transform, place.crs or None)


def _names(path: Path) -> tuple[str, ...]:
    """The class names that `pixelwise predict` wrote into a map."""
    try:
        classes = json.loads(read_tags(path).get("PIXELWISE_CLASSES", "[]"))
        return tuple(str(entry["name"]) for entry in classes)
    except (ValueError, TypeError, KeyError):
        return ()  # somebody else's tag


def strip_rows(width: int, block: int = 1) -> int:
    """Rows of a strip: whole blocks of the file, some million pixels."""
    rows = max(64, _STRIP_PIXELS // max(1, width))
    return max(block, rows // block * block)
