"""Mosaics: every window is that of the raster that was cut into parts, judged by that raster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pixelwise.errors import DataError, UnreadableError
from pixelwise.geo.mosaic import open_scene, parts_of
from pixelwise.ops.tiles import Box

rasterio = pytest.importorskip("rasterio")
PLACE = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
BOXES = {"a": Box(0, 0, 30, 40), "b": Box(0, 40, 30, 70), "c": Box(25, 10, 60, 55)}  # c lies over a and b


def write(path: Path, image: NDArray[Any], corner: tuple[float, float], **profile: Any) -> None:
    given = {
        "height": image.shape[0],
        "width": image.shape[1],
        "count": image.shape[2],
        "dtype": image.dtype.name,
    }
    place = {"crs": "EPSG:32631", "transform": PLACE @ rasterio.Affine.translation(corner[1], corner[0])}
    with rasterio.open(path, "w", driver="GTiff", **{**given, **place, **profile}) as target:
        target.write(np.moveaxis(image, 2, 0))


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, NDArray[np.uint8], NDArray[np.bool_]]:
    """The list, the image that it stands for, and where that holds no data."""
    folder = tmp_path_factory.mktemp("mosaic")
    rng = np.random.default_rng(0)
    image, empty = np.zeros((60, 70, 3), np.uint8), np.ones((60, 70), bool)
    for name, box in BOXES.items():
        part = rng.integers(1, 256, (box.height, box.width, 3), dtype=np.uint8)
        if name == "c":
            part[:3, :3] = 0  # no data of its own: a is seen there
        place = box.within(Box(0, 0, 60, 70))
        seen = part.any(axis=2)
        image[place][seen] = part[seen]
        empty[place] &= ~seen
        write(folder / f"{name}.tif", part, (box.top, box.left), nodata=0)
    (folder / "list.txt").write_text("# from west to east\na.tif\nb.tif\nc.tif\n")
    return f"@{folder / 'list.txt'}", image, empty


def test_size_and_place_are_those_of_the_whole(mosaic: tuple[str, Any, Any]) -> None:
    with open_scene(mosaic[0]) as reader:
        assert reader.size == (60, 70)
        assert reader.facts.place.transform == tuple(PLACE)[:6]
        assert reader.facts.place.pixel_size == pytest.approx(0.5)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_windows_are_those_of_the_whole(mosaic: tuple[str, Any, Any], data: st.DataObject) -> None:
    source, image, empty = mosaic
    top, left = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 69))
    box = Box(top, left, data.draw(st.integers(top + 1, 60)), data.draw(st.integers(left + 1, 70)))
    with open_scene(source) as reader:
        found, nothing = reader.read(box)
    place = box.within(Box(0, 0, 60, 70))
    assert np.array_equal(found, image[place])
    assert np.array_equal(np.zeros(found.shape[:2], bool) if nothing is None else nothing, empty[place])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"crs": "EPSG:32632"}, "coordinate system"),
        ({"transform": PLACE @ rasterio.Affine.translation(5.5, 0)}, "do not lie on those"),
        ({"transform": PLACE @ rasterio.Affine.scale(2)}, "do not lie on those"),
        ({"dtype": "uint16"}, "another dtype"),
        ({"nodata": 3}, "another nodata"),
    ],
)
def test_parts_of_another_kind_are_refused(change: dict[str, Any], found: str, tmp_path: Path) -> None:
    image = np.ones((9, 9, 3), np.uint8)
    write(tmp_path / "a.tif", image, (0, 0), nodata=0)
    write(tmp_path / "b.tif", image.astype(change.get("dtype", "uint8")), (9, 0), **{"nodata": 0, **change})
    (tmp_path / "list.txt").write_text("a.tif\nb.tif\n")
    with pytest.raises(DataError, match=found) as caught, open_scene(f"@{tmp_path / 'list.txt'}"):
        pass
    assert caught.value.file == tmp_path / "b.tif"


def test_a_single_raster_is_its_only_part(tmp_path: Path) -> None:
    assert parts_of("a.tif") == ["a.tif"]
    with pytest.raises(UnreadableError):
        parts_of(f"@{tmp_path / 'none.txt'}")
