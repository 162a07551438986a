"""GeoTIFFs are written where they say they are, and read back by rasterio itself."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from pixelwise.errors import DataError, MissingExtraError, OutputError
from pixelwise.geo.raster import available, write_geotiff

rasterio = pytest.importorskip("rasterio")
PLACE = {"origin": (500_000.0, 4_000_000.0), "pixel_size": 0.5, "crs": "EPSG:32631"}


def test_bands_place_and_values_come_back(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(20, 30, 3)).astype(np.uint8)
    write_geotiff(tmp_path / "a.tif", image, **PLACE)
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.crs.to_epsg() == 32631
        assert tuple(source.transform)[:6] == (0.5, 0.0, 500_000.0, 0.0, -0.5, 4_000_000.0)
        assert np.array_equal(np.moveaxis(source.read(), 0, 2), image)
        assert [band.name for band in source.colorinterp] == ["red", "green", "blue"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_one_band_of_any_type_comes_back(tmp_path: Path, dtype: str) -> None:
    values = (np.arange(12.0).reshape(3, 4) * 7).astype(dtype)
    write_geotiff(tmp_path / "a.tif", values, **PLACE)
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.dtypes == (dtype,)
        assert np.array_equal(source.read(1), values)


def test_large_rasters_are_tiled(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "a.tif", np.zeros((1030, 1100), np.uint8), **PLACE)
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.block_shapes == [(512, 512)]


def test_palette_comes_back(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [1, 0]], np.uint8)
    write_geotiff(tmp_path / "a.tif", labels, **PLACE, palette={0: (1, 2, 3), 1: (200, 100, 50)})
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.colormap(1)[1] == (200, 100, 50, 255)
        assert source.colormap(1)[0] == (1, 2, 3, 255)
        assert np.array_equal(source.read(1), labels)


def test_a_palette_does_not_go_with_bands(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 of uint8"):
        write_geotiff(tmp_path / "a.tif", np.zeros((2, 2, 3), np.uint8), **PLACE, palette={0: (0, 0, 0)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(3,), (1, 2, 2, 3), (0, 5)])
def test_what_is_no_image_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="shape"):
        write_geotiff(tmp_path / "a.tif", np.zeros(shape, np.uint8), **PLACE)


def test_an_unknown_coordinate_system_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="EPSG:999999"), warnings.catch_warnings():
        write_geotiff(tmp_path / "a.tif", np.zeros((2, 2), np.uint8), **PLACE | {"crs": "EPSG:999999"})
    assert not list(tmp_path.iterdir())


def test_without_rasterio_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingExtraError, match=r"pixelwise\[geo\]"):
        write_geotiff(tmp_path / "a.tif", np.zeros((2, 2), np.uint8), **PLACE)
    assert not available()
