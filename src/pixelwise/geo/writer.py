"""Class maps written as Cloud-Optimized GeoTIFF: block by block, then put in order by GDAL's own driver."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OutputError
from pixelwise.geo.place import Place
from pixelwise.geo.raster import load_rasterio
from pixelwise.ops.tiles import BLOCK, Box
from pixelwise.types import IGNORE, ClassSpec

_LAYOUT = {
    "COMPRESS": "DEFLATE",
    "BLOCKSIZE": BLOCK,
    "OVERVIEW_RESAMPLING": "NEAREST",
    "RESAMPLING": "NEAREST",
    "BIGTIFF": "IF_SAFER",
    "NUM_THREADS": "2",
}
_CACHE = 2**26  # bytes of blocks; GDAL's own limit is a share of the machine's memory


@dataclass(frozen=True)
class MapLayer:
    """One band of uint8 to be written.

    Attributes:
        size: Height and width.
        place: Where it lies.
        nodata: The value that stands for no data.
        classes: Their colours become the colour table, their names tags; empty for a band that is no class map.
        tags: Further metadata.
    """

    size: tuple[int, int]
    place: Place
    nodata: int = IGNORE
    classes: Sequence[ClassSpec] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def write_layer(
    path: Path, layer: MapLayer, parts: Iterable[tuple[Box, NDArray[np.uint8]]], work: Path
) -> None:
    """Write `path` from parts that begin at blocks of 512 pixels and partition the raster.

    Every block is compressed once into a plain file in the folder `work`, which GDAL then reorders, with overviews
    by nearest neighbour. The caller makes both names temporary and gives the file its final name; what is there under
    either is removed.

    Raises:
        OutputError: the disk is full or the place cannot be written to.
    """
    plain = work / "plain.tif"
    rasterio = load_rasterio()
    import rasterio.shutil as copies

    with _errors(path), _quiet(rasterio), rasterio.Env(GDAL_CACHEMAX=_CACHE, CPL_TMPDIR=str(work)):
        _remove(plain, path)  # of a process that was killed here: GDAL opens what it replaces, and fails
        try:
            with rasterio.open(plain, "w", **_profile(layer, rasterio)) as target:
                _describe(target, layer)
                for box, values in parts:
                    window = rasterio.windows.Window(box.left, box.top, box.width, box.height)
                    target.write(values, 1, window=window)
            with rasterio.open(plain, driver="GTiff") as source:
                copies.copy(source, str(path), driver="COG", **_LAYOUT)
        finally:
            plain.unlink(missing_ok=True)


def _remove(*left: Path) -> None:
    for path in left:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            remedy = "choose another folder"
            raise OutputError(f"cannot be replaced: {error.strerror}", file=path, remedy=remedy) from error


def encoded_layer(layer: MapLayer, values: NDArray[np.uint8]) -> bytes:
    """The bytes of a small GeoTIFF with the same contents, without overviews."""
    rasterio = load_rasterio()
    from rasterio.io import MemoryFile

    with _quiet(rasterio), MemoryFile() as memory:
        with memory.open(**_profile(layer, rasterio)) as target:
            _describe(target, layer)
            target.write(values, 1)
        return bytes(memory.read())


def read_tags(path: Path) -> dict[str, str]:
    """The tags of a GeoTIFF that was written here."""
    rasterio = load_rasterio()
    with _quiet(rasterio), rasterio.open(path, driver="GTiff", OVERVIEW_LEVEL="NONE") as source:
        return dict(source.tags())


def _profile(layer: MapLayer, rasterio: Any) -> dict[str, Any]:
    height, width = layer.size
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": "uint8",
        "nodata": layer.nodata,
        "compress": "deflate",
        "zlevel": 1,
        "BIGTIFF": "IF_SAFER",
    }
    if max(height, width) > BLOCK:
        profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    place = layer.place
    if place.crs:
        profile["crs"] = rasterio.crs.CRS.from_wkt(place.crs)
    if place.transform is not None:
        profile["transform"] = rasterio.Affine(*place.transform)
    elif place.gcps:
        profile["gcps"] = list(place.gcps)
    if place.rpcs is not None:
        profile["rpcs"] = place.rpcs
    return profile


def _describe(target: Any, layer: MapLayer) -> None:
    tags = dict(layer.tags)
    if layer.classes:
        colors = {index: (*spec.rgb, 255) for index, spec in enumerate(layer.classes)}
        target.write_colormap(1, {layer.nodata: (0, 0, 0, 0)} | colors)
        tags |= {f"CLASS_{index}": spec.name for index, spec in enumerate(layer.classes)}
        tags["PIXELWISE_CLASSES"] = json.dumps(
            [{"name": spec.name, "color": spec.color} for spec in layer.classes], ensure_ascii=False
        )
    target.update_tags(**tags)


@contextmanager
def _quiet(rasterio: Any) -> Iterator[None]:
    """A map of a picture that lies nowhere is no fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    rasterio = load_rasterio()
    from rasterio._err import CPLE_BaseError  # GDAL's own words, which have no public name

    try:
        yield
    except (rasterio.errors.RasterioError, CPLE_BaseError) as error:
        raise OutputError(
            f"GDAL cannot write this map: {error}",
            file=path,
            remedy="free some space, or choose another folder",
        ) from error
