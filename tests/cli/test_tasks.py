"""`predict` and `evaluate` with models of every task: what is written, and what does not go together."""

from __future__ import annotations

import csv
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
import torch
from scipy import ndimage

from pixelwise.cli.app import run
from pixelwise.data.read import read_image
from pixelwise.infer import classify, localize, reconstruct
from pixelwise.models.autoencoder import AutoencoderOptions
from pixelwise.models.bundle import load, load_network, save
from pixelwise.models.classifier import ClassifierOptions
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.localizer import LocalizerOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.tasks import build_autoencoder, build_classifier, build_localizer
from pixelwise.models.zoo import build
from pixelwise.types import Normalization

CLASSES = ["ground", "box", "disc"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> dict[str, Path]:
    """A bundle of each task with random weights; the classes are those of `shapes`."""
    folder = tmp_path_factory.mktemp("bundles")
    torch.manual_seed(0)
    options = NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8, 8))
    segmenter = build("unet", classes=CLASSES, options=options)
    image = read_image(shapes / "images" / "test" / "shape0_test.png")
    with torch.no_grad():  # standardised logits, so that every class wins somewhere
        logits = segmenter.eval()(segmenter.prepare(torch.from_numpy(image.copy()).permute(2, 0, 1)[None]))
        std, mean = torch.std_mean(logits, dim=(0, 2, 3))
        segmenter.head.weight /= std[:, None, None, None]
        assert isinstance(segmenter.head.bias, torch.Tensor)
        segmenter.head.bias.copy_((segmenter.head.bias - mean) / std)
    networks = {
        "segment": segmenter,
        "classify": build_classifier(classes=["a", "b"], options=ClassifierOptions(encoder_width=0.125)),
        "reconstruct": build_autoencoder(options=AutoencoderOptions(code=4, width=8, encoder_width=0.125)),
        "localize": build_localizer(
            classes=CLASSES, options=LocalizerOptions(background=None, encoder_width=0.125)
        ),
    }
    return {name: save(network, folder / f"{name}.safetensors") for name, network in networks.items()}


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of images per class."""
    root = tmp_path_factory.mktemp("pets")
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True)
            for index in range(2):
                picture = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
                PIL.Image.fromarray(picture).save(root / split / name / f"{name}{index}.png")
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_objects_of_class_maps(
    bundles: dict[str, Path], shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", bundles["segment"], shapes / "images" / "test", "-o", tmp_path / "out", "--json"]
    assert run([*map(str, arguments), "--objects", "--skip", "ground", "--min-area", "3"]) == 0
    assert len(said(capsys)["written"]) == 2 * 3 + 2
    document = json.loads((tmp_path / "out" / "objects.json").read_text())
    assert (document["skip"], document["min_area"], document["connectivity"]) == (["ground"], 3, 8)
    rows = rows_of(tmp_path / "out" / "objects.csv")
    assert [one["image"] for one in document["images"]] == ["shape0_test.png", "shape1_test.png"]
    assert len(rows) == sum(len(one["objects"]) for one in document["images"]) > 3
    for one in document["images"]:
        name = Path(one["image"]).stem
        with PIL.Image.open(tmp_path / "out" / "labels" / f"{name}.png") as opened:
            labels = np.array(opened)
        assert (one["height"], one["width"]) == labels.shape
        for index in (1, 2):  # as SciPy counts them
            numbered, count = ndimage.label(labels == index, np.ones((3, 3)))
            areas = sorted(area for area in np.bincount(numbered.ravel())[1:].tolist() if area >= 3)
            here = [each for each in one["objects"] if each["class"] == CLASSES[index]]
            assert sorted(each["area"] for each in here) == areas and count >= len(areas)
        assert not any(each["class"] == "ground" for each in one["objects"]) and (labels == 0).any()
        for each in one["objects"]:
            rings = [ring for polygon in each["outline"]["coordinates"] for ring in polygon]
            area = sum(x * v - u * y for ring in rings for (x, y), (u, v) in pairwise(ring)) / 2
            assert area == each["area"]  # x to the right, y downwards
            top, left, bottom, right = each["box"]
            columns, lines = zip(*(corner for ring in rings for corner in ring), strict=True)
            assert (min(lines), min(columns), max(lines), max(columns)) == (top, left, bottom, right)
        with PIL.Image.open(tmp_path / "out" / "objects" / f"{name}.png") as opened:
            drawn = np.array(opened)
        largest = max(one["objects"], key=lambda each: each["area"])
        assert drawn.shape[:2] == labels.shape
        model = load(bundles["segment"])
        assert tuple(drawn[largest["box"][0], largest["box"][1]]) in {spec.rgb for spec in model.classes}
    assert rows[0]["class"] == document["images"][0]["objects"][0]["class"]
    assert int(rows[0]["area"]) == document["images"][0]["objects"][0]["area"]


def test_classes_of_images(
    bundles: dict[str, Path], pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["predict", str(bundles["classify"]), str(pets / "test"), "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"1 file in {out}\n"
    rows = rows_of(out / "classes.csv")
    assert [row["image"] for row in rows] == ["a0.png", "a1.png", "b0.png", "b1.png"]
    model = load_network(bundles["classify"])
    for row in rows:
        shares = classify(model, read_image(pets / "test" / row["image"][0] / row["image"]))  # type: ignore[arg-type]
        assert [float(row["a"]), float(row["b"])] == pytest.approx(shares.tolist(), abs=1e-6)
        assert row["class"] == "ab"[int(shares.argmax())]
        assert float(row["probability"]) == pytest.approx(shares.max(), abs=1e-6)


def test_reconstructions(bundles: dict[str, Path], pets: Path, tmp_path: Path) -> None:
    assert run(["predict", str(bundles["reconstruct"]), str(pets / "test"), "-o", str(tmp_path / "out")]) == 0
    written = sorted((tmp_path / "out" / "reconstructions").iterdir())
    assert [path.name for path in written] == ["a0.png", "a1.png", "b0.png", "b1.png"]
    model = load_network(bundles["reconstruct"])
    expected = reconstruct(model, read_image(pets / "test" / "a" / "a0.png"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_image(written[0]), expected)


@pytest.mark.parametrize(
    ("bands", "dtype", "suffix"),
    [
        (1, "uint8", ".png"),
        (1, "uint16", ".png"),
        (3, "uint16", ".png"),
        (4, "uint8", ".tif"),
        (2, "float32", ".tif"),
        (1, "float32", ".tif"),
    ],
)
def test_a_reconstruction_keeps_bands_and_values(bands: int, dtype: str, suffix: str, tmp_path: Path) -> None:
    model = build_autoencoder(
        bands=bands,
        normalization=Normalization((1000.0,) * bands, (500.0,) * bands),
        options=AutoencoderOptions(code=4, width=8, encoder_width=0.125),
    ).eval()
    image = np.random.default_rng(0).integers(0, 256, (9, 12, bands)).astype(dtype)
    if bands == 1:
        tifffile.imwrite(tmp_path / "in.tif", image[:, :, 0])
    else:
        tifffile.imwrite(tmp_path / "in.tif", image, photometric="minisblack", planarconfig="contig")
    bundle = save(model, tmp_path / "net.safetensors")
    assert run(["predict", str(bundle), str(tmp_path / "in.tif"), "-o", str(tmp_path / "out")]) == 0
    restored = read_image(tmp_path / "out" / "reconstructions" / f"in{suffix}")
    assert restored.dtype == dtype
    np.testing.assert_array_equal(restored, reconstruct(model, image))


def test_boxes(bundles: dict[str, Path], shapes: Path, tmp_path: Path) -> None:
    source = shapes / "images" / "test"
    assert run(["predict", str(bundles["localize"]), str(source), "-o", str(tmp_path / "out")]) == 0
    rows = rows_of(tmp_path / "out" / "boxes.csv")
    assert [row["image"] for row in rows] == ["shape0_test.png", "shape1_test.png"]
    model = load_network(bundles["localize"])
    for row in rows:
        image = read_image(source / row["image"])
        index, probability, box = localize(model, image)  # type: ignore[arg-type]
        assert row["class"] == CLASSES[index] and float(row["probability"]) == pytest.approx(
            probability, abs=1e-6
        )
        sides = [float(row[side]) for side in ("top", "left", "bottom", "right")]
        assert sides == pytest.approx(box, abs=0.006)
        drawn = read_image(tmp_path / "out" / "boxes" / row["image"])
        changed = np.argwhere((drawn != image).any(axis=2))
        assert [*changed.min(axis=0), *(changed.max(axis=0) + 1)] == pytest.approx(sides, abs=0.51)


@pytest.mark.parametrize(
    ("task", "score", "tables"),
    [
        ("segment", "mean_iou", ["confusion.csv", "images.csv", "report.json"]),
        ("classify", "accuracy", ["confusion.csv", "images.csv"]),
        ("reconstruct", "explained_variance", ["images.csv"]),
        ("localize", "mean_box_iou", ["confusion.csv", "images.csv"]),
    ],
)
def test_evaluate(
    task: str,
    score: str,
    tables: list[str],
    bundles: dict[str, Path],
    shapes: Path,
    pets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = pets if task == "classify" else shapes, tmp_path / "out"
    assert run(["evaluate", str(bundles[task]), str(data), "-o", str(out), "--json"]) == 0
    scores = said(capsys)
    assert scores == json.loads((out / "scores.json").read_text()) and scores[score] <= 1
    assert sorted(path.name for path in out.iterdir()) == sorted([*tables, "report.html", "scores.json"])
    page = (out / "report.html").read_text()
    assert f"<h1>{task}.safetensors on {data.name}</h1>" in page and "<script" not in page
    assert "nan" not in re.sub(r"<[^>]+>", "", page)
    assert run(["evaluate", str(bundles[task]), str(data), "-o", str(out)]) == 0
    assert f"{scores[score]:.3f}" in capsys.readouterr().out


def test_images_without_labels_will_do_for_an_autoencoder(bundles: dict[str, Path], tmp_path: Path) -> None:
    for index in range(4):
        picture = np.full((9, 9, 3), 60 * index, np.uint8)
        PIL.Image.fromarray(picture).save(tmp_path / f"{index}.png")
    arguments = ["evaluate", str(bundles["reconstruct"]), str(tmp_path), "-o", str(tmp_path / "out")]
    assert run([*arguments, "--split", "train"]) == 0
    assert rows_of(tmp_path / "out" / "images.csv")


def test_what_does_not_go_together(
    bundles: dict[str, Path], shapes: Path, pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "out")]
    images = str(shapes / "images" / "test")
    cases = [
        (["evaluate", str(bundles["classify"]), str(shapes), *out], "--task segment"),
        (["evaluate", str(bundles["segment"]), str(pets), *out], "--task classify"),
        (["evaluate", str(bundles["localize"]), str(pets), *out], "--task classify"),
        (["predict", str(bundles["classify"]), images, *out, "--objects"], "leave out --objects"),
        (["predict", str(bundles["localize"]), images, *out, "--confidence"], "leave out --confidence"),
        (["predict", str(bundles["segment"]), images, *out, "--skip", "ground"], "add --objects"),
        (
            ["predict", str(bundles["segment"]), images, *out, "--objects", "--skip", "grond"],
            "did you mean 'ground'",
        ),
        (["predict", str(bundles["segment"]), images, *out, "--objects", "--min-area", "0"], "at least 1"),
    ]
    for arguments, remedy in cases:
        assert run(arguments) == 2
        error = capsys.readouterr().err
        assert remedy in error and "Traceback" not in error
        assert not (tmp_path / "out").exists()


def test_bad_files_are_listed_and_the_tables_hold_the_others(
    bundles: dict[str, Path], pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = tmp_path / "torn.png"
    torn.write_bytes((pets / "test" / "a" / "a0.png").read_bytes()[:200])
    arguments = [
        "predict",
        str(bundles["classify"]),
        str(pets / "test" / "b"),
        str(torn),
        "-o",
        str(tmp_path / "out"),
    ]
    assert run(arguments) == 2
    assert "1 of 3 images could not be mapped" in capsys.readouterr().err
    assert [row["image"] for row in rows_of(tmp_path / "out" / "classes.csv")] == ["b0.png", "b1.png"]
    assert run(["predict", str(bundles["classify"]), str(torn), "-o", str(tmp_path / "none")]) == 2
    assert not list((tmp_path / "none").iterdir())


def test_the_fixture_is_a_network_of_each_task(bundles: dict[str, Path]) -> None:
    assert {name: load_network(path).task for name, path in bundles.items()} == {
        name: name for name in bundles
    }
    assert isinstance(load(bundles["segment"]), Segmenter)
