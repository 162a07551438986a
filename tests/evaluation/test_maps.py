"""Maps scored in strips, judged by the scores of the whole maps."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import jaccard_score

from pixelwise.data.classfile import read_classes
from pixelwise.errors import ClassesError, DataError, MaskError, OptionError
from pixelwise.evaluation.maps import score_files, score_maps
from pixelwise.geo.classmaps import ArrayMap, Grid
from pixelwise.geo.grids import difference
from pixelwise.metrics.boundary import BoundaryCounter
from pixelwise.ops.confusion import confusion

Map = NDArray[np.uint8]
NAMES = ("a", "b", "c")
PLACE = rasterio.Affine(2, 0, 4e5, 0, -2, 5.2e6)


def random_map(rng: np.random.Generator, shape: tuple[int, int], ignored: float) -> Map:
    coarse = rng.integers(0, 3, (-(-shape[0] // 3), -(-shape[1] // 3)))
    labels = np.kron(coarse, np.ones((3, 3), int))[: shape[0], : shape[1]]
    return np.where(rng.random(shape) < ignored, 255, labels).astype(np.uint8)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 5) | st.none(),
)
@settings(deadline=None, max_examples=80)
def test_strips_give_the_scores_of_the_whole(
    seed: int, height: int, rows: int, first: int, second: int, width: int | None
) -> None:
    rng = np.random.default_rng(seed)
    found, truth = random_map(rng, (height, 13), 0.1), random_map(rng, (height, 13), 0.2)
    known = (found != 255) & (truth != 255)
    maps = ArrayMap.of(found, rows=first), ArrayMap.of(truth, rows=second)
    if not known.any():
        with pytest.raises(DataError, match="no pixel"):
            score_maps(*maps, names=NAMES, width=width, rows=rows)
        return
    scored = score_maps(*maps, names=NAMES, width=width, rows=rows)
    true, claimed = np.where(known, truth, 255).astype(np.uint8), np.where(known, found, 0).astype(np.uint8)
    counter = BoundaryCounter(NAMES, width=width)
    counter.add(true, claimed)
    whole = counter.scores()
    np.testing.assert_array_equal(scored.scores.confusion, confusion(true, claimed, 3))
    np.testing.assert_array_equal(scored.boundary.band, whole.band)
    np.testing.assert_array_equal(scored.boundary.edge, whole.edge)
    assert scored.boundary.mean_boundary_iou == pytest.approx(whole.mean_boundary_iou, nan_ok=True)
    assert scored.unmapped == ((found == 255) & (truth != 255)).sum()
    assert scored.scores.ignored + scored.scores.pixels == found.size
    iou = jaccard_score(truth[known], found[known], labels=range(3), average=None, zero_division=0.0)
    iou = np.where(np.isin(range(3), np.union1d(truth[known], found[known])), iou, np.nan)
    np.testing.assert_allclose([one.iou for one in scored.scores.classes], iou, rtol=0, atol=1e-9)


def write(path: Path, labels: Map, **options: Any) -> Path:
    settings_ = {"crs": "EPSG:32632", "transform": PLACE, "nodata": 255} | options
    height, width = labels.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=height, width=width, **settings_
    ) as out:
        out.write(labels, 1)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, Map, Map]:
    rng = np.random.default_rng(0)
    found, truth = random_map(rng, (300, 40), 0.05), random_map(rng, (300, 40), 0.1)
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    return write(tmp_path / "map.tif", found, **tiles), write(tmp_path / "truth.tif", truth), found, truth


def test_files_of_several_kinds_give_the_same(pair: tuple[Path, Path, Map, Map], tmp_path: Path) -> None:
    found, truth, labels, true = pair
    PIL.Image.fromarray(true).save(tmp_path / "truth.png")
    (tmp_path / "classes.yaml").write_text(
        "[{name: a, color: '#ff0000'}, {name: b, color: '#00ff00'}, {name: c}]"
    )
    table = read_classes(tmp_path / "classes.yaml")
    done: list[tuple[int, int]] = []
    plain = score_files(found, truth, width=2, progress=lambda n, all_: done.append((n, all_)))
    named = score_files(found, tmp_path / "truth.png", table=table, width=2)
    assert done[-1] == (300, 300)
    assert [one.name for one in plain.scores.classes] == ["class_0", "class_1", "class_2"]
    assert [one.name for one in named.scores.classes] == ["a", "b", "c"]
    np.testing.assert_array_equal(plain.boundary.edge, named.boundary.edge)
    assert any("no place on Earth" in note for note in named.notes)
    assert any("not counted" in note for note in plain.notes)
    known = (labels != 255) & (true != 255)
    assert plain.scores.pixel_accuracy == pytest.approx((labels == true)[known].mean(), abs=1e-9)
    said = plain.as_dict()
    json.dumps(said, allow_nan=False)
    assert said["boundary"]["distance_unit"] is None
    assert said["boundary"]["width_pixels"] == [2, 2]
    assert said["unmapped"] == ((labels == 255) & (true != 255)).sum()


@pytest.mark.parametrize(
    ("options", "rows", "message"),
    [
        ({}, 299, "300 x 40 pixels, the other 299 x 40"),
        ({"transform": PLACE @ rasterio.Affine.translation(0.5, 0)}, 300, "0.5 pixels apart"),
        ({"transform": PLACE @ rasterio.Affine.scale(1.001)}, 300, "pixels apart"),
        ({"crs": "EPSG:32633"}, 300, "UTM zone 33N"),
    ],
)
def test_other_grids_are_refused(
    pair: tuple[Path, Path, Map, Map], tmp_path: Path, options: dict[str, Any], rows: int, message: str
) -> None:
    found, _, _, true = pair
    other = write(tmp_path / "other.tif", true[:rows], **options)
    with pytest.raises(DataError, match=message) as raised:
        score_files(found, other)
    assert str(found) in str(raised.value) and str(other) in str(raised.value)


def test_a_place_rounded_by_its_writer_is_the_same_place() -> None:
    here = Grid(100, 100, (2.0, 0.0, 4e5, 0.0, -2.0, 5.2e6), rasterio.CRS.from_epsg(32632).to_wkt())
    near = Grid(100, 100, (2.0, 0.0, 4e5 + 1e-6, 0.0, -2.0, 5.2e6), here.crs)
    spelt = Grid(100, 100, here.transform, rasterio.CRS.from_epsg(32632).to_wkt(version="WKT2_2019"))
    assert here.crs != spelt.crs
    assert difference(here, near) == difference(here, spelt) == ""
    assert "no coordinate system" in difference(here, Grid(100, 100, here.transform))


def test_classes_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    labels = np.zeros((4, 5), np.uint8)

    def named(name: str, *classes: str) -> Path:
        path = write(tmp_path / name, labels)
        with rasterio.open(path, "r+") as out:
            out.update_tags(PIXELWISE_CLASSES=json.dumps([{"name": one} for one in classes]))
        return path

    first, second = named("first.tif", "field", "wood"), named("second.tif", "wood", "field")
    with pytest.raises(ClassesError, match="other classes"):
        score_files(first, second)
    assert score_files(first, write(tmp_path / "plain.tif", labels)).scores.by_name("field").iou == 1
    (tmp_path / "classes.yaml").write_text("[{name: wood}, {name: field}]")
    with pytest.raises(ClassesError, match="says of itself"):
        score_files(first, second, table=read_classes(tmp_path / "classes.yaml"))


def test_what_is_no_class_is_refused_with_its_place(tmp_path: Path) -> None:
    labels = np.zeros((200, 5), np.uint8)
    other = labels.copy()
    other[150, 3] = 7
    maps = ArrayMap.of(labels, rows=9), ArrayMap.of(other, rows=20)
    with pytest.raises(MaskError, match="truth holds class index 7 at row 150, column 3"):
        score_maps(*maps, names=NAMES, rows=16)
    with pytest.raises(MaskError, match="map holds class index 7"):
        score_maps(*maps[::-1], names=NAMES, rows=16)
    with pytest.raises(OptionError, match="at most 256"):
        score_maps(*maps, width=257)
    with pytest.raises(OptionError, match="at least 1"):
        score_maps(*maps, width=0)


class Endless:
    """A map whose rows are made when they are asked for."""

    grid = Grid(16_000, 256)
    names = NAMES

    def strips(self) -> Iterator[Map]:
        block = np.kron(np.arange(16).reshape(4, 4) % 3, np.ones((64, 64), int)).astype(np.uint8)
        for top in range(0, self.grid.height, 256):
            yield block[: self.grid.height - top].copy()


def test_memory_does_not_grow_with_the_map() -> None:
    tracemalloc.start()
    try:
        scored = score_maps(Endless(), Endless(), names=NAMES, width=4, rows=512)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert scored.scores.pixels == 16_000 * 256
    assert scored.boundary.mean_boundary_iou == 1
    assert peak < 16_000 * 256  # bytes: less than one of the maps
