"""Scenes to maps: in the right place, bounded, resumable; judged by rasterio and by the network on the whole scene."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pixelwise.errors import DataError, OptionError, OutputError
from pixelwise.files import locked
from pixelwise.infer.predictor import predict, predict_with_confidence
from pixelwise.infer.scenes import SceneOptions, SceneProgress, predict_scene
from pixelwise.infer.windows import TileOptions
from pixelwise.models.bundle import BundleFacts
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build
from pixelwise.types import ClassSpec

rasterio = pytest.importorskip("rasterio")

CLASSES = [ClassSpec("road", "#ff0000"), ClassSpec("house", "#00ff00"), ClassSpec("trée", "#0000ff")]
NORTH_UP = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
TILES = TileOptions(core=512)


def picture(height: int, width: int, bands: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(1, 256, (height, width, bands), dtype=np.uint8)


def write(path: Path, image: NDArray[Any], **profile: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {
        "driver": "GTiff",
        "height": image.shape[0],
        "width": image.shape[1],
        "count": image.shape[2],
        "dtype": image.dtype.name,
        "crs": "EPSG:32631",
        "transform": NORTH_UP,
    } | profile
    with rasterio.open(
        path, "w", **{key: value for key, value in given.items() if value is not None}
    ) as target:
        target.write(np.moveaxis(image, 2, 0))
    return path


def read(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as source:
        return source.read(1)


@pytest.fixture(scope="module")
def model() -> Segmenter:
    """A network of few operations whose classes all win somewhere."""
    torch.manual_seed(0)
    options = NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8, 8))
    model = build("unet", encoder="resnet18", classes=CLASSES, options=options)
    image = torch.from_numpy(picture(96, 96)).permute(2, 0, 1)[None]
    with torch.no_grad():
        model.train()(model.prepare(image.repeat(2, 1, 1, 1)))
        std, mean = torch.std_mean(model.eval()(model.prepare(image)), dim=(0, 2, 3))
        model.head.weight /= std[:, None, None, None]
        model.head.bias.copy_((model.head.bias - mean) / std)
    return model


def test_a_map_in_the_same_place(model: Segmenter, tmp_path: Path) -> None:
    image = picture(1100, 700)
    scene = write(tmp_path / "in" / "scene.tif", image, tiled=True, compress="deflate")
    told: list[SceneProgress] = []
    sure = tmp_path / "sure.tif"
    out = tmp_path / "out" / "scene.tif"
    options = SceneOptions(TILES, confidence=sure)
    result = predict_scene(model, scene, out, options=options, progress=told.append)
    whole, share = predict_with_confidence(model, image)
    labels = read(out)
    assert (labels == whole).mean() > 0.9999
    assert len(np.unique(labels)) == 3
    assert np.abs(read(sure)[labels == whole] / 255 - share[labels == whole]).max() < 0.01
    with rasterio.open(out) as target:
        assert target.crs.to_epsg() == 32631
        assert target.transform == NORTH_UP
        assert target.nodata == 255
        assert target.profile["tiled"]
        assert target.profile["compress"] == "deflate"
        assert target.block_shapes == [(512, 512)]
        assert target.overviews(1) == [2, 4]
        assert target.colormap(1)[1] == (0, 255, 0, 255)
        tags = target.tags()
        assert target.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    with rasterio.open(out, OVERVIEW_LEVEL=0) as small:  # nearest: no class that is not there
        assert set(np.unique(small.read(1))) <= {0, 1, 2}
    assert [tags[f"CLASS_{k}"] for k in range(3)] == ["road", "house", "trée"]
    assert [one["name"] for one in json.loads(tags["PIXELWISE_CLASSES"])] == ["road", "house", "trée"]
    assert len(tags["PIXELWISE_SCENE_SHA256"]) == len(tags["PIXELWISE_WEIGHTS_SHA256"]) == 64
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "scene.tif",
        "scene.tif",
        "sure.tif",
    ]
    assert (told[0].done, told[-1].done) == (0, 1100 * 700)
    assert [one.stage for one in told] == ["tiles"] * (result.tiles + 1) + ["writing"] * 2
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert told[0].memory == result.memory > 0
    assert (result.tiles, result.resumed, result.skipped) == (2, 0, 0)


PLACES = {
    "north-up": NORTH_UP,
    "south-up": rasterio.Affine(0.5, 0, 500_000, 0, 0.5, 4_000_000),
    "rotated": rasterio.Affine(0.4, 0.3, 500_000, 0.3, -0.4, 4_000_000),
    "half degrees": rasterio.Affine(0.5, 0, -180, 0, -0.5, 90),
}


@pytest.mark.parametrize("case", PLACES)
def test_coordinates_are_carried_exactly(case: str, model: Segmenter, tmp_path: Path) -> None:
    crs = "EPSG:4326" if "degrees" in case else "EPSG:32631"
    scene = write(tmp_path / "a.tif", picture(60, 70), transform=PLACES[case], crs=crs)
    predict_scene(model, scene, tmp_path / "b.tif")
    with rasterio.open(scene) as before, rasterio.open(tmp_path / "b.tif") as after:
        assert after.transform == before.transform == PLACES[case]
        assert after.crs == before.crs
        assert after.xy(59, 69) == before.xy(59, 69)


def test_control_points_are_carried(model: Segmenter, tmp_path: Path) -> None:
    points = [
        rasterio.control.GroundControlPoint(r, c, 3 + c / 9, 50 - r / 7) for r in (0, 60) for c in (0, 70)
    ]
    scene = write(tmp_path / "a.tif", picture(60, 70), transform=None, crs="EPSG:4326", gcps=points)
    predict_scene(model, scene, tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as after:
        found, crs = after.gcps
    assert crs.to_epsg() == 4326
    assert [(p.row, p.col, p.x, p.y) for p in found] == [(p.row, p.col, p.x, p.y) for p in points]


def test_a_scene_without_a_place_is_mapped_and_said_so(model: Segmenter, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        scene = write(tmp_path / "a.tif", picture(60, 70), crs=None, transform=None)
        result = predict_scene(model, scene, tmp_path / "b.tif")
        assert read(tmp_path / "b.tif").shape == (60, 70)
        with rasterio.open(tmp_path / "b.tif") as after:
            assert after.crs is None
    assert "nowhere where it lies" in result.notes[0]


def test_a_scene_without_a_coordinate_system_keeps_its_transform(model: Segmenter, tmp_path: Path) -> None:
    scene = write(tmp_path / "a.tif", picture(60, 70), crs=None)
    result = predict_scene(model, scene, tmp_path / "b.tif")
    assert "no coordinate system" in result.notes[0]
    with rasterio.open(tmp_path / "b.tif") as after:
        assert after.transform == NORTH_UP


@pytest.mark.parametrize("value", [0, 200])
def test_no_data_in_is_no_data_out(value: int, model: Segmenter, tmp_path: Path) -> None:
    image = picture(1100, 600)
    image[:600] = value
    image[700, 50] = value
    scene = write(tmp_path / "a.tif", image, nodata=value)
    result = predict_scene(model, scene, tmp_path / "b.tif", options=SceneOptions(TILES))
    labels = read(tmp_path / "b.tif")
    empty = (image == value).all(axis=2)
    assert ((labels == 255) == empty).all()
    image[empty] = 0  # which is what training sees there
    assert (labels == np.where(labels == 255, 255, predict(model, image))).mean() > 0.9999
    assert (result.skipped, result.tiles) == (1, 2)
    assert "255" in result.notes[0]


def test_nothing_but_no_data(model: Segmenter, tmp_path: Path) -> None:
    scene = write(tmp_path / "a.tif", np.zeros((900, 40, 3), np.uint8), nodata=0)
    result = predict_scene(model, scene, tmp_path / "b.tif", options=SceneOptions(TILES))
    assert (read(tmp_path / "b.tif") == 255).all()
    assert result.skipped == result.tiles == 2


def test_float_values_that_are_no_numbers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(
        "fullres", encoder="image", classes=2, bands=1, options=NetworkOptions(decoder_channels=(4,))
    )
    image = np.random.default_rng(0).normal(100, 50, (40, 50, 1)).astype(np.float32)
    filled = image.copy()
    filled[7, 9] = 0  # which is what training sees there
    image[7, 9] = np.nan
    scene = write(tmp_path / "a.tif", image, nodata=float("nan"))
    predict_scene(model, scene, tmp_path / "b.tif")
    expected = predict(model.eval(), filled)
    expected[7, 9] = 255
    assert np.array_equal(read(tmp_path / "b.tif"), expected)


def test_an_alpha_channel_and_a_mask_say_where_data_is(model: Segmenter, tmp_path: Path) -> None:
    image = picture(50, 60)
    alpha = np.full((50, 60, 1), 255, np.uint8)
    alpha[:10] = 0
    scene = write(
        tmp_path / "rgba.tif", np.concatenate([image, alpha], axis=2), photometric="rgb", alpha="YES"
    )
    predict_scene(model, scene, tmp_path / "b.tif")
    seen = image.copy()
    seen[:10] = 0
    expected = predict(model, seen)
    expected[:10] = 255
    assert np.array_equal(read(tmp_path / "b.tif"), expected)
    masked = write(tmp_path / "masked.tif", image)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(masked, "r+") as target:
        target.write_mask(alpha[:, :, 0])
    predict_scene(model, masked, tmp_path / "c.tif")
    assert np.array_equal(read(tmp_path / "c.tif"), expected)


@pytest.mark.parametrize("shape", [(1, 700), (700, 1), (1, 1), (513, 511)])
def test_sizes(shape: tuple[int, int], model: Segmenter, tmp_path: Path) -> None:
    image = picture(*shape)
    predict_scene(model, write(tmp_path / "a.tif", image), tmp_path / "b.tif", options=SceneOptions(TILES))
    assert (read(tmp_path / "b.tif") == predict(model, image)).mean() > 0.999


def test_wrong_bands_and_types_are_refused(model: Segmenter, tmp_path: Path) -> None:
    out = tmp_path / "b.tif"
    with pytest.raises(DataError, match="2 bands, the model takes 3"):
        predict_scene(model, write(tmp_path / "two.tif", picture(9, 9, 2)), out)
    model.facts = BundleFacts(dtype="uint8")
    try:
        with pytest.raises(DataError, match="is uint16, the model takes uint8"):
            predict_scene(model, write(tmp_path / "deep.tif", picture(9, 9).astype(np.uint16)), out)
    finally:
        model.facts = None
    with pytest.raises(DataError, match="int32"):
        predict_scene(model, write(tmp_path / "int.tif", picture(9, 9).astype(np.int32)), out)
    assert not list(tmp_path.glob("b*"))


@pytest.mark.parametrize(("metres", "told"), [(5.0, True), (0.55, False), (None, False)])
def test_pixels_of_another_size_are_said(
    metres: float | None, told: bool, model: Segmenter, tmp_path: Path
) -> None:
    scene = write(tmp_path / "a.tif", picture(9, 9))
    model.facts = BundleFacts(pixel_size=metres)
    try:
        result = predict_scene(model, scene, tmp_path / "b.tif")
    finally:
        model.facts = None
    assert any("a pixel of the scene is 0.5 m" in note for note in result.notes) == told


def test_a_map_never_replaces_its_scene(model: Segmenter, tmp_path: Path) -> None:
    scene = write(tmp_path / "a.tif", picture(9, 9))
    before = scene.read_bytes()
    with pytest.raises(OutputError, match="replace its scene"):
        predict_scene(model, scene, tmp_path / "x" / ".." / "a.tif")
    assert scene.read_bytes() == before


def test_a_scene_that_changes_meanwhile_is_refused(model: Segmenter, tmp_path: Path) -> None:
    scene = write(tmp_path / "a.tif", picture(1100, 600))

    def touch(told: SceneProgress) -> None:
        scene.touch()

    with pytest.raises(DataError, match="changed while"):
        predict_scene(model, scene, tmp_path / "b.tif", progress=touch)
    assert not (tmp_path / "b.tif").exists()


def test_an_engine_is_asked(model: Segmenter, tmp_path: Path) -> None:
    class Bright:
        footprint = 1.0

        def prepare(self, dtype: str) -> None: ...

        def release(self) -> None: ...

        def __call__(self, image: NDArray[Any]) -> NDArray[np.uint8]:
            return (image[:, :, 0] > 128).astype(np.uint8)

        def with_confidence(self, image: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
            return self(image), np.full(image.shape[:2], 0.5, np.float32)

    image = picture(600, 90)
    options = SceneOptions(TILES, confidence=tmp_path / "sure.tif")
    scene = write(tmp_path / "a.tif", image)
    predict_scene(model, scene, tmp_path / "b.tif", options=options, engine=Bright())
    assert np.array_equal(read(tmp_path / "b.tif"), image[:, :, 0] > 128)
    assert (read(tmp_path / "sure.tif") == 128).all()


def test_two_processes_do_not_write_one_map(model: Segmenter, tmp_path: Path) -> None:
    scene = write(tmp_path / "a.tif", picture(60, 70))
    with locked(tmp_path / "b.tif.work"), pytest.raises(OutputError, match="another pixelwise process"):
        predict_scene(model, scene, tmp_path / "b.tif")


def test_the_code_of_the_page(model: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "scenes.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "scene.tif", picture(60, 70))
    exec(compile(code, "scenes.md", "exec"), {"model": model})
    assert read(tmp_path / "map.tif").shape == (60, 70)


def test_nothing_is_left_of_what_never_began(tmp_path: Path) -> None:
    options = NetworkOptions(encoder_width=0.125, squeeze_excitation=True)
    model = build("unet", encoder="resnet18", classes=3, options=options).eval()
    scene = write(tmp_path / "a.tif", picture(600, 70))
    tiles = TileOptions(memory=1)
    with pytest.raises(OptionError, match="no tile can be exact"):
        predict_scene(model, scene, tmp_path / "b.tif", options=SceneOptions(tiles))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
