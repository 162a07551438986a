"""Rasters opened as what they claim to be, a GeoTIFF, and read in windows.

GDAL takes an XML file for a raster that lies elsewhere, follows URLs, and reads overviews and metadata from other
files that a GeoTIFF or its neighbours name. Here a raster is one local regular file with the signature of a TIFF,
read by the GeoTIFF driver alone, at full resolution only, without a look at the files beside it. What a file may
claim is bounded before anything is read: the size of a raster and of the blocks that are decoded as one.
"""

from __future__ import annotations

import math
import queue
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, OptionError, UnreadableError
from pixelwise.geo.facts import MAX_PIXELS, RasterFacts
from pixelwise.geo.place import Place, place_of
from pixelwise.geo.raster import load_rasterio
from pixelwise.ops.nodata import no_data
from pixelwise.ops.tiles import Box

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_BANDS = 512
MAX_BLOCK = 2**28
"""Bytes that are decoded as one: a raster in one compressed block would have to be unpacked whole."""

REMOTE = re.compile(r"^(https?|s3|gs|az):/+", re.IGNORECASE)
_ELSEWHERE = re.compile(r"^(/+vsi|\\\\|[a-z][a-z0-9+._]+:)", re.IGNORECASE)
_SAFE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no .aux.xml, .ovr, .msk, .tfw
    "GDAL_PAM_ENABLED": "NO",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "GDAL_HTTP_TIMEOUT": "60",
}
_REMOTE = {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif,.tiff"}
_DRIVES = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}


class RasterReader:
    """Windows of a raster, read by several threads at a time, each with a handle of its own."""

    def __init__(self, facts: RasterFacts, handles: list[Any], environment: dict[str, Any]) -> None:
        self.facts, self.size = facts, facts.size
        self._environment = environment
        self._every, self._open = handles, len(handles)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()  # None when they are closed
        for handle in handles:
            self._idle.put(handle)

    def read(self, box: Box, *, drop_alpha: bool = False) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """The image [H, W, C] in a box that lies in the raster, and where it holds no data, if it says so.

        A pixel holds no data where its bands have their nodata value (`ops.nodata`) or one is not a number, where
        the mask of the file says so, and where `drop_alpha` leaves out an alpha channel that is 0.

        Raises:
            UnreadableError: the file is cut off or damaged there.
            ValueError: the reader is closed.
        """
        rasterio = load_rasterio()
        window = rasterio.windows.Window(box.left, box.top, box.width, box.height)
        handle = self._idle.get()
        if handle is None:
            self._idle.put(None)  # for whoever else waits
            raise ValueError("this raster is closed")
        try:
            # band by band into an image that lies pixel by pixel: GDAL turns it on the way
            image = np.empty((box.height, box.width, self.facts.bands), self.facts.dtype)
            values = np.moveaxis(image, 2, 0)
            with rasterio.Env(**self._environment):
                handle.read(window=window, out=values)
                mask = handle.read_masks(1, window=window) if self.facts.masked else None
        except (rasterio.errors.RasterioError, MemoryError) as error:
            raise UnreadableError(
                f"cannot be decoded at rows {box.top} to {box.bottom}, columns {box.left} to {box.right}: {error}",
                file=self.facts.name,
                remedy="copy or export the file again",
            ) from error
        finally:
            self._idle.put(handle)
        empty = _empty(values, self.facts.nodata)
        if mask is not None:
            empty = _either(empty, mask == 0)
        if drop_alpha:
            empty = _either(empty, values[-1] == 0)
            image = np.ascontiguousarray(image[:, :, :-1])
        return image, empty

    def close(self) -> None:
        """Close all handles, each when nobody reads with it any more: GDAL does not survive less."""
        while self._open:
            self._idle.get().close()
            self._open -= 1
        self._idle.put(None)


@contextmanager
def open_raster(
    path: str | Path,
    *,
    handles: int = 1,
    allow_remote: bool = False,
    cache: int | None = None,
) -> Iterator[RasterReader]:
    """Open a GeoTIFF for reading in windows.

    Args:
        path: A local file; with `allow_remote` also https://..., s3://..., gs://... and az://...
        handles: Threads that may read at a time.
        allow_remote: Whether anything may be read over the network.
        cache: Bytes that GDAL may keep of decoded blocks, in the whole process.

    Raises:
        MissingExtraError: rasterio is not installed.
        OptionError: a path that is no local file.
        UnreadableError: missing, no TIFF, cut off or damaged.
        DataError: a size beyond all bounds.
    """
    name, remote = checked_path(path, allow_remote=allow_remote)
    rasterio = load_rasterio()
    environment: dict[str, Any] = _SAFE | (_REMOTE if remote else {})
    if cache is not None:
        environment["GDAL_CACHEMAX"] = cache
    opened: list[Any] = []
    reader: RasterReader | None = None
    try:
        with warnings.catch_warnings(record=True) as heard, rasterio.Env(**environment):
            warnings.simplefilter("always")
            try:
                for _ in range(handles):
                    opened.append(
                        rasterio.open(
                            name, driver="GTiff", sharing=False, OVERVIEW_LEVEL="NONE", NUM_THREADS=2
                        )
                    )
                nowhere = any(w.category is rasterio.errors.NotGeoreferencedWarning for w in heard)
                facts = _facts(str(path), opened[0], place_of(opened[0], nowhere=nowhere))
            except (rasterio.errors.RasterioError, UnicodeDecodeError, ValueError) as error:
                raise UnreadableError(
                    f"GDAL cannot open it as a GeoTIFF: {error}", file=path, remedy="export the file again"
                ) from error
        reader = RasterReader(facts, opened, environment)
        yield reader
    finally:
        if reader is not None:
            reader.close()
        for handle in opened:
            handle.close()


def checked_path(path: str | Path, *, allow_remote: bool = False) -> tuple[str, bool]:
    """The name under which GDAL may open a raster, and whether that is elsewhere than on this machine.

    Raises:
        OptionError: not a plain path, and not an address that is allowed.
        UnreadableError: no regular file, or one without the signature of a TIFF.
    """
    text = str(path)
    remote = REMOTE.match(text)
    if remote and allow_remote:
        return _remote_name(remote[1].lower(), text[remote.end() :]), True
    if _ELSEWHERE.match(text):
        remedy = "download it, or predict with --allow-remote" if remote else "give the path of a local file"
        raise OptionError(f"{text!r} is not a local file", remedy=remedy)
    file = Path(path)
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise UnreadableError("is not a regular file", file=file, remedy="give a GeoTIFF file")
        with file.open("rb") as stream:
            start = stream.read(4)
    except (OSError, ValueError) as error:
        raise UnreadableError("no such file, or no permission", file=file, remedy="check the path") from error
    if start not in SIGNATURES:
        raise UnreadableError(
            "is not a TIFF, whatever its name says; rasters that refer to other files are not followed",
            file=file,
            remedy="convert it: gdal_translate -of COG IN OUT.tif",
        )
    absolute = str(file.resolve())
    if _ELSEWHERE.match(absolute):
        raise OptionError(f"GDAL would take {absolute!r} for something else", remedy="rename the folder")
    return absolute, False


def _remote_name(scheme: str, rest: str) -> str:
    if scheme in _DRIVES:
        return _DRIVES[scheme] + rest
    return f"/vsicurl/{scheme}://{rest}"


def _facts(name: str, dataset: Any, place: Place) -> RasterFacts:
    alpha = dataset.count > 1 and dataset.colorinterp[-1].name == "alpha"
    flags = [flag.name for flag in dataset.mask_flag_enums[0]]
    facts = RasterFacts(
        name=name,
        height=dataset.height,
        width=dataset.width,
        bands=dataset.count,
        dtype=dataset.dtypes[0],
        nodata=tuple(dataset.nodatavals),
        block=dataset.block_shapes[0],
        alpha=alpha,
        masked="per_dataset" in flags and "alpha" not in flags,
        place=place,
    )
    if len(set(dataset.dtypes)) > 1:
        found = f"its bands are of different types: {', '.join(dict.fromkeys(dataset.dtypes))}"
        raise DataError(found, file=name, remedy="export it with one type")
    block = math.prod(facts.block) * facts.bands * np.dtype(facts.dtype).itemsize
    if facts.height * facts.width > MAX_PIXELS or facts.bands > MAX_BANDS or block > MAX_BLOCK:
        raise DataError(
            f"claims {facts.height} x {facts.width} pixels in {facts.bands} bands, in blocks of "
            f"{facts.block[0]} x {facts.block[1]}: more than can be read in windows",
            file=name,
            remedy="write it in smaller blocks: gdal_translate -co TILED=YES IN OUT.tif",
        )
    return facts


def _empty(values: NDArray[Any], nodata: tuple[float | None, ...]) -> NDArray[np.bool_] | None:
    empty: NDArray[np.bool_] | None = None
    if values.dtype.kind == "f":
        lost = np.isnan(values).any(axis=0)
        empty = lost if lost.any() else None
    declared = no_data(values, nodata)
    return empty if declared is None else _either(empty, declared)


def _either(one: NDArray[np.bool_] | None, other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return other if one is None else one | other
