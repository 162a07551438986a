"""Class maps read in strips of rows, so that a map larger than memory can be walked through once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import MaskError, UnreadableError
from pixelwise.geo.inputs import regular_file
from pixelwise.geo.raster import _rasterio
from pixelwise.types import IGNORE, Labels

_STRIP_PIXELS = 1 << 22  # 4 MB of labels, and some ten times that while their borders are traced
TIFF: dict[str, tuple[bytes, ...]] = {".tif": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")}
TIFF[".tiff"] = TIFF[".tif"]
_MOST_BYTES = 1 << 44


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
    nodata: int | None = None
    block: int = field(default=1)

    def strips(self) -> Iterator[Labels]:
        """The rows in parts; nodata becomes 255.

        Raises:
            UnreadableError: a part of the file is damaged.
            MaskError: a value is no class index.
        """
        rasterio = _rasterio()
        rows = strip_rows(self.grid.width, self.block)
        with opened(self.path) as source:
            for top in range(0, self.grid.height, rows):
                window = rasterio.windows.Window(0, top, self.grid.width, min(rows, self.grid.height - top))
                try:
                    values = source.read(1, window=window)
                except rasterio.errors.RasterioError as error:
                    found = f"damaged or cut off in the rows from {top}"
                    raise UnreadableError(found, file=self.path, remedy="write the map again") from error
                yield self._labels(values, top)

    def _labels(self, values: NDArray[Any], top: int) -> Labels:
        nodata = self.nodata
        if values.dtype != np.uint8:
            bad = (values < 0) | (values > IGNORE)
            if nodata is not None:
                bad &= values != nodata
            if bad.any():
                row, column = np.argwhere(bad)[0]
                found = f"value {values[row, column]} at row {top + row}, column {column} is no class index"
                raise MaskError(found, file=self.path, remedy="classes are 0 to 254, and 255 means none")
        labels = values.astype(np.uint8)
        if nodata is not None:
            labels[values == nodata] = IGNORE
        return labels


def open_map(path: str | Path) -> GeoTiffMap:
    """Open a class map in a GeoTIFF without reading its pixels.

    Raises:
        MissingExtraError: rasterio is not installed.
        UnreadableError: missing, empty, no GeoTIFF, damaged.
        MaskError: several bands, or no integers.
    """
    path = regular_file(path, TIFF, most_bytes=_MOST_BYTES)
    rasterio = _rasterio()
    try:
        with opened(path) as source:
            kind = np.dtype(source.dtypes[0])
            if source.count != 1 or kind.kind not in "iu":
                found = f"has {source.count} {'band' if source.count == 1 else 'bands'} of {kind}"
                remedy = "give a class map: one band of class indices, as `pixelwise predict` writes it"
                raise MaskError(found, file=path, remedy=remedy)
            return GeoTiffMap(
                path,
                grid_of(source),
                nodata=None if source.nodata is None else int(source.nodata),
                block=source.block_shapes[0][0],
            )
    except rasterio.errors.RasterioError as error:
        raise UnreadableError(f"GDAL cannot read it: {error}", file=path, remedy="write it again") from error


def grid_of(source: Any) -> Grid:
    """The grid of an open rasterio dataset."""
    crs = source.crs.to_wkt() if source.crs else None
    return Grid(source.height, source.width, tuple(source.transform)[:6], crs)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The rasterio dataset of a GeoTIFF; that it has no georeference is no warning, what it lacks is said later."""
    rasterio = _rasterio()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        source = rasterio.open(path, driver="GTiff")
    with source:
        yield source


def strip_rows(width: int, block: int = 1) -> int:
    """Rows of a strip: whole blocks of the file, some million pixels."""
    rows = max(64, _STRIP_PIXELS // max(1, width))
    return max(block, rows // block * block)
