"""Scenes that something is wrong with, through the command line: what is said, the exit status, what is left."""

from __future__ import annotations

import json
import os
import resource
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pixelwise.cli.app import run
from pixelwise.infer import placed

rasterio = pytest.importorskip("rasterio")
PLACE = {"crs": "EPSG:32631", "transform": rasterio.Affine(1, 0, 5, 0, -1, 9)}


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(1, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rasters of 1000 pixels are scenes here, placed or not."""
    monkeypatch.setattr(placed, "LARGE", 1000)
    monkeypatch.setattr(placed, "HUGE", 1000)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@contextmanager
def small_disk(most: int) -> Iterator[None]:
    """The kernel refuses to write more than so many bytes into one file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_a_torn_scene(
    share: float,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    scene = tif(tmp_path / "in" / "a.tif", picture(600, 300), **PLACE)
    whole = scene.read_bytes()
    scene.write_bytes(whole[: int(len(whole) * share)])
    assert run(["predict", str(bundle), str(scene), "-o", str(tmp_path / "out"), "--json"]) == 2
    said = capsys.readouterr()
    assert "a.tif" in said.err
    assert "cannot be decoded" in said.err
    assert json.loads(said.out)["error"]["file"].endswith("a.tif")
    assert not list((tmp_path / "out").rglob("*.tif"))


def test_a_scene_without_coordinate_system_gives_a_map_without_one(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    scene = tif(tmp_path / "in" / "a.tif", picture(60, 70))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        assert run(["predict", str(bundle), str(scene), "-o", str(tmp_path / "out")]) == 0
        with rasterio.open(tmp_path / "out" / "labels" / "a.tif") as made:
            assert made.crs is None
            assert made.shape == (60, 70)
    assert "nowhere where it lies" in capsys.readouterr().err


def test_nothing_but_no_data(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    scene = tif(tmp_path / "in" / "a.tif", np.zeros((60, 70, 3), np.uint8), nodata=0, **PLACE)
    assert run(["predict", str(bundle), str(scene), "-o", str(tmp_path / "out"), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["scenes"]
    assert told["skipped"] == told["tiles"] == 1
    made = tmp_path / "out" / "labels" / "a.tif"
    with rasterio.open(made) as target:
        assert (target.read(1) == 255).all()
    for command in (["areas", str(made)], ["vectorize", str(made), "-o", str(tmp_path / "a.gpkg")]):
        status = run(command)
        said = capsys.readouterr()
        if command[0] == "areas":
            assert (status, "no pixel of the map has a class" in said.err) == (2, True)
        else:
            assert (status, "0 polygons" in said.out) == (0, True)


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1)])
def test_one_row_or_one_column(
    shape: tuple[int, int],
    bundle: Path,
    tmp_path: Path,
    tif: Callable[..., Path],
) -> None:
    scene = tif(tmp_path / "in" / "a.tif", picture(*shape), **PLACE)
    out = tmp_path / "out"
    assert run(["predict", str(bundle), str(scene), "-o", str(out)]) == 0
    with rasterio.open(out / "labels" / "a.tif") as made:
        assert made.shape == shape
        assert made.transform == PLACE["transform"]
    assert run(["vectorize", str(out / "labels" / "a.tif"), "-o", str(tmp_path / "a.fgb")]) == 0


def test_a_disk_that_fills_up(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    scene = tif(tmp_path / "in" / "a.tif", picture(700, 700), **PLACE)
    out = tmp_path / "out"
    arguments = ["predict", str(bundle), str(scene), "-o", str(out)]
    with small_disk(2_000):
        assert run(arguments) == 2
    assert "disk" in capsys.readouterr().err
    assert not list(out.rglob("*.tif"))
    assert run([*arguments, "--resume"]) == 0  # with room again
    made = out / "labels" / "a.tif"
    for suffix in (".gpkg", ".geojson", ".fgb", ".parquet"):
        target = tmp_path / "vectors" / f"a{suffix}"
        with small_disk(200):
            assert run(["vectorize", str(made), "-o", str(target)]) == 2
        assert "error: " in capsys.readouterr().err
        assert files(tmp_path / "vectors") == []


def test_maps_are_not_written_among_the_scenes(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    scene = tif(tmp_path / "in" / "a.tif", picture(60, 70), **PLACE)
    before = scene.read_bytes()
    for given in (scene, scene.parent):
        assert run(["predict", str(bundle), str(given), "-o", str(scene.parent)]) == 2
        assert "contains the input" in capsys.readouterr().err
    assert (files(tmp_path), scene.read_bytes()) == (["a.tif"], before)


def test_a_bundle_without_normalisation(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    scene = tif(tmp_path / "in" / "a.tif", picture(60, 70), **PLACE)
    data = bundle.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    document = json.loads(header["__metadata__"]["pixelwise"])
    name = next(key for key in document if "normali" in key)
    del document[name]
    header["__metadata__"]["pixelwise"] = json.dumps(document)
    text = json.dumps(header).encode()
    edited = tmp_path / "net.safetensors"
    edited.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    assert run(["predict", str(edited), str(scene), "-o", str(tmp_path / "out")]) == 2
    assert "normali" in capsys.readouterr().err
    assert not os.path.lexists(tmp_path / "out")
