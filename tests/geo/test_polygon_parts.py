"""Polygons are handed on and written while the map is still being read; judged by the polygons of the whole map."""

import numpy as np
import pyogrio
import pytest
import shapely
from scipy import ndimage

from pixelwise.errors import UnreadableError
from pixelwise.geo.classmaps import ArrayMap, Grid
from pixelwise.geo.outlines import trace
from pixelwise.geo.polygons import PolygonOptions, Tally, polygon_parts, polygonize
from pixelwise.geo.vectorfiles import write_polygons

GRID = Grid(400, 90, (2.0, 0.0, 4e5, 0.0, -2.0, 5.2e6), "EPSG:32632")


def blobs(height=400, width=90, classes=4, smooth=2.0):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(height, width)), smooth)
    return np.digitize(noise / noise.std(), np.linspace(-1, 1, classes - 1)).astype(np.uint8)


class Strips:
    """A class map that notes how far it has been read, and may break on the way."""

    grid, names = GRID, ("a", "b", "c", "d")

    def __init__(self, labels, rows, breaks_at=None):
        self.labels, self.rows, self.breaks_at, self.read = labels, rows, breaks_at, 0

    def strips(self):
        for top in range(0, len(self.labels), self.rows):
            if top == self.breaks_at:
                raise UnreadableError("cannot be decoded")
            self.read = top + self.rows
            yield self.labels[top : top + self.rows]


@pytest.mark.parametrize("simplify", [0.0, 1.5])
def test_finished_polygons_do_not_wait_for_the_rest_of_the_map(simplify):
    labels = blobs()
    source = Strips(labels, 40)
    lowest, count = [], 0
    for part in polygon_parts(source, PolygonOptions(simplify)):
        if len(part) and source.read < 400:
            rows = (5.2e6 - shapely.bounds(part.polygons)[:, 1]) / 2
            assert rows.max() <= source.read
            lowest.append(rows.max())
            count += len(part)
    assert len(lowest) >= 9
    assert count > 0.8 * len(polygonize(ArrayMap(labels, GRID)))


def test_strips_change_simple_borders_only_near_the_lines_between_them():
    labels = blobs()
    whole, parts = (polygonize(ArrayMap(labels, GRID, rows=rows), PolygonOptions(1.5)) for rows in (400, 40))
    assert shapely.coverage_is_valid(parts.polygons)
    assert (
        shapely.get_num_coordinates(parts.polygons).sum()
        < 1.15 * shapely.get_num_coordinates(whole.polygons).sum()
    )
    corners = (shapely.get_coordinates(parts.polygons) - (4e5, 5.2e6)) / 2
    assert np.array_equal(corners, corners.round())  # of pixels
    lines = shapely.union_all([shapely.LineString([(4e5, 5.2e6 - 2 * k), (4e5 + 180, 5.2e6 - 2 * k)])
                               for k in range(40, 400, 40)])  # fmt: skip
    far = shapely.distance(whole.polygons, lines) > 0
    known = {polygon.wkb for polygon in shapely.normalize(parts.polygons)}
    # of islands that reach no line the border is as before; neighbours of those that do may have changed with them
    same = [polygon.wkb in known for polygon in shapely.normalize(whole.polygons[far])]
    assert np.mean(same) > 0.5


def test_a_ring_around_everything_is_joined_over_all_strips():
    labels = np.zeros((60, 50), np.uint8)
    labels[3:57, 3:47] = 1
    labels[6:54, 6:44] = np.random.default_rng(0).integers(2, 4, (48, 38))
    for rows in (1, 7, 60):
        found = trace([labels[top : top + rows] for top in range(0, 60, rows)])
        frame = found.polygons[found.values == 0]
        assert len(frame) == 1
        assert shapely.area(frame).sum() == (labels == 0).sum()
        assert shapely.coverage_is_valid(found.polygons)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".parquet"])
def test_parts_are_written_as_they_come_and_an_error_leaves_no_file(suffix, tmp_path):
    labels = blobs()
    path = tmp_path / f"a{suffix}"
    tally = Tally()
    write_polygons(tally.of(polygon_parts(Strips(labels, 40))), path)
    whole = polygonize(ArrayMap(labels, GRID, Strips.names))
    assert (tally.count, tally.dropped) == (len(whole), (0, 0.0))
    for name, (count, area) in whole.by_class().items():
        assert tally.classes[name] == (count, pytest.approx(area))
    if suffix in (".gpkg", ".fgb"):
        assert pyogrio.read_info(path)["features"] == len(whole)
    path.unlink()
    with pytest.raises(UnreadableError, match="cannot be decoded"):
        write_polygons(polygon_parts(Strips(labels, 40, breaks_at=200)), path)
    assert list(tmp_path.iterdir()) == []
