"""Polygons from four formats onto the pixels of a scene, judged by rasterising in other ways."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely

from pixelwise.errors import ClassesError, DataError, UnreadableError
from pixelwise.geo.classmaps import ArrayMap, Grid
from pixelwise.geo.polygons import polygonize
from pixelwise.geo.vectorfiles import write_polygons
from pixelwise.geo.vectorlabels import burn, place, read_vectors
from pixelwise.ops.tiles import Box

UTM = (0.5, 0.0, 4e5, 0.0, -0.5, 5.2e6)
NAMES = ("field", "wood", "road")
VRT = b"<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>%s</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"


@pytest.fixture(scope="module")
def labels():
    return np.kron(np.random.default_rng(0).integers(0, 3, (9, 7)), np.ones((4, 6))).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".parquet"])
@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:3035"])
def test_a_map_made_polygons_comes_back_pixel_by_pixel(tmp_path, labels, suffix, crs):
    """The written polygons, burnt onto the grid they come from, whatever the format and its coordinate system."""
    transform = UTM if crs == "EPSG:32632" else (0.5, 0.0, 4.1e6, 0.0, -0.5, 2.9e6)
    source = ArrayMap(labels, Grid(*labels.shape, transform, crs))
    path = write_polygons(polygonize(source, names=NAMES), tmp_path / f"map{suffix}")
    before = path.read_bytes()
    file = read_vectors(path, "class_name")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert set(file.columns) == {"class_index", "class_name", "area_m2"}
    values = np.array([NAMES.index(text) for text in file.texts], np.uint8)
    placed = place(file, values, source.grid)
    assert np.array_equal(burn(placed, Box(0, 0, *labels.shape), 255), labels)
    assert np.array_equal(burn(placed, Box(3, 5, 17, 40), 255), labels[3:17, 5:40])
    assert read_vectors(path, "class_index").texts == tuple(str(value) for value in values)


def geojson(path, *geometries, crs=None, **properties):
    rows = [{"type": "Feature", "geometry": one, "properties": properties} for one in geometries]
    document = {"type": "FeatureCollection", "features": rows}
    if crs:
        document["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(document))
    return path


def square(left, top, size):
    return shapely.geometry.mapping(shapely.box(left, top - size, left + size, top))


def test_the_vectors_are_reprojected_and_the_centre_of_a_pixel_decides(tmp_path):
    grid = Grid(20, 30, UTM, "EPSG:32632")
    ring = shapely.box(4e5 + 2.6, 5.2e6 - 4.1, 4e5 + 7.4, 5.2e6 - 1.2)
    to_degrees = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform
    moved = shapely.transform(ring, lambda p: np.column_stack(to_degrees(p[:, 0], p[:, 1])))
    file = read_vectors(geojson(tmp_path / "a.geojson", shapely.geometry.mapping(moved)))
    found = burn(place(file, np.array([7], np.uint8), grid), Box(0, 0, 20, 30), 0)
    rows, columns = np.mgrid[:20, :30]
    x, y = 4e5 + (columns + 0.5) * 0.5, 5.2e6 - (rows + 0.5) * 0.5
    expected = (x > 4e5 + 2.6) & (x < 4e5 + 7.4) & (y > 5.2e6 - 4.1) & (y < 5.2e6 - 1.2)
    assert np.array_equal(found, np.where(expected, 7, 0))
    elsewhere = Grid(20, 30, (0.5, 0.0, 5e5, 0.0, -0.5, 5.2e6), "EPSG:32632")
    assert len(place(file, np.array([7], np.uint8), elsewhere).polygons) == 0
    with pytest.raises(DataError, match="no coordinate system"):
        place(file, np.array([7], np.uint8), Grid(20, 30, UTM))


def test_the_later_polygon_covers_the_earlier(tmp_path):
    shapes = [square(4e5, 5.2e6, 4), square(4e5 + 2, 5.2e6, 4)]
    for order in ((0, 1), (1, 0)):
        path = geojson(tmp_path / "a.geojson", *(shapes[i] for i in order), crs="EPSG:32632")
        placed = place(read_vectors(path), np.array([1, 2], np.uint8), Grid(8, 12, UTM, "EPSG:32632"))
        assert burn(placed, Box(0, 0, 8, 12), 0)[0].tolist() == (
            [1] * 4 + [2] * 8 if order == (0, 1) else [2] * 8 + [1] * 4
        )


def test_invalid_polygons_are_mended_and_counted(tmp_path):
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]}
    flat = {"type": "Polygon", "coordinates": [[[0, 0, 9], [1, 0, 9], [1, 1, 9], [0, 0, 9]]]}
    file = read_vectors(geojson(tmp_path / "a.geojson", bow, flat, None))
    assert (file.mended, file.empty, len(file.polygons)) == (1, 1, 2)
    assert shapely.is_valid(file.polygons).all()
    assert shapely.area(file.polygons).tolist() == [8, 0.5]
    assert not shapely.has_z(file.polygons).any()


@pytest.mark.parametrize(
    ("geometries", "options", "error", "message"),
    [
        ([square(4e5, 5.2e6, 4)], {}, DataError, "in degrees and reaches to 400004, 5.2e"),
        (
            [{"type": "LineString", "coordinates": [[0, 0], [1, 1]]}],
            {},
            DataError,
            "1 of 1 .* is a LineString",
        ),
        ([], {}, DataError, "holds no polygon"),
        ([None], {}, DataError, "holds no polygon"),
        ([square(0, 1, 1)], {"crs": "EPSG:1"}, DataError, "unknown coordinate system"),
        ([square(0, 1, 1)], {"kind": "a"}, ClassesError, "did you mean 'kind'"),
    ],
)
def test_files_that_hold_no_labels(tmp_path, geometries, options, error, message):
    path = geojson(tmp_path / "a.geojson", *geometries, **options)
    with pytest.raises(error, match=message):
        read_vectors(path, "kinds" if "kind" in options else None)


def test_a_file_without_coordinate_system_or_with_several_layers(tmp_path, labels):
    path = write_polygons(polygonize(ArrayMap.of(labels)), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="does not say its coordinate system"):
        read_vectors(path)
    path = write_polygons(
        polygonize(ArrayMap(labels, Grid(*labels.shape, UTM, "EPSG:32632"))), tmp_path / "a.gpkg"
    )
    wkb = shapely.to_wkb(np.array([shapely.box(0, 0, 1, 1)], object))
    pyogrio.raw.write(path, wkb, [], [], geometry_type="Polygon", crs="EPSG:32632", layer="more", append=True)
    with pytest.raises(UnreadableError, match="2 layers with geometries: a, more"):
        read_vectors(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gpkg", VRT % b"/etc/passwd"),
        ("a.fgb", b"PK\x03\x04 zip"),
        ("a.vrt", b"<OGRVRTDataSource/>"),
        ("a.shp.zip", b"PK\x03\x04"),
        ("a.geojson", b'{"type": "Topology"}'),
        ("a.geojson", b"{" + b'"a":{' * 100_000),
        ("a.geojson", b'{"type": "FeatureCollection", "features": 3}'),
        ("a.geojson", b'{"type": "FeatureCollection", "features": [{"geometry": {"type": "Polygon"}}]}'),
        ("a.geojson", b"<xml>"),
        ("a.gpkg", b"SQLite format 3\0" + b"\0" * 90),
        ("a.fgb", b"fgb\x03fgb\0" + b"\xff" * 90),
        ("a.parquet", b"PAR1" + b"\xff" * 90),
        ("a.gpkg", b""),
    ],
)  # fmt: skip
def test_other_files_are_not_opened(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError):
        read_vectors(tmp_path / name)


def test_nothing_is_asked_over_the_network(tmp_path, loopback, monkeypatch):
    asked = []

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Canary)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.chdir(tmp_path)
    try:
        address = f"http://127.0.0.1:{server.server_port}/a.gpkg"
        for path in (
            address,
            f"/vsicurl/{address}",
            f"/VSICURL/{address}",
            f"GeoJSON:{address}",
            "/vsizip/a.zip/a.gpkg",
        ):
            with pytest.raises(UnreadableError, match="not a file on this machine"):
                read_vectors(path)
        vrt = VRT % f"/vsicurl/{address}".encode()
        for name in ("a.gpkg", "a.geojson", "a.fgb"):
            (tmp_path / name).write_bytes(vrt)
            with pytest.raises(UnreadableError):
                read_vectors(name)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert asked == []
