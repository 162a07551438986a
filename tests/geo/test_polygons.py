"""Polygons of class maps, judged by rasterising them back, by pyproj's geodesic areas and by laws of coverages."""

import time

import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from pixelwise.errors import DataError, MaskError, OptionError, UnreadableError
from pixelwise.geo.classmaps import ArrayMap, Grid, open_map
from pixelwise.geo.outlines import trace
from pixelwise.geo.polygons import PolygonOptions, polygonize
from pixelwise.geo.surface import Surface

LABELS = arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 2, 255])
)
UTM = (30.0, 0.0, 4e5, 0.0, -30.0, 5.2e6)


def blobs(height, width, classes=4, smooth=3.0, seed=0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), smooth)
    return np.digitize(noise / noise.std(), np.linspace(-1, 1, classes - 1)).astype(np.uint8)


def strips(labels, rows):
    return [labels[top : top + rows] for top in range(0, len(labels), rows)]


@given(LABELS, st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_polygons_are_the_pixels_and_know_no_strips(labels, rows):
    found = polygonize(ArrayMap.of(labels, rows=rows))
    assert shapely.is_valid(found.polygons).all()
    shapes = list(zip(found.polygons, found.values.tolist(), strict=True))
    back = rasterio.features.rasterize(shapes, labels.shape, fill=255, dtype="uint8") if shapes else labels
    assert np.array_equal(back, labels)
    for value in (0, 1, 2):  # 4-connected components are counted by another library
        chosen = found.values == value
        assert chosen.sum() == ndimage.label(labels == value)[1]
        assert found.areas[chosen].sum() == (labels == value).sum()
    whole = polygonize(ArrayMap.of(labels, rows=len(labels)))
    assert list(shapely.to_wkt(shapely.normalize(whole.polygons))) == list(
        shapely.to_wkt(shapely.normalize(found.polygons))
    )


@given(LABELS, st.integers(1, 6), st.floats(0.1, 5.0))
@settings(max_examples=60, deadline=None)
def test_neighbours_share_their_borders_before_and_after_they_are_simplified(labels, rows, tolerance):
    exact = trace(strips(labels, rows))
    assert shapely.coverage_is_valid(exact.polygons)
    found = polygonize(ArrayMap.of(labels, rows=rows), PolygonOptions(simplify=tolerance))
    assert shapely.coverage_is_valid(found.polygons)
    assert shapely.is_valid(found.polygons).all()
    without = found.values.size == len(exact.values)
    if without:  # nothing is ignored: the polygons fill the frame
        assert shapely.area(found.polygons).sum() == pytest.approx(labels.size, abs=1e-9)
        assert shapely.union_all(found.polygons).area == pytest.approx(labels.size, abs=1e-9)


def test_simplifying_takes_the_steps_out_of_a_slanting_border():
    rows, columns = np.mgrid[:60, :60]
    labels = (columns > rows * 0.7 + 4).astype(np.uint8)
    exact, simple = (polygonize(ArrayMap.of(labels), PolygonOptions(simplify=size)) for size in (0.0, 1.5))
    assert shapely.get_num_coordinates(exact.polygons).sum() > 100
    assert shapely.get_num_coordinates(simple.polygons).sum() < 40
    assert np.allclose(simple.areas, exact.areas, rtol=0.02)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32632", UTM),
        ("EPSG:3857", (0.5, 0.0, 1e6, 0.0, -0.5, 8e6)),
        ("EPSG:4326", (1e-4, 0.0, 10.0, 0.0, -1e-4, 60.0)),
        ("EPSG:3413", (1000.0, 0.0, -7e4, 0.0, -1000.0, 6e4)),  # around the pole
        ("EPSG:32632", (24.0, 18.0, 4e5, 18.0, -24.0, 5.2e6)),  # rotated
        ("EPSG:4326", (1e-4, 0.0, 10.0, 0.0, 1e-4, 60.0)),  # south up
    ],
)
def test_areas_are_those_of_the_raster_and_of_the_ellipsoid(crs, transform):
    labels = blobs(120, 140)
    source = ArrayMap(labels, Grid(*labels.shape, transform, crs), rows=50)
    found = polygonize(source)
    surface = Surface(source.grid)
    pixels = np.vstack([surface.pixel_areas(top, min(50, 120 - top)) for top in range(0, 120, 50)])
    raster = np.bincount(labels.ravel(), weights=pixels.ravel())
    polygons = np.bincount(found.values, weights=found.areas)
    assert np.allclose(polygons, raster, rtol=1e-6, atol=0)
    assert found.unit == "m2"
    # the whole map and single polygons, measured along geodesics
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    geod = pyproj.Geod(ellps="WGS84")
    for polygon, area in list(zip(found.polygons, found.areas, strict=True))[::7]:
        cut = shapely.segmentize(polygon, abs(transform[0]) / 4)
        moved = shapely.transform(cut, lambda points: np.column_stack(to_degrees(points[:, 0], points[:, 1])))
        assert abs(geod.geometry_area_perimeter(moved)[0]) == pytest.approx(area, rel=1e-5)


def test_long_straight_sides_are_measured_as_the_curves_that_they_are():
    rows, columns = np.mgrid[:1000, :1000]
    source = ArrayMap(
        (columns > rows).astype(np.uint8), Grid(1000, 1000, (60.0, 0, 4e5, 0, -60.0, 5.2e6), "EPSG:32632")
    )
    pixels = Surface(source.grid).pixel_areas(0, 1000)
    raster = np.bincount(source.labels.ravel(), weights=pixels.ravel())
    assert polygonize(source).areas == pytest.approx(raster, rel=1e-6)


def test_pixels_of_a_map_of_the_whole_earth_sum_to_its_surface():
    surface = Surface(Grid(180, 360, (1.0, 0.0, -180.0, 0.0, -1.0, 90.0), "EPSG:4326"))
    assert surface.pixel_areas(0, 180).sum() == pytest.approx(510_065_621_724_088, rel=1e-9)  # WGS 84


def test_web_mercator_is_not_believed():
    grid = Grid(10, 10, (1.0, 0.0, 0.0, 0.0, -1.0, 8_399_737.0), "EPSG:3857")  # 60 degrees north
    found = polygonize(ArrayMap(np.zeros((10, 10), np.uint8), grid))
    assert found.areas[0] == pytest.approx(25, rel=0.02)


def test_small_polygons_and_classes_are_left_out_and_counted():
    labels = np.zeros((8, 8), np.uint8)
    labels[1, 1] = 1
    labels[4:7, 4:7] = 2
    labels[0, 7] = 255
    source = ArrayMap.of(labels)
    names = ("ground", "pole", "roof")
    found = polygonize(source, PolygonOptions(min_area=2), names=names)
    assert found.by_class() == {"ground": (1, 53.0), "roof": (1, 9.0)}
    assert found.dropped == (1, 1.0)
    assert len(found.polygons[0].interiors) == 2
    found = polygonize(source, PolygonOptions(skip=("ground",)), names=names)
    assert found.class_names == ["pole", "roof"]
    for simplify in (0.0, 1.0):
        kept = polygonize(source, PolygonOptions(simplify, skip=("class_0", "class_1")))
        assert (kept.values.tolist(), kept.areas.tolist()) == ([2], [9.0])
    assert len(polygonize(ArrayMap.of(np.full((3, 3), 255, np.uint8)))) == 0


def test_what_cannot_be_asked_for():
    source = ArrayMap.of(np.array([[0, 3]], np.uint8))
    with pytest.raises(OptionError, match="did you mean 'roof'"):
        polygonize(source, PolygonOptions(skip=("roofs",)), names=("ground", "roof", "a", "b"))
    with pytest.raises(OptionError, match="class_0"):
        polygonize(source, PolygonOptions(skip=("roof",)))
    with pytest.raises(OptionError, match="class index 3, and there are 2"):
        polygonize(source, names=("ground", "roof"))
    for options in (PolygonOptions(simplify=-1), PolygonOptions(min_area=float("nan"))):
        with pytest.raises(OptionError, match="not negative"):
            polygonize(source, options)
    for labels in (np.zeros((0, 3), np.uint8), np.zeros((3, 0), np.uint8)):
        with pytest.raises(DataError, match="no pixels"):
            polygonize(ArrayMap.of(labels))
    with pytest.raises(DataError, match="unknown coordinate system"):
        polygonize(ArrayMap(np.zeros((2, 2), np.uint8), Grid(2, 2, UTM, "EPSG:1")))
    with pytest.raises(DataError, match="outside"):
        polygonize(ArrayMap(np.zeros((2, 2), np.uint8), Grid(2, 2, (1, 0, 0, 0, -1, 120), "EPSG:4326")))
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    with pytest.raises(DataError, match="no relation to the Earth"):
        polygonize(ArrayMap(np.zeros((2, 2), np.uint8), Grid(2, 2, UTM, local)))


def write(path, array, **profile):
    bands = array[None] if array.ndim == 2 else array
    profile = {"driver": "GTiff", "crs": "EPSG:32632", "transform": rasterio.Affine(*UTM)} | profile
    size = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(path, "w", dtype=bands.dtype, **size, **profile) as target:
        target.write(bands)
    return path


def test_a_geotiff_is_read_in_strips_with_its_nodata(tmp_path):
    labels = blobs(700, 9000, classes=3, smooth=40)
    labels[:300, :100] = 9
    file = write(tmp_path / "a.tif", labels, nodata=9, tiled=True, blockxsize=256, blockysize=256)
    source = open_map(file)
    read = list(source.strips())
    assert [len(part) for part in read] == [256, 256, 188]
    assert np.array_equal(np.vstack(read), np.where(labels == 9, 255, labels))
    found = polygonize(source)
    assert (found.areas > 0).all()
    assert found.areas.sum() == pytest.approx((labels != 9).sum() * 900, rel=2e-3)  # the scale of UTM
    assert shapely.total_bounds(found.polygons) == pytest.approx(
        [4e5, 5.2e6 - 700 * 30, 4e5 + 9000 * 30, 5.2e6]
    )
    int16 = write(tmp_path / "b.tif", np.where(labels == 9, -1, labels).astype(np.int16), nodata=-1)
    assert np.array_equal(np.vstack(list(open_map(int16).strips())), np.vstack(read))


def test_files_that_are_no_class_maps(tmp_path):
    with pytest.raises(MaskError, match="2 bands of uint8"):
        open_map(write(tmp_path / "two.tif", np.zeros((2, 4, 4), np.uint8)))
    with pytest.raises(MaskError, match="1 band of float32"):
        open_map(write(tmp_path / "float.tif", np.zeros((4, 4), np.float32)))
    with pytest.raises(MaskError, match="value 700 at row 2, column 1"):
        bad = np.zeros((4, 4), np.uint16)
        bad[2, 1] = 700
        list(open_map(write(tmp_path / "high.tif", bad)).strips())
    cut = write(tmp_path / "cut.tif", blobs(300, 300))
    cut.write_bytes(cut.read_bytes()[:60_000])
    with pytest.raises(UnreadableError, match=r"cannot be decoded|GDAL cannot open"):
        list(open_map(cut).strips())
    (tmp_path / "empty.tif").touch()
    with pytest.raises(UnreadableError, match="empty"):
        open_map(tmp_path / "empty.tif")


VRT = '<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'


@pytest.mark.parametrize("name", ["map.vrt", "map.tif", "map.zip"])
def test_a_description_of_other_files_is_not_opened(tmp_path, name):
    (tmp_path / name).write_text(VRT)
    with pytest.raises(UnreadableError, match="is not a TIFF"):
        open_map(tmp_path / name)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/a.tif", "/vsicurl/http://127.0.0.1/a.tif", "/vsizip/a.zip/a.tif", "GTIFF_DIR:1:a.tif",
     "vrt://a.tif", "\\\\vsimem\\a.tif"],
)  # fmt: skip
def test_an_address_is_not_opened(address):
    with pytest.raises(OptionError, match="is not a local file"):
        open_map(address)


@pytest.mark.slow
def test_a_map_of_4096_pixels_square(record_property):
    labels = blobs(4096, 4096, classes=5, smooth=12)
    begin = time.perf_counter()
    found = polygonize(ArrayMap(labels, Grid(4096, 4096, UTM, "EPSG:32632")), PolygonOptions(simplify=1.5))
    record_property("seconds", time.perf_counter() - begin)
    assert shapely.coverage_is_valid(found.polygons)
    assert shapely.area(found.polygons).sum() == pytest.approx((4096 * 30) ** 2, rel=1e-12)
