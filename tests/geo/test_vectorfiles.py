"""The four vector formats, read back by GDAL, by pyarrow and as plain JSON."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pyarrow.parquet
import pyogrio
import pyproj
import pytest
import shapely

from pixelwise.errors import DataError, OptionError, OutputError
from pixelwise.geo.classmaps import ArrayMap, Grid
from pixelwise.geo.polygons import polygonize
from pixelwise.geo.vectorfiles import write_polygons

UTM = (0.5, 0.0, 4e5, 0.0, -0.5, 5.2e6)
LABELS = np.array([[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 255], [2, 2, 2, 2]], np.uint8)
NAMES = ("ground", 'roof "<b>é', "road")


def polygons(crs="EPSG:32632", transform=UTM, labels=LABELS):
    return polygonize(ArrayMap(labels, Grid(*labels.shape, transform, crs)), names=NAMES)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_gdal_reads_back_what_was_written(tmp_path, suffix):
    found = polygons()
    path = write_polygons(found, tmp_path / f"map{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    meta, _, geometries, fields = pyogrio.raw.read(path)
    assert meta["crs"] == "EPSG:32632"
    assert list(meta["fields"]) == ["class_index", "class_name", "area_m2"]
    read = shapely.from_wkb(geometries)
    order = np.argsort(shapely.area(read))  # FlatGeobuf sorts by place
    expected = np.argsort(shapely.area(found.polygons))
    assert shapely.equals(read[order], found.polygons[expected]).all()
    assert fields[0][order].tolist() == found.values[expected].tolist()
    assert fields[1][order].tolist() == [NAMES[value] for value in found.values[expected]]
    assert fields[2][order].tolist() == found.areas[expected].tolist()
    info = pyogrio.read_info(path)
    said = json.loads(info["layer_metadata"]["DESCRIPTION"])
    assert "equal-area" in said["areas"]
    assert said["classes"][1] == {"index": 1, "name": NAMES[1]}


def test_geojson_is_rfc_7946(tmp_path):
    found = polygons()
    document = json.loads(write_polygons(found, tmp_path / "map.geojson").read_text("utf-8"))
    assert document["type"] == "FeatureCollection"
    assert "crs" not in document
    to_degrees = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform
    for feature, polygon, area in zip(document["features"], found.polygons, found.areas, strict=True):
        outer, *inner = feature["geometry"]["coordinates"]
        assert shapely.LinearRing(outer).is_ccw
        assert not any(shapely.LinearRing(ring).is_ccw for ring in inner)
        expected = shapely.transform(polygon, lambda p: np.column_stack(to_degrees(p[:, 0], p[:, 1])))
        assert shapely.hausdorff_distance(shapely.geometry.shape(feature["geometry"]), expected) < 1e-9
        assert feature["properties"]["area_m2"] == area
    assert len(document["features"][0]["geometry"]["coordinates"]) == 2  # the hole is kept
    assert shapely.coverage_is_valid([shapely.geometry.shape(f["geometry"]) for f in document["features"]])
    assert [feature["properties"]["class_name"] for feature in document["features"]] == found.class_names


def test_geoparquet_says_what_version_1_1_asks_for(tmp_path):
    found = polygons()
    table = pyarrow.parquet.read_table(write_polygons(found, tmp_path / "map.parquet"))
    geo = json.loads(table.schema.metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    column = geo["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert pyproj.CRS.from_json_dict(column["crs"]) == pyproj.CRS("EPSG:32632")
    assert column["bbox"] == [4e5, 5.2e6 - 2, 4e5 + 2, 5.2e6]
    read = shapely.from_wkb(table["geometry"].to_pylist())
    assert shapely.equals(read, found.polygons).all()
    assert all(polygon.exterior.is_ccw for polygon in read)  # as `orientation` says
    assert table["class_name"].to_pylist() == found.class_names
    assert table["area_m2"].to_pylist() == found.areas.tolist()


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".parquet"])
def test_a_map_without_coordinate_system_stays_in_pixels(tmp_path, suffix):
    found = polygonize(ArrayMap.of(LABELS))
    path = write_polygons(found, tmp_path / f"map{suffix}")
    if suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        assert json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]["crs"] is None
        total = sum(table["area_px"].to_pylist())
    elif suffix == ".geojson":
        document = json.loads(path.read_text())
        assert "pixels" in document["coordinates"]
        total = sum(feature["properties"]["area_px"] for feature in document["features"])
    else:
        meta, _, _, fields = pyogrio.raw.read(path)
        assert "Unknown" in str(meta["crs"]) or meta["crs"] is None or "Undefined" in str(meta["crs"])
        assert meta["fields"][2] == "area_px"
        total = fields[2].sum()
    assert total == 15


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", (0.1, 0, 179.8, 0, -0.1, 10)),
        ("EPSG:32601", (1e5, 0, 2e5, 0, -1e5, 5e6)),
        ("EPSG:3413", (1e5, 0, -2e5, 0, -1e5, 2e5)),
    ],
)
def test_geojson_across_the_antimeridian_is_refused(tmp_path, crs, transform):
    found = polygons(crs, transform, np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="antimeridian"):
        write_polygons(found, tmp_path / "map.geojson")
    write_polygons(found, tmp_path / "map.gpkg")


def test_the_suffix_decides_and_an_existing_file_is_replaced(tmp_path):
    with pytest.raises(OptionError, match=r"NAME.gpkg, NAME.geojson, NAME.fgb, NAME.parquet"):
        write_polygons(polygons(), tmp_path / "map.shp")
    path = tmp_path / "map.GPKG"
    for count in (3, 4):
        write_polygons(polygons(labels=np.arange(count, dtype=np.uint8)[None] % 3), path)
        assert pyogrio.read_info(path)["features"] == count
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_polygons(polygons(), tmp_path / "file" / "map.gpkg")


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".parquet"])
def test_no_polygons_are_a_file_too(tmp_path, suffix):
    found = polygons(labels=np.full((2, 2), 255, np.uint8))
    path = write_polygons(found, tmp_path / f"none{suffix}")
    if suffix == ".parquet":
        assert pyarrow.parquet.read_table(path).num_rows == 0
    else:
        assert len(pyogrio.raw.read(path)[2]) == 0


def test_geopackages_are_of_a_version_that_older_readers_know(tmp_path):
    write_polygons(polygons(), tmp_path / "map.gpkg")
    with closing(sqlite3.connect(tmp_path / "map.gpkg")) as database:
        assert database.execute("pragma user_version").fetchone() == (10200,)
