"""Polygons to GeoPackage, GeoJSON, FlatGeobuf and GeoParquet."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.errors import DataError, MissingExtraError, OptionError, OutputError
from pixelwise.files import replacing
from pixelwise.geo.polygons import ClassPolygons, document
from pixelwise.geo.rings import Polygons, shapely_of
from pixelwise.geo.surface import crs_of

Writer = Callable[[ClassPolygons, Iterator[ClassPolygons], Path], None]  # the first part, all parts, the file
DECIMALS = 9  # of longitude and latitude: a tenth of a millimetre


def write_polygons(polygons: ClassPolygons | Iterable[ClassPolygons], path: str | Path) -> Path:
    """Write polygons in the format of the suffix: .gpkg, .geojson, .fgb or .parquet.

    Each polygon has the fields `class_index`, `class_name` and `area_m2` (`area_px` where the map has no coordinate
    system). GeoPackage, FlatGeobuf and GeoParquet keep the coordinate system of the map. GeoJSON is in longitude and
    latitude, as RFC 7946 has it, unless the map has no coordinate system: then it is in pixels, and says so.

    Args:
        polygons: all of them, or the parts of `polygon_parts`, each written before the next one is asked for.
        path: the file.

    Raises:
        OptionError: another suffix.
        DataError: GeoJSON of a map that crosses the antimeridian or holds a pole.
        MissingExtraError: pyogrio or pyarrow is not installed.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    parts = iter((polygons,) if isinstance(polygons, ClassPolygons) else polygons)
    write = WRITERS[check_suffix(path)]
    first = next(parts)
    write(first, itertools.chain((first,), parts), path)
    return path


def check_suffix(path: str | Path) -> str:
    """The suffix of a vector file that can be written; asked before the work begins.

    Raises:
        OptionError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        found = f"no format for files ending in {suffix or 'nothing'}"
        raise OptionError(found, remedy=f"write to one of {', '.join(f'NAME{known}' for known in WRITERS)}")
    return suffix


def _geojson(head: ClassPolygons, parts: Iterator[ClassPolygons], path: Path) -> None:
    member = ""
    if head.crs is None:
        member = '"coordinates": "column and row of pixels, not longitude and latitude", '
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(f'{{"type": "FeatureCollection", {member}"pixelwise": {document(head)}, "features": [')
        separator = "\n"
        for part in parts:
            for feature in _features(part, path):
                stream.write(separator + feature)
                separator = ",\n"
        stream.write("\n]}\n")


def _features(polygons: ClassPolygons, path: Path) -> Iterator[str]:
    """The polygons of one part, each as a line."""
    geometries = polygons.polygons
    if polygons.crs is not None:
        geometries = _in_degrees(geometries, polygons.crs, path)
    texts = shapely_of().to_geojson(geometries)
    area = f"area_{polygons.unit}"
    rows = zip(texts, polygons.values.tolist(), polygons.class_names, polygons.areas.tolist(), strict=True)
    for text, value, name, size in rows:
        fields = json.dumps({"class_index": value, "class_name": name, area: size}, ensure_ascii=False)
        yield f'{{"type": "Feature", "geometry": {text}, "properties": {fields}}}'


def _in_degrees(geometries: Polygons, crs: str, path: Path) -> Polygons:
    """Longitude and latitude of WGS 84, counterclockwise."""
    import pyproj

    shapely = shapely_of()
    transformer = pyproj.Transformer.from_crs(crs_of(crs), "EPSG:4326", always_xy=True)

    def moved(points: Any) -> Any:
        longitude, latitude = transformer.transform(points[:, 0], points[:, 1])
        return np.round(np.column_stack((longitude, latitude)), DECIMALS)

    placed = shapely.transform(geometries, moved)
    points = shapely.get_coordinates(placed)
    if not np.isfinite(points).all():
        found = "some vertices have no longitude and latitude"
        raise DataError(found, file=path, remedy="check the coordinate system of the map")
    boxes = shapely.bounds(placed).reshape(-1, 4)
    if len(points) and (
        (boxes[:, 2] - boxes[:, 0]).max() > 180
        or np.abs(points[:, 0]).max() > 180
        or np.abs(points[:, 1]).max() > 90
    ):
        found = (
            "the map crosses the antimeridian or holds a pole, where GeoJSON would need polygons cut in two"
        )
        raise DataError(
            found, file=path, remedy="write .gpkg, .fgb or .parquet, which keep the map's own coordinates"
        )
    oriented: Polygons = shapely.orient_polygons(placed)
    return oriented


def _through_gdal(driver: str, **options: str) -> Writer:
    def write(head: ClassPolygons, parts: Iterator[ClassPolygons], path: Path) -> None:
        raw = _pyogrio()
        import pyogrio

        pyarrow = _pyarrow()
        schema = _schema(head)
        raised: list[Exception] = []

        def batches() -> Iterator[Any]:
            try:
                for part in parts:
                    yield pyarrow.record_batch(_columns(part), schema=schema)
            except Exception as error:  # GDAL, which asks for batches, has no way to hand it on
                raised.append(error)
                raise

        with replacing(path) as temporary:
            temporary.unlink()  # GDAL would take the empty file for one of its own
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="'crs' was not provided")  # said in the answer
                    raw.write_arrow(
                        pyarrow.RecordBatchReader.from_batches(schema, batches()),
                        str(temporary),
                        geometry_name="geometry",
                        geometry_type="Polygon",
                        crs=head.crs,
                        driver=driver,
                        layer=path.stem,
                        dataset_options=options,
                        layer_options={"DESCRIPTION": document(head)},
                    )
            except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, RuntimeError) as error:
                if raised:
                    raise raised[0] from error
                remedy = "choose another folder, or free some space"
                found = f"GDAL cannot write this file: {error}"
                raise OutputError(found, file=path, remedy=remedy) from error

    return write


def _parquet(head: ClassPolygons, parts: Iterator[ClassPolygons], path: Path) -> None:
    pyarrow = _pyarrow()
    from pyarrow import parquet

    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": None if head.crs is None else crs_of(head.crs).to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
    }
    boxes = []
    schema = _schema(head)
    with (
        replacing(path) as temporary,
        parquet.ParquetWriter(temporary, schema, compression="zstd", store_schema=False) as writer,
    ):
        for part in parts:
            writer.write_batch(pyarrow.record_batch(_columns(part), schema=schema))
            if len(part):
                boxes.append(shapely_of().total_bounds(part.polygons))
        if boxes:
            every = np.array(boxes)
            column["bbox"] = [*every[:, :2].min(axis=0).tolist(), *every[:, 2:].max(axis=0).tolist()]
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        writer.add_key_value_metadata({"geo": json.dumps(geo), "pixelwise": document(head)})


def _schema(head: ClassPolygons) -> Any:
    """Names and types of the columns."""
    pyarrow = _pyarrow()
    kinds = {"geometry": pyarrow.binary(), "class_index": pyarrow.int32(), "class_name": pyarrow.string()}
    wkb = {"ARROW:extension:name": "geoarrow.wkb"}
    fields = [
        pyarrow.field(name, kind) for name, kind in (kinds | {f"area_{head.unit}": pyarrow.float64()}).items()
    ]
    return pyarrow.schema([fields[0].with_metadata(wkb), *fields[1:]])


def _columns(part: ClassPolygons) -> list[Any]:
    """The values of the columns."""
    pyarrow = _pyarrow()
    return [
        pyarrow.array(shapely_of().to_wkb(part.polygons).tolist(), pyarrow.binary()),
        pyarrow.array(part.values.astype(np.int32)),
        pyarrow.array(part.class_names, pyarrow.string()),
        pyarrow.array(part.areas),
    ]


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]"'
        found = "vector files need pyarrow, which is not installed"
        raise MissingExtraError(found, remedy=remedy) from error
    return pyarrow


def _pyogrio() -> Any:
    try:
        import pyogrio.raw
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]", or write .geojson'
        raise MissingExtraError("vector files need pyogrio, which is not installed", remedy=remedy) from error
    return pyogrio.raw


WRITERS: dict[str, Writer] = {
    ".gpkg": _through_gdal("GPKG", VERSION="1.2"),  # GDAL before 3.8 warns of the newer one
    ".geojson": _geojson,
    ".fgb": _through_gdal("FlatGeobuf"),
    ".parquet": _parquet,
}
