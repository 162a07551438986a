"""Polygons to GeoPackage, GeoJSON, FlatGeobuf and GeoParquet."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.errors import DataError, MissingExtraError, OptionError, OutputError
from pixelwise.files import replacing, write_text
from pixelwise.geo.outlines import Polygons, shapely_of
from pixelwise.geo.polygons import ClassPolygons, document
from pixelwise.geo.surface import crs_of

DECIMALS = 9  # of longitude and latitude: a tenth of a millimetre


def write_polygons(polygons: ClassPolygons, path: str | Path) -> Path:
    """Write polygons in the format of the suffix: .gpkg, .geojson, .fgb or .parquet.

    Each polygon has the fields `class_index`, `class_name` and `area_m2` (`area_px` where the map has no coordinate
    system). GeoPackage, FlatGeobuf and GeoParquet keep the coordinate system of the map. GeoJSON is in longitude and
    latitude, as RFC 7946 has it, unless the map has no coordinate system: then it is in pixels, and says so.

    Raises:
        OptionError: another suffix.
        DataError: GeoJSON of a map that crosses the antimeridian or holds a pole.
        MissingExtraError: pyogrio or pyarrow is not installed.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    WRITERS[check_suffix(path)](polygons, path)
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


def _geojson(polygons: ClassPolygons, path: Path) -> None:
    shapely = shapely_of()
    geometries = polygons.polygons
    member = ""
    if polygons.crs is None:
        member = '"coordinates": "column and row of pixels, not longitude and latitude", '
    else:
        geometries = _in_degrees(geometries, polygons.crs, path)
    texts = shapely.to_geojson(geometries)
    area = f"area_{polygons.unit}"

    def features() -> Iterator[str]:
        rows = zip(
            texts, polygons.values.tolist(), polygons.class_names, polygons.areas.tolist(), strict=True
        )
        for text, value, name, size in rows:
            fields = json.dumps({"class_index": value, "class_name": name, area: size}, ensure_ascii=False)
            yield f'{{"type": "Feature", "geometry": {text}, "properties": {fields}}}'

    head = f'{{"type": "FeatureCollection", {member}"pixelwise": {document(polygons)}, "features": [\n'
    write_text(path, head + ",\n".join(features()) + "\n]}\n")


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


def _through_gdal(driver: str, **options: str) -> Callable[[ClassPolygons, Path], None]:
    def write(polygons: ClassPolygons, path: Path) -> None:
        raw = _pyogrio()
        import pyogrio

        shapely = shapely_of()
        fields = ["class_index", "class_name", f"area_{polygons.unit}"]
        data = [
            polygons.values.astype(np.int32),
            np.array(polygons.class_names, object),
            polygons.areas,
        ]
        with replacing(path) as temporary:
            temporary.unlink()  # GDAL would take the empty file for one of its own
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="'crs' was not provided")  # said in the answer
                    raw.write(
                        str(temporary),
                        shapely.to_wkb(polygons.polygons),
                        data,
                        fields,
                        geometry_type="Polygon",
                        crs=polygons.crs,
                        driver=driver,
                        layer=path.stem,
                        dataset_options=options,
                        layer_options={"DESCRIPTION": document(polygons)},
                    )
            except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
                remedy = "choose another folder, or free some space"
                found = f"GDAL cannot write this file: {error}"
                raise OutputError(found, file=path, remedy=remedy) from error

    return write


def _parquet(polygons: ClassPolygons, path: Path) -> None:
    shapely = shapely_of()
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]"'
        raise MissingExtraError("GeoParquet needs pyarrow, which is not installed", remedy=remedy) from error
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": None if polygons.crs is None else crs_of(polygons.crs).to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
    }
    if len(polygons):
        column["bbox"] = shapely.total_bounds(polygons.polygons).tolist()
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = pyarrow.table(
        {
            "geometry": pyarrow.array(shapely.to_wkb(polygons.polygons).tolist(), pyarrow.binary()),
            "class_index": pyarrow.array(polygons.values.astype(np.int32)),
            "class_name": pyarrow.array(polygons.class_names, pyarrow.string()),
            f"area_{polygons.unit}": pyarrow.array(polygons.areas),
        }
    ).replace_schema_metadata({"geo": json.dumps(geo), "pixelwise": document(polygons)})
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")


def _pyogrio() -> Any:
    try:
        import pyogrio.raw
    except ImportError as error:
        remedy = 'pip install "pixelwise[geo]", or write .geojson'
        raise MissingExtraError("vector files need pyogrio, which is not installed", remedy=remedy) from error
    return pyogrio.raw


WRITERS: dict[str, Callable[[ClassPolygons, Path], None]] = {
    ".gpkg": _through_gdal("GPKG", VERSION="1.2"),  # GDAL before 3.8 warns of the newer one
    ".geojson": _geojson,
    ".fgb": _through_gdal("FlatGeobuf"),
    ".parquet": _parquet,
}
