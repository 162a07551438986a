"""Scenes to train from: what their headers say, and windows of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.geo.classmaps import Grid, grid_of
from pixelwise.geo.reader import checked_path, open_raster
from pixelwise.geo.rings import shapely_of
from pixelwise.geo.surface import crs_of
from pixelwise.ops.tiles import Box
from pixelwise.types import Image


@dataclass(frozen=True)
class SceneFacts:
    """Grid, bands and the dtype of a scene as it is read."""

    grid: Grid
    bands: int
    dtype: str


def scene_facts(path: str | Path) -> SceneFacts:
    """What the header of a GeoTIFF says.

    Raises:
        MissingExtraError: rasterio is not installed.
        UnreadableError: missing, empty, no GeoTIFF, damaged.
        DataError: complex numbers.
    """
    checked_path(path)
    state = Path(path).stat()
    return _facts(Path(path), state.st_mtime_ns, state.st_size)


def read_scene(path: str | Path, box: Box) -> tuple[Image, NDArray[np.bool_]]:
    """The image [h, w, C] in a window of a scene, and where it holds no data [h, w].

    uint8 and uint16 stay as they are, other numbers become float32; pixels without data are 0.

    Raises:
        UnreadableError: that part of the file is damaged.
    """
    path = Path(path)
    facts = scene_facts(path)
    with open_raster(path) as reader:
        values, nothing = reader.read(box)
    image = values.astype(facts.dtype, copy=False)
    empty = np.zeros(image.shape[:2], bool) if nothing is None else nothing
    image[empty] = 0  # a nodata value of -9999 would spoil the statistics of the bands
    return image, empty


def lost_pixels(path: str | Path, box: Box) -> int:
    """Pixels in a window of a scene that hold no data because they are NaN, though the scene does not declare NaN.

    Raises:
        UnreadableError: that part of the file is damaged.
    """
    path = Path(path)
    if scene_facts(path).dtype != "float32":
        return 0
    with open_raster(path) as reader:
        if any(value is not None and math.isnan(value) for value in reader.facts.nodata):
            return 0
        return int(np.isnan(reader.read(box)[0]).any(axis=2).sum())


def footprint(grid: Grid, box: Box) -> Any:
    """A window of a scene as a polygon in longitude and latitude."""
    import pyproj

    shapely = shapely_of()
    outline = shapely.segmentize(
        shapely.box(box.left, box.top, box.right, box.bottom), max(1, box.width / 16)
    )
    transformer = pyproj.Transformer.from_crs(crs_of(grid.crs), "EPSG:4326", always_xy=True)

    def moved(points: NDArray[np.float64]) -> NDArray[np.float64]:
        placed = grid.to_map(points)
        return np.column_stack(transformer.transform(placed[:, 0], placed[:, 1]))

    return shapely.transform(outline, moved)


@lru_cache(maxsize=4096)
def _facts(path: Path, _changed: int, _size: int) -> SceneFacts:
    with open_raster(path) as reader:
        facts = reader.facts
    kind = np.dtype(facts.dtype)
    if kind.kind not in "uif":
        raise DataError(f"its values are {kind}", file=path, remedy="export it as integers or floats")
    dtype = str(kind) if kind in (np.uint8, np.uint16) else "float32"
    return SceneFacts(grid_of(facts), facts.bands, dtype)
