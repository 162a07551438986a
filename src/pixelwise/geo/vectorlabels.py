"""Polygons that people drew in a GIS, read from files of four formats and brought onto the pixels of a scene.

Each format has one reader: GeoJSON is parsed as JSON, GeoParquet by pyarrow, GeoPackage and FlatGeobuf by GDAL,
read-only and only when the content begins as such a file does. The vectors are reprojected, never the raster, and a
pixel has the class of the polygon that holds its centre.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ClassesError, DataError, MissingExtraError, UnreadableError, close_matches
from pixelwise.geo.classmaps import Grid
from pixelwise.geo.inputs import regular_file
from pixelwise.geo.raster import load_rasterio
from pixelwise.geo.rings import Polygons, shapely_of
from pixelwise.geo.surface import crs_of
from pixelwise.ops.tiles import Box

KINDS: dict[str, tuple[bytes, ...]] = {
    ".gpkg": (b"SQLite format 3\0",),
    ".geojson": (b"{", b" ", b"\n", b"\r", b"\t", b"\xef\xbb\xbf"),
    ".fgb": (b"fgb\x03",),
    ".parquet": (b"PAR1",),
}
MAX_BYTES = 4 << 30
_MAX_JSON = 1 << 30  # parsed as a whole
MAX_POLYGONS = 20_000_000


@dataclass(frozen=True, eq=False)
class VectorFile:
    """The polygons of a file.

    Attributes:
        path: The file.
        polygons: [n] shapely polygons and multipolygons, valid, in the coordinates of the file.
        crs: Its coordinate system, anything that pyproj understands.
        columns: The columns of its table.
        texts: [n], what the asked column says of each polygon, as text; None where it says nothing. Empty when no
            column was asked for.
        mended: How many polygons were invalid and have been mended.
        empty: How many rows had no geometry.
    """

    path: Path
    polygons: Polygons
    crs: Any
    columns: tuple[str, ...]
    texts: tuple[str | None, ...]
    mended: int
    empty: int


@dataclass(frozen=True, eq=False)
class PlacedPolygons:
    """Polygons in the pixel corners of a scene, [n], their values uint8 [n], and a tree to find them by place."""

    polygons: Polygons
    values: NDArray[np.uint8]
    tree: Any


def read_vectors(path: str | Path, column: str | None = None) -> VectorFile:
    """Read the polygons of a GeoPackage, GeoJSON, FlatGeobuf or GeoParquet file.

    Raises:
        UnreadableError: an address, another kind of file, damaged, too large, several layers.
        DataError: no coordinate system, no polygon, or other geometries than polygons.
        ClassesError: there is no such column.
    """
    path = regular_file(path, KINDS, most_bytes=MAX_BYTES)
    suffix = path.suffix.lower()
    read = {".geojson": _geojson, ".parquet": _parquet}.get(suffix, through_gdal)
    geometries, crs, columns, values = read(path, column)
    if column is not None and column not in columns:
        remedy = f"{close_matches(column, columns)}; write column: NAME into classes.yaml"
        raise ClassesError(f"has no column {column!r}", file=path, remedy=remedy)
    if crs is None:
        remedy = "set its coordinate system in the GIS and save it again"
        raise DataError("does not say its coordinate system", file=path, remedy=remedy)
    if len(geometries) > MAX_POLYGONS:
        found = f"holds {len(geometries):,} polygons, more than {MAX_POLYGONS:,}"
        raise UnreadableError(found, file=path, remedy="cut it into one file per scene")
    shapely = shapely_of()
    there = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    polygons, mended = _polygons(geometries[there], path)
    _check_degrees(polygons, crs, path)
    texts = tuple(_text(values[row]) for row in np.flatnonzero(there)) if column is not None else ()
    return VectorFile(path, polygons, crs, tuple(columns), texts, mended, int((~there).sum()))


def place(file: VectorFile, values: NDArray[np.uint8], grid: Grid) -> PlacedPolygons:
    """Bring polygons with their values onto the pixels of a scene; those that do not touch it are left out.

    Raises:
        DataError: the scene has no coordinate system.
    """
    shapely = shapely_of()
    if grid.crs is None:
        remedy = "give the scene its coordinate system, for instance with gdal_edit -a_srs"
        raise DataError("has no coordinate system, so no polygon can be found on it", remedy=remedy)
    import pyproj

    transformer = pyproj.Transformer.from_crs(crs_of(file.crs), crs_of(grid.crs), always_xy=True)

    def moved(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return grid.to_pixels(np.column_stack(transformer.transform(points[:, 0], points[:, 1])))

    placed = shapely.transform(file.polygons, moved)
    boxes = shapely.bounds(placed).reshape(-1, 4)
    inside = np.isfinite(boxes).all(axis=1)
    with np.errstate(invalid="ignore"):
        inside &= (
            (boxes[:, 2] > 0) & (boxes[:, 3] > 0) & (boxes[:, 0] < grid.width) & (boxes[:, 1] < grid.height)
        )
    chosen: Polygons = placed[inside]
    return PlacedPolygons(chosen, values[inside], shapely.STRtree(chosen))


def burn(placed: PlacedPolygons, box: Box, outside: int) -> NDArray[np.uint8]:
    """Labels [h, w] of a window of the scene; where polygons overlap, the later one in the file counts."""
    load_rasterio()
    from rasterio import Affine, features

    shapely = shapely_of()
    window = shapely.box(box.left, box.top, box.right, box.bottom)
    chosen = np.sort(placed.tree.query(window, predicate="intersects"))
    labels = np.full((box.height, box.width), outside, np.uint8)
    if len(chosen):
        shapes = zip(placed.polygons[chosen], placed.values[chosen].tolist(), strict=True)
        features.rasterize(
            shapes, out=labels, transform=Affine.translation(box.left, box.top), all_touched=False
        )
    return labels


def _polygons(geometries: Polygons, path: Path) -> tuple[Polygons, int]:
    """Flat valid polygons, and how many had to be mended."""
    shapely = shapely_of()
    if not len(geometries):
        raise DataError("holds no polygon", file=path, remedy="draw some, or take the file away")
    kinds = shapely.get_type_id(geometries)
    other = ~np.isin(kinds, (3, 6))
    if other.any():
        kind = geometries[int(np.flatnonzero(other)[0])].geom_type
        found = f"{int(other.sum())} of {len(geometries)} geometries are no polygons (the first is a {kind})"
        raise DataError(found, file=path, remedy="give polygons; widen lines by a buffer in the GIS")
    flat = shapely.force_2d(geometries)
    bad = ~shapely.is_valid(flat)
    if bad.any():
        flat[bad] = shapely.make_valid(flat[bad], method="structure", keep_collapsed=False)
    return flat, int(bad.sum())


def _check_degrees(polygons: Polygons, crs: Any, path: Path) -> None:
    shapely = shapely_of()
    left, bottom, right, top = shapely.total_bounds(polygons)
    if crs_of(crs).is_geographic and (
        max(abs(left), abs(right)) > 360 or max(abs(bottom), abs(top)) > 90.0001
    ):
        far = f"{max(abs(left), abs(right)):g}, {max(abs(bottom), abs(top)):g}"
        found = f"says that it is in degrees and reaches to {far}"
        remedy = "save it with the coordinate system that its numbers are in, or with longitude first"
        raise DataError(found, file=path, remedy=remedy)


def _text(value: Any) -> str | None:
    """A cell as text: whole numbers without a point, nothing as None."""
    if value is None or value != value or value == "":
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip() or None


_Read = tuple[Polygons, Any, list[str], Any]


def _geojson(path: Path, column: str | None) -> _Read:
    shapely = shapely_of()
    try:
        if path.stat().st_size > _MAX_JSON:
            raise UnreadableError("is too large for GeoJSON", file=path, remedy="save it as GeoPackage")
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
        kind = document["type"]
        if kind not in ("FeatureCollection", "Feature"):
            raise ValueError(f"type {kind!r}")
        features = document["features"] if kind == "FeatureCollection" else [document]
        texts = [json.dumps(f["geometry"]) if f.get("geometry") else None for f in features]
        geometries = np.asarray(shapely.from_geojson(np.array(texts, object)), object)
        rows = [feature.get("properties") or {} for feature in features]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        crs = document["crs"]["properties"]["name"] if document.get("crs") else "OGC:CRS84"
        return geometries, crs, columns, [row.get(column) for row in rows]
    except UnreadableError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        shapely.errors.ShapelyError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise UnreadableError(f"is no GeoJSON ({reason})", file=path, remedy="export it again") from error


def _parquet(path: Path, column: str | None) -> _Read:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]"'
        raise MissingExtraError("GeoParquet needs pyarrow, which is not installed", remedy=remedy) from error
    shapely = shapely_of()
    try:
        source = pyarrow.parquet.ParquetFile(path)
        geo = json.loads((source.schema_arrow.metadata or {})[b"geo"])
        primary = geo["primary_column"]
        meta = geo["columns"][primary]
        if meta["encoding"] != "WKB":
            raise ValueError(f"encoding {meta['encoding']}, not WKB")
        columns = [name for name in source.schema_arrow.names if name != primary]
        wanted = [primary, *([column] if column in columns else [])]
        table = source.read(columns=wanted)
        geometries = np.asarray(shapely.from_wkb(np.array(table[primary].to_pylist(), object)), object)
        crs = json.dumps(meta["crs"]) if meta.get("crs") else (None if "crs" in meta else "OGC:CRS84")
        return geometries, crs, columns, table[column].to_pylist() if column in columns else []
    except (
        ValueError,
        KeyError,
        TypeError,
        OSError,
        pyarrow.ArrowException,
        shapely.errors.ShapelyError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        remedy = "export it again as GeoParquet, with its geometry as WKB"
        raise UnreadableError(f"is no GeoParquet ({reason})", file=path, remedy=remedy) from error


def through_gdal(path: Path, column: str | None) -> _Read:
    """GeoPackage and FlatGeobuf; the content has been looked at, so GDAL takes its driver for that content."""
    try:
        import pyogrio
        import pyogrio.errors
        import pyogrio.raw
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]", or give GeoJSON'
        raise MissingExtraError("vector files need pyogrio, which is not installed", remedy=remedy) from error
    shapely = shapely_of()
    driver = {".gpkg": "GPKG", ".fgb": "FlatGeobuf"}[path.suffix.lower()]
    # IMMUTABLE: no lock, no journal, no -wal file beside a GeoPackage
    options = {"IMMUTABLE": "YES"} if driver == "GPKG" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # GDAL's remarks; what matters is an error
            layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
            if len(layers) != 1:
                found = f"has {len(layers)} layers with geometries: {', '.join(layers[:10])}"
                raise UnreadableError(
                    found, file=path, remedy="save the one with the labels as a file of its own"
                )
            info = pyogrio.read_info(path, layer=layers[0])
            if info["driver"] != driver:
                raise UnreadableError(f"is not a {driver} file", file=path, remedy="export it again")
            columns = [str(name) for name in info["fields"]]
            wanted = [column] if column in columns else []
            meta, _, wkb, fields = pyogrio.raw.read(path, layer=layers[0], columns=wanted, **options)
            geometries = np.asarray(shapely.from_wkb(wkb), object)
            return geometries, meta["crs"], columns, fields[0].tolist() if wanted else []
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
        pyogrio.errors.GeometryError,
        shapely.errors.ShapelyError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise UnreadableError(
            f"GDAL cannot read it: {reason}", file=path, remedy="export it again"
        ) from error
