"""Maps that were interrupted go on where they stopped, and end as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pixelwise.errors import OptionError, OutputError, UnreadableError
from pixelwise.infer.journal import AVERAGES, LINES
from pixelwise.infer.mapping import handles_for
from pixelwise.infer.predictor import predict
from pixelwise.infer.scenes import SceneOptions, SceneProgress, predict_scene
from pixelwise.infer.windows import TileOptions
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build

rasterio = pytest.importorskip("rasterio")

TILES = TileOptions(core=512)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(1, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, image: NDArray[np.uint8], **profile: Any) -> Path:
    size = {"height": image.shape[0], "width": image.shape[1], "count": 3, "dtype": "uint8"}
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
    with rasterio.open(path, "w", driver="GTiff", **size, **place, **profile) as target:
        target.write(np.moveaxis(image, 2, 0))
    return path


def read(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as source:
        return source.read(1)


@pytest.fixture(scope="module")
def model() -> Segmenter:
    torch.manual_seed(0)
    options = NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8, 8))
    return build("unet", encoder="resnet18", classes=3, options=options).eval()


class Stop(Exception):
    """Raised by the tests to interrupt a map."""


def interrupted(model: Segmenter, scene: Path, out: Path, after: int, options: SceneOptions) -> None:
    tiles: list[SceneProgress] = []

    def stop(told: SceneProgress) -> None:
        tiles.extend([told] if told.fresh and told.stage == "tiles" else [])
        if len(tiles) == after:
            raise Stop

    with pytest.raises(Stop):
        predict_scene(model, scene, out, options=options, progress=stop)


@pytest.mark.parametrize("overlap", ["exact", "blend"])
def test_interrupted_work_goes_on(overlap: Any, model: Segmenter, tmp_path: Path) -> None:
    scene = write(tmp_path / "a.tif", picture(1700, 200))
    options = SceneOptions(TileOptions(overlap, core=512), confidence=tmp_path / "sure.tif")
    straight = predict_scene(model, scene, tmp_path / "b.tif", options=options)
    expected, sure = (tmp_path / "b.tif").read_bytes(), (tmp_path / "sure.tif").read_bytes()
    assert straight.tiles >= 3
    for name in ("b.tif", "sure.tif"):
        (tmp_path / name).unlink()
    interrupted(model, scene, tmp_path / "b.tif", 2, options)
    assert not (tmp_path / "b.tif").exists()
    with pytest.raises(OutputError, match="unfinished work"):
        predict_scene(model, scene, tmp_path / "b.tif", options=options)
    lines = tmp_path / "b.tif.work" / LINES
    lines.write_text(lines.read_text() + '{"tile": [0,')  # torn by a crash
    again = SceneOptions(options.tiles, options.confidence, resume=True)
    result = predict_scene(model, scene, tmp_path / "b.tif", options=again)
    assert 0 < result.resumed < result.tiles
    assert (tmp_path / "b.tif").read_bytes() == expected
    assert (tmp_path / "sure.tif").read_bytes() == sure
    assert not (tmp_path / "b.tif.work").exists()
    finished = predict_scene(model, scene, tmp_path / "b.tif", options=again)
    assert finished.resumed == finished.tiles
    assert (tmp_path / "b.tif").read_bytes() == expected


def test_work_of_another_model_is_not_gone_on_with(model: Segmenter, tmp_path: Path) -> None:
    scene = write(tmp_path / "a.tif", picture(1100, 600))
    options = SceneOptions(TILES)
    interrupted(model, scene, tmp_path / "b.tif", 1, options)
    other = build("fullres", encoder="image", classes=3, options=NetworkOptions(decoder_channels=(4,)))
    with pytest.raises(OptionError, match="another model"):
        predict_scene(other, scene, tmp_path / "b.tif", options=SceneOptions(TILES, resume=True))


def test_damaged_tiles_are_made_again(model: Segmenter, tmp_path: Path) -> None:
    scene = write(tmp_path / "a.tif", picture(1100, 600))
    predict_scene(model, scene, tmp_path / "whole.tif", options=SceneOptions(TILES))
    interrupted(model, scene, tmp_path / "b.tif", 2, SceneOptions(TILES))
    for file in (tmp_path / "b.tif.work").rglob("*.bin"):
        file.write_bytes(b"y" + file.read_bytes()[1:])
    result = predict_scene(model, scene, tmp_path / "b.tif", options=SceneOptions(TILES, resume=True))
    assert result.resumed == 0
    assert np.array_equal(read(tmp_path / "b.tif"), read(tmp_path / "whole.tif"))


@pytest.mark.parametrize(
    ("damaged", "stages"), [(False, {"tiles", "writing"}), (True, {"averages", "tiles", "writing"})]
)
def test_averages_over_the_scene_are_kept(damaged: bool, stages: set[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8), rates=(1, 2))
    model = build("deeplabv3plus", encoder="resnet18", classes=3, options=options).eval()
    image = picture(1600, 40)
    scene = write(tmp_path / "a.tif", image)
    interrupted(model, scene, tmp_path / "b.tif", 1, SceneOptions(TILES))
    kept = tmp_path / "b.tif.work" / AVERAGES
    if damaged:
        kept.write_bytes(kept.read_bytes()[:-30])
    told: list[SceneProgress] = []
    predict_scene(
        model, scene, tmp_path / "b.tif", options=SceneOptions(TILES, resume=True), progress=told.append
    )
    assert {one.stage for one in told} == stages
    assert (read(tmp_path / "b.tif") == predict(model, image)).mean() > 0.9999


def test_truncated_scenes_keep_what_is_finished(model: Segmenter, tmp_path: Path) -> None:
    scene = write(tmp_path / "a.tif", picture(1600, 512), blockxsize=512, blockysize=512, tiled=True)
    whole = scene.read_bytes()
    scene.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(UnreadableError, match=r"rows \d+ to \d+"):
        predict_scene(model, scene, tmp_path / "b.tif", options=SceneOptions(TILES))
    assert not (tmp_path / "b.tif").exists()
    assert len((tmp_path / "b.tif.work" / LINES).read_text().splitlines()) >= 1


def test_work_planned_for_more_memory_says_what_it_takes(model: Segmenter, tmp_path: Path) -> None:
    scene, out = write(tmp_path / "a.tif", picture(1100, 90)), tmp_path / "b.tif"
    interrupted(model, scene, out, 1, SceneOptions(TILES))
    again = predict_scene(model, scene, out, options=SceneOptions(TileOptions(memory=1), resume=True))
    assert any("planned for another engine" in note for note in again.notes)
    assert again.resumed == 1
    out.unlink()
    assert not predict_scene(model, scene, out, options=SceneOptions(TILES)).notes


def test_files_over_the_network_are_read_by_two_handles(tmp_path: Path) -> None:
    (tmp_path / "parts.txt").write_text("a.tif\nhttps://example.org/b.tif\n")
    assert handles_for(tmp_path / "a.tif") == 1
    assert handles_for("https://example.org/a.tif") == handles_for(f"@{tmp_path / 'parts.txt'}") == 2
