"""Several rasters of one grid read as one: the parts of a mosaic, listed in a text file, with no data in the gaps."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, UnreadableError
from pixelwise.geo.facts import MAX_PIXELS, RasterFacts
from pixelwise.geo.reader import REMOTE, RasterReader, open_raster
from pixelwise.geo.resampling import ResampledReader, same_pixel_size
from pixelwise.ops.tiles import Box

MARK = "@"  # before the name of a list
OFF_GRID = 0.01  # of a pixel that a part may lie beside the grid, which is how exactly files say it


class Part(NamedTuple):
    """One raster of a mosaic and where it lies in it."""

    name: str
    box: Box


class MosaicReader:
    """Windows of a mosaic, read by several threads at a time; where parts overlap the later one is seen.

    Attributes:
        facts: Those of the first part, with the size and the place of all.
        size: Height and width.
        parts: In the order of the list.
    """

    def __init__(
        self, facts: RasterFacts, parts: Sequence[Part], *, allow_remote: bool, cache: int | None
    ) -> None:
        self.facts, self.size, self.parts = facts, facts.size, parts
        self._allow_remote, self._cache = allow_remote, cache
        self._opening = threading.Lock()  # what GDAL warns of on opening is caught for the whole process

    def read(self, box: Box, *, drop_alpha: bool = False) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """As `RasterReader.read`; a pixel without a part holds no data, and the value for that or 0."""
        bands = self.facts.bands - drop_alpha
        fill = [0 if value is None else value for value in self.facts.nodata[:bands]]
        image = np.empty((box.height, box.width, bands), self.facts.dtype)
        image[:] = np.array(fill).astype(self.facts.dtype)
        empty = np.ones((box.height, box.width), bool)
        for part in self.parts:
            shared = _overlap(box, part.box)
            if shared is None:
                continue
            inner = Box(
                shared.top - part.box.top,
                shared.left - part.box.left,
                shared.bottom - part.box.top,
                shared.right - part.box.left,
            )
            values, missing = self._read(part, inner, drop_alpha)
            there = np.ones(values.shape[:2], bool) if missing is None else ~missing
            place = shared.within(box)
            image[place][there] = values[there]
            empty[place] &= ~there
        return image, empty if empty.any() else None

    def _read(self, part: Part, box: Box, drop_alpha: bool) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        opened = open_raster(part.name, allow_remote=self._allow_remote, cache=self._cache)
        with self._opening:
            reader = opened.__enter__()
        try:
            return reader.read(box, drop_alpha=drop_alpha)
        finally:
            opened.__exit__(None, None, None)


@contextmanager
def open_scene(
    source: str | Path,
    *,
    handles: int = 1,
    allow_remote: bool = False,
    cache: int | None = None,
    pixel_size: float | None = None,
) -> Iterator[RasterReader | MosaicReader | ResampledReader]:
    """Open a GeoTIFF as `open_raster` does, or the mosaic that `@LIST` names; `pixel_size` in metres resamples it.

    Raises:
        DataError: parts of different bands, types or coordinate systems, or off one another's grid; unknown or
            impossible pixel sizes.
        UnreadableError, OptionError: see `open_raster`.
    """
    with _opened(source, handles, allow_remote, cache) as reader:
        if pixel_size is None or same_pixel_size(reader.facts, pixel_size):
            yield reader
        else:
            yield ResampledReader(reader, pixel_size)


@contextmanager
def _opened(
    source: str | Path, handles: int, allow_remote: bool, cache: int | None
) -> Iterator[RasterReader | MosaicReader]:
    if not str(source).startswith(MARK):
        with open_raster(source, handles=handles, allow_remote=allow_remote, cache=cache) as reader:
            yield reader
        return
    known = []
    for name in parts_of(source):
        with open_raster(name, allow_remote=allow_remote) as reader:
            known.append(reader.facts)
    facts, parts = _together(str(source)[len(MARK) :], known)
    yield MosaicReader(facts, parts, allow_remote=allow_remote, cache=cache)


def parts_of(source: str | Path) -> list[str]:
    """The files that a scene is made of: those that `@LIST` lists, or the one it is."""
    if not str(source).startswith(MARK):
        return [str(source)]
    return [str(path) for path in read_list(Path(str(source)[len(MARK) :]))]


def read_list(path: Path) -> list[Path]:
    """What a text file lists: one file, folder or address on each line, relative to the list; # begins a remark.

    Raises:
        UnreadableError: there is no such list, it is no text, or empty.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError("is not a list of inputs", file=path, remedy="give a text file") from error
    named = [line for line in lines if line and not line.startswith("#")]
    if not named:
        raise UnreadableError("the list is empty", file=path, remedy="write one input on each line")
    return [Path(line) if REMOTE.match(line) else path.parent / line for line in named]


def _together(name: str, known: Sequence[RasterFacts]) -> tuple[RasterFacts, list[Part]]:
    """The facts of a mosaic, and where its parts lie in it."""
    first = known[0]
    corners = [_corner(first, facts) for facts in known]
    top, left = min(row for row, _ in corners), min(column for _, column in corners)
    parts = [
        Part(facts.name, Box(row - top, column - left, row - top + facts.height, column - left + facts.width))
        for facts, (row, column) in zip(known, corners, strict=True)
    ]
    height, width = max(part.box.bottom for part in parts), max(part.box.right for part in parts)
    if height * width > MAX_PIXELS:
        raise DataError(
            f"its parts lie {height} x {width} pixels apart",
            file=name,
            remedy="map them as scenes of their own",
        )
    a, b, c, d, e, f = first.place.transform or (1, 0, 0, 0, 1, 0)
    moved = (a, b, c + a * left + b * top, d, e, f + d * left + e * top)
    place = replace(first.place, transform=moved)
    return replace(first, name=name, height=height, width=width, masked=True, place=place), parts


def _corner(first: RasterFacts, facts: RasterFacts) -> tuple[int, int]:
    """Row and column of a part's first pixel in the grid of the first part."""
    same = ("bands", "dtype", "nodata", "alpha")
    other = [key for key in same if repr(getattr(facts, key)) != repr(getattr(first, key))]
    if facts.place.crs != first.place.crs:
        other.append("coordinate system")
    if first.place.transform is None or facts.place.transform is None:
        other.append("place: a part without one cannot be put anywhere")
    if not other and first.place.transform is not None and facts.place.transform is not None:
        a, b, c, d, e, f = first.place.transform
        size = abs(a) + abs(b) + abs(d) + abs(e)
        steps = zip((a, b, d, e), (facts.place.transform[at] for at in (0, 1, 3, 4)), strict=True)
        reach = OFF_GRID * size / max(facts.height, facts.width, first.height, first.width)
        if all(abs(one - two) <= reach for one, two in steps):
            x, y = facts.place.transform[2] - c, facts.place.transform[5] - f
            column, row = (e * x - b * y) / (a * e - b * d), (a * y - d * x) / (a * e - b * d)
            if abs(column - round(column)) <= OFF_GRID and abs(row - round(row)) <= OFF_GRID:
                return round(row), round(column)
        other.append("grid: its pixels do not lie on those of the first part")
    raise DataError(
        f"is no part of the mosaic that begins with {Path(first.name).name}, it has another {other[0]}",
        file=facts.name,
        remedy="bring all parts to one grid first: gdalwarp -tap -tr X Y -t_srs EPSG:CODE IN OUT.tif",
    )


def _overlap(one: Box, other: Box) -> Box | None:
    found = Box(
        max(one.top, other.top),
        max(one.left, other.left),
        min(one.bottom, other.bottom),
        min(one.right, other.right),
    )
    return found if found.height > 0 and found.width > 0 else None
