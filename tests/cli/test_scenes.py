"""`predict` on scenes: which inputs are scenes, what is written where, what is said, and how it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from pixelwise.cli.app import run
from pixelwise.cli.scenes import parse_overlap
from pixelwise.errors import OptionError
from pixelwise.infer import placed
from pixelwise.infer.windows import TileOptions
from pixelwise.models.bundle import facts_of, load, save

rasterio = pytest.importorskip("rasterio")
PLACE = {"crs": "EPSG:32631", "transform": rasterio.Affine(1, 0, 5, 0, -1, 9)}


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes of this test have 1000 pixels and more; tiles are those of real ones."""
    monkeypatch.setattr(placed, "LARGE", 1000)
    monkeypatch.setattr(placed, "HUGE", 1_000_000)


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_images_and_scenes_side_by_side(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    inputs = tmp_path / "in"
    tif(inputs / "large.tif", picture(60, 70), **PLACE)
    tif(inputs / "small.tif", picture(20, 30), **PLACE)
    tif(inputs / "nowhere.tif", picture(60, 70))
    PIL.Image.fromarray(picture(9, 8)).save(inputs / "photo.png")
    arguments = ["predict", str(bundle), str(inputs), "-o", str(tmp_path / "out"), "--confidence", "--json"]
    assert run(arguments) == 0
    said = capsys.readouterr()
    names = ["nowhere", "photo", "small"]
    expected = [f"{folder}/{name}.png" for folder in ("confidence", "labels", "overlay") for name in names]
    expected += ["confidence/large.tif", "labels/large.tif", "labels/small.tif"]
    assert below(tmp_path / "out") == sorted(expected)
    answer = json.loads(said.out)
    assert len(answer["written"]) == len(expected)
    assert [(Path(scene["labels"]).name, scene["pixels"]) for scene in answer["scenes"]] == [
        ("large.tif", 4200)
    ]
    assert "large.tif: 0.0 Mpx to compute, at most" in said.err
    assert "GiB of memory" in said.err
    with rasterio.open(tmp_path / "out" / "labels" / "small.tif") as placed_map:
        assert placed_map.crs.to_epsg() == 32631
        assert placed_map.transform == PLACE["transform"]
        with PIL.Image.open(tmp_path / "out" / "labels" / "small.png") as png:
            assert np.array_equal(placed_map.read(1), np.array(png))
    with rasterio.open(tmp_path / "out" / "labels" / "large.tif") as scene:
        assert scene.tags()["PIXELWISE_BUNDLE_SHA256"] == load(bundle).digest


def test_several_scenes_of_one_name(
    bundle: Path,
    tmp_path: Path,
    tif: Callable[..., Path],
) -> None:
    for folder in ("a", "b"):
        tif(tmp_path / "in" / folder / "scene.tif", picture(60, 70), **PLACE)
    assert run(["predict", str(bundle), str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
    assert below(tmp_path / "out") == ["labels/a/scene.tif", "labels/b/scene.tif"]


def test_one_bad_scene_does_not_stop_the_others(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    for name in ("a", "c"):
        tif(tmp_path / "in" / f"{name}.tif", picture(60, 70), **PLACE)
    tif(tmp_path / "in" / "b.tif", picture(60, 70)[:, :, :2], **PLACE)
    arguments = ["predict", str(bundle), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert run(arguments) == 1
    said = capsys.readouterr()
    assert said.err.count("error: ") == 1
    assert "b.tif: the scene has 2 bands, the model takes 3" in said.err
    assert [line.split()[:2] for line in said.out.splitlines()[:3]] == [
        ["a.tif", "done"],
        ["b.tif", "failed"],
        ["c.tif", "done"],
    ]
    assert below(tmp_path / "out") == ["labels/a.tif", "labels/c.tif"]
    assert run([*arguments, "--resume", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert [Path(scene["labels"]).name for scene in answer["scenes"]] == ["a.tif", "c.tif"]
    assert [Path(error["file"]).name for error in answer["failed"]] == ["b.tif"]


def test_no_scene_that_can_be_mapped(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    for name in ("a", "b"):
        tif(tmp_path / "in" / f"{name}.tif", picture(60, 70)[:, :, :2], **PLACE)
    assert run(["predict", str(bundle), str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    assert "none of 2 scenes" in capsys.readouterr().err


def test_a_list_of_scenes_is_spread(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    for name in ("a", "b", "c"):
        tif(tmp_path / "in" / f"{name}.tif", picture(60, 70), **PLACE)
    listed = tmp_path / "scenes.txt"
    listed.write_text(f"# of 2026\nin/a.tif\n\n{tmp_path / 'in' / 'c.tif'}\n")
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    assert run(["predict", str(bundle), f"@{listed}", "-o", str(alone)]) == 0
    more = ["--spread", "local", "--workers", "2", "--json"]
    assert run(["predict", str(bundle), f"@{listed}", "-o", str(spread), *more]) == 0
    assert below(alone) == below(spread) == ["labels/a.tif", "labels/c.tif"]
    for name in below(alone):
        assert (alone / name).read_bytes() == (spread / name).read_bytes()
    assert "a.tif: 0.0 Mpx to compute" in capsys.readouterr().err


def test_a_mosaic_is_one_scene(
    bundle: Path,
    tmp_path: Path,
    tif: Callable[..., Path],
) -> None:
    image = picture(60, 70)
    tif(tmp_path / "in" / "whole.tif", image, **PLACE)
    for name, left, right in (("west", 0, 40), ("east", 40, 70)):
        place = PLACE | {"transform": PLACE["transform"] @ rasterio.Affine.translation(left, 0)}
        tif(tmp_path / "in" / f"{name}.tif", image[:, left:right], **place)
    listed = tmp_path / "town.txt"
    listed.write_text("in/west.tif\nin/east.tif\n")
    out = tmp_path / "out"
    assert run(["predict", str(bundle), f"@{listed}", "--mosaic", "-o", str(out)]) == 0
    assert run(["predict", str(bundle), str(tmp_path / "in" / "whole.tif"), "-o", str(out)]) == 0
    assert below(out) == ["labels/town.tif", "labels/whole.tif"]
    with (
        rasterio.open(out / "labels" / "town.tif") as town,
        rasterio.open(out / "labels" / "whole.tif") as whole,
    ):
        assert town.transform == whole.transform
        assert np.array_equal(town.read(1), whole.read(1))


@pytest.mark.parametrize("text", [None, "", "# nothing\n"])
def test_lists_of_nothing_are_refused(
    text: str | None, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "scenes.txt").write_text(text)
    assert run(["predict", str(bundle), f"@{tmp_path / 'scenes.txt'}", "-o", str(tmp_path / "out")]) == 2
    assert "list" in capsys.readouterr().err


def test_finished_scenes_stay_with_resume(
    bundle: Path,
    tmp_path: Path,
    tif: Callable[..., Path],
) -> None:
    source = tif(tmp_path / "in" / "a.tif", picture(60, 70), **PLACE)
    arguments = ["predict", str(bundle), str(source), "-o", str(tmp_path / "out")]
    assert run(arguments) == 0
    made = tmp_path / "out" / "labels" / "a.tif"
    before = made.stat().st_mtime_ns
    assert run([*arguments, "--resume"]) == 0
    assert made.stat().st_mtime_ns == before
    assert run(arguments) == 0
    assert made.stat().st_mtime_ns != before


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        (["--overlap", "half"], "exact, blend, or a number"),
        (["--objects"], "a.tif is a scene"),
        (["https://a.b/c.tif"], "--allow-remote"),
        (["-o", "IN"], "contains the input"),
        (["--mosaic"], "is no list"),
        (["--workers", "2"], "add --spread local"),
        (["--spread", "lokal"], "did you mean 'local'"),
        (["--spread", "local", "--workers", "0"], "give 1 or more"),
        (["--spread", "local", "--ray-address", "auto"], "add --spread ray"),
    ],
)
def test_refusals(
    extra: list[str],
    found: str,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tif: Callable[..., Path],
) -> None:
    source = tif(tmp_path / "in" / "a.tif", picture(60, 70), **PLACE)
    before = below(tmp_path)
    extra = [str(tmp_path / "in") if item == "IN" else item for item in extra]
    assert run(["predict", str(bundle), str(source), "-o", str(tmp_path / "out"), *extra]) == 2
    assert found in capsys.readouterr().err
    assert [name for name in below(tmp_path) if name.startswith("in")] == before


def test_overlaps() -> None:
    assert [parse_overlap(text) for text in ("exact", "blend", "0", "64")] == ["exact", "blend", 0, 64]
    assert TileOptions(parse_overlap("64")).overlap == 64
    with pytest.raises(OptionError):
        parse_overlap("-3")


def test_resampled_to_the_pixels_of_training(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tif: Callable[..., Path]
) -> None:
    scene = tif(tmp_path / "small.tif", picture(20, 30), **PLACE)
    arguments = ["predict", str(bundle), str(scene), "-o", str(tmp_path / "out"), "--resample"]
    assert run(arguments) == 2
    assert "the model does not know how large a pixel" in capsys.readouterr().err
    model = load(bundle)
    knowing = save(
        model, tmp_path / "two.safetensors", facts=facts_of(model).model_copy(update={"pixel_size": 2.0})
    )
    assert run(["predict", str(knowing), *arguments[2:]]) == 0
    assert "small.tif: resampled from pixels of 1 m to 2 m: 10 x 15 of them" in capsys.readouterr().err
    with rasterio.open(tmp_path / "out" / "labels" / "small.tif") as found, rasterio.open(scene) as source:
        assert found.shape == (10, 15)
        assert found.bounds == source.bounds
