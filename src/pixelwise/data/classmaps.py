"""Open a class map from any file that holds one: a GeoTIFF in strips, or an image as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.classes import ClassTable
from pixelwise.data.read import RawMask, read_mask
from pixelwise.errors import MaskError
from pixelwise.geo.classmaps import ArrayMap, ClassMap, GeoTiffColors, GeoTiffMap, Grid, open_colors, open_map
from pixelwise.types import IGNORE, Labels


@dataclass(frozen=True)
class _Translated:
    """A GeoTIFF of indices or colours, which a class table translates."""

    source: GeoTiffMap | GeoTiffColors
    table: ClassTable

    @property
    def grid(self) -> Grid:
        return self.source.grid

    @property
    def names(self) -> tuple[str, ...]:
        return self.table.names

    def strips(self) -> Iterator[Labels]:
        nodata = IGNORE if isinstance(self.source, GeoTiffMap) else None
        for values in self.source.strips():
            yield self.table.to_labels(RawMask(values, nodata=nodata), self.source.path)


def open_class_map(path: str | Path, table: ClassTable | None = None) -> ClassMap:
    """A class map in a GeoTIFF, of indices or colours, or in a PNG or another image without compression losses.

    Args:
        path: a file of one band of class indices, or of the colours of `table`.
        table: the classes; what it says of mask values is followed.

    Raises:
        UnreadableError: missing, empty, damaged.
        MaskError: no class map: colours, several bands, lossy, a value that is in no class.
    """
    path = Path(path)
    if path.suffix.lower() in (".tif", ".tiff"):
        colors = open_colors(path) if table is not None and table.colors else None
        if colors is not None and table is not None:
            return _Translated(colors, table)
        source = open_map(path)
        translates = table is not None and (table.values is not None or bool(table.ignore))
        return _Translated(source, table) if table is not None and translates else source
    mask = read_mask(path)
    if table is not None:
        return ArrayMap.of(table.to_labels(mask, path))
    if mask.values.ndim != 2:
        remedy = "give a map of class indices, or --classes FILE with the colour of each class"
        raise MaskError("holds colours, not class indices", file=path, remedy=remedy)
    if int(mask.values.max()) > IGNORE or int(mask.values.min()) < 0:
        found = f"holds values from {mask.values.min()} to {mask.values.max()}"
        raise MaskError(found, file=path, remedy="classes are 0 to 254, and 255 means none")
    return ArrayMap.of(mask.values.astype(np.uint8))
