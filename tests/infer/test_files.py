"""Image files and folders to class maps: names, sizes, palettes, and what is never touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

from pixelwise.errors import DataError, OutputError, UnreadableError
from pixelwise.infer.files import find_jobs, predict_files
from pixelwise.infer.jobs import passed_over
from pixelwise.infer.predictor import predict, predict_with_confidence
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build
from pixelwise.types import ClassSpec

CLASSES = [ClassSpec("road", "#ff0000"), ClassSpec("house", "#00ff00"), ClassSpec("tree", "#0000ff")]


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, array: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array).save(path)
    return path


def pixels(path: Path) -> NDArray[np.uint8]:
    with PIL.Image.open(path) as opened:
        return np.array(opened)


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def model() -> Segmenter:
    torch.manual_seed(0)
    model = build("unet", encoder="resnet18", classes=CLASSES, bands=3)
    image = torch.from_numpy(picture(64, 64)).permute(2, 0, 1)[None]
    with torch.no_grad():  # standardised logits, so that every class wins somewhere
        std, mean = torch.std_mean(model.eval()(model.prepare(image)), dim=(0, 2, 3))
        model.head.weight /= std[:, None, None, None]
        model.head.bias.copy_((model.head.bias - mean) / std)
    return model


def test_labels_overlay_and_confidence(model: Segmenter, tmp_path: Path) -> None:
    image = picture(30, 41)
    source = write(tmp_path / "in" / "tile.v2.png", image)
    steps: list[tuple[int, int]] = []
    out = tmp_path / "out"
    written = predict_files(
        model, [source], out, confidence=True, progress=lambda done, total: steps.append((done, total))
    )
    assert written == [out / folder / "tile.v2.png" for folder in ("labels", "overlay", "confidence")]
    assert below(out) == ["confidence/tile.v2.png", "labels/tile.v2.png", "overlay/tile.v2.png"]
    labels, confidence = predict_with_confidence(model, image)
    assert set(np.unique(labels)) == {0, 1, 2}
    np.testing.assert_array_equal(pixels(written[0]), labels)
    with PIL.Image.open(written[0]) as opened:
        assert opened.mode == "P"
        colors = np.array(opened.convert("RGB"))
        palette = opened.getpalette()
    np.testing.assert_array_equal(colors, np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)])[labels])
    assert palette is not None and palette[-3:] == [0, 0, 0]
    blend = (image + np.array([spec.rgb for spec in CLASSES])[labels]) / 2
    np.testing.assert_allclose(pixels(written[1]), blend, atol=1)
    np.testing.assert_allclose(pixels(written[2]) / 255, confidence, atol=0.5 / 255 + 1e-6)
    assert steps == [(1, 1)]


def test_a_turned_photo_gives_labels_of_the_upright_image(model: Segmenter, tmp_path: Path) -> None:
    stored = PIL.Image.fromarray(picture(24, 40))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / "photo.png", exif=exif)
    written = predict_files(model, [tmp_path / "photo.png"], tmp_path / "out", overlays=False)
    assert below(tmp_path / "out") == ["labels/photo.png"]
    upright = np.ascontiguousarray(np.rot90(picture(24, 40), -1))
    np.testing.assert_array_equal(pixels(written[0]), predict(model, upright))


def test_folders_are_searched_in_natural_order_without_what_systems_leave(
    model: Segmenter, tmp_path: Path
) -> None:
    root = tmp_path / "in"
    for name in ("tile10.png", "tile2.png", "sub/tile3.PNG"):
        write(root / name, picture(8, 8))
    for junk in ("._tile2.png", ".hidden/a.png", "__MACOSX/a.png", "Thumbs.db", "notes.txt"):
        (root / junk).parent.mkdir(exist_ok=True)
        (root / junk).write_bytes(b"junk")
    out = root / "mapped"  # inside the input: what an earlier run wrote is no input
    first = predict_files(model, [root], out, overlays=False)
    assert [path.relative_to(out).as_posix() for path in first] == [
        "labels/tile2.png", "labels/tile10.png", "labels/tile3.png",
    ]  # fmt: skip
    assert predict_files(model, [root], out, overlays=False) == first


def test_equal_stems_keep_their_folders(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        write(tmp_path / "in" / name, picture(4, 4))
    jobs = find_jobs([tmp_path / "in" / "a", tmp_path / "in" / "b"], tmp_path / "out")
    assert [job.name.as_posix() for job in jobs] == ["a/1", "b/1", "b/2"]
    jobs = find_jobs([tmp_path / "in"], tmp_path / "out")
    assert [job.name.as_posix() for job in jobs] == ["a/1", "b/1", "b/2"]
    jobs = find_jobs([tmp_path / "in" / "b"], tmp_path / "out")
    assert [job.name.as_posix() for job in jobs] == ["1", "2"]


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", picture(4, 4))
    for name in ("in/deep/b.jp2", "in/c.heic", "in/README.md", "in/maps/old.jp2", "text/d.jp2", "text/e.jp2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = passed_over([tmp_path / "in", tmp_path / "in" / "a.png"], tmp_path / "in" / "maps")
    assert [file.name for file in found] == ["c.heic", "b.jp2"]
    with pytest.raises(DataError, match=r"no image in .*text, but 2 \.jp2, which are not read"):
        find_jobs([tmp_path / "text"], tmp_path / "out")


def test_two_images_for_one_result_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", picture(4, 4))
    write(tmp_path / "in" / "A.bmp", picture(4, 4))
    with pytest.raises(OutputError, match=r"more than one image would be written to (a|A)\.png"):
        find_jobs([tmp_path / "in"], tmp_path / "out")


def test_a_file_given_twice_is_mapped_once(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "a.png", picture(4, 4))
    assert len(find_jobs([path, path.parent, path], tmp_path / "out")) == 1


@pytest.mark.parametrize("out", ["in", "in/labels", "."])
def test_an_output_folder_that_contains_an_input_is_refused(
    model: Segmenter, tmp_path: Path, out: str
) -> None:
    path = write(tmp_path / "in" / "labels" / "a.png", picture(4, 4))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="the output folder contains the input"):
        predict_files(model, [path], tmp_path / out)
    assert path.read_bytes() == before and below(tmp_path) == ["in/labels/a.png"]


def test_bad_files_are_listed_and_the_others_written(model: Segmenter, tmp_path: Path) -> None:
    root = tmp_path / "in"
    write(root / "good.png", picture(8, 8))
    whole = write(root / "torn.png", picture(64, 64)).read_bytes()
    (root / "torn.png").write_bytes(whole[: len(whole) // 2])
    write(root / "grey.png", picture(8, 8)[:, :, 0])
    steps: list[int] = []
    with pytest.raises(
        DataError, match="2 of 3 images could not be mapped; the others were written"
    ) as caught:
        predict_files(model, [root], tmp_path / "out", progress=lambda done, total: steps.append(done))
    assert "torn.png: damaged" in str(caught.value)
    assert "grey.png: the image has 1 band, the model takes 3" in str(caught.value)
    assert below(tmp_path / "out") == ["labels/good.png", "overlay/good.png"]
    assert steps == [1, 2, 3]


def test_one_bad_file_alone_is_its_own_error(model: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(UnreadableError, match=r"a\.png: not an image"):
        predict_files(model, [tmp_path / "a.png"], tmp_path / "out")


def test_missing_and_empty_inputs_are_refused_before_anything_is_written(
    model: Segmenter, tmp_path: Path
) -> None:
    good = write(tmp_path / "good.png", picture(8, 8))
    with pytest.raises(UnreadableError, match=r"missing\.png: no such file or folder"):
        predict_files(model, [good, tmp_path / "missing.png"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no image in .*empty"):
        predict_files(model, [tmp_path / "empty"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
