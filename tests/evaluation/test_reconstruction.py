"""Scores of reconstructions, judged by NumPy over all values at once."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.errors import DataError
from pixelwise.evaluation import evaluate, render
from pixelwise.evaluation.reconstruction import ReconstructionCounter, evaluate_autoencoder
from pixelwise.infer.images import reconstruct
from pixelwise.models.autoencoder import Autoencoder, AutoencoderOptions
from pixelwise.models.tasks import build_autoencoder
from pixelwise.types import Normalization

STD = (50.0, 20.0, 80.0)
SIZES = ((20, 30), (20, 30), (33, 17), (8, 40))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Images of several sizes in folders of classes, which nobody reads."""
    root = tmp_path_factory.mktemp("things")
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True)
            for index, size in enumerate(SIZES):
                picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8) // (index + 1)
                PIL.Image.fromarray(picture).save(root / split / name / f"{name}{index}.png")
    return open_dataset(root)


@pytest.fixture(scope="module")
def network() -> Autoencoder:
    torch.manual_seed(0)
    return build_autoencoder(
        normalization=Normalization((100.0, 60.0, 90.0), STD),
        options=AutoencoderOptions(code=4, width=8, encoder_width=0.125),
    )


def values_of(network: Autoencoder, image: np.ndarray) -> np.ndarray:
    """The reconstruction in the units of the file, not rounded, in plain torch."""
    with torch.no_grad():
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
        normalised = network.eval()(network.prepare(pixels))[0].permute(1, 2, 0).double().numpy()
    return normalised * np.array(network.normalization.std) + np.array(network.normalization.mean)


def test_scores_are_those_of_all_values_together(network: Autoencoder, data: Dataset) -> None:
    steps: list[int] = []
    scores = evaluate(network, data.test, progress=lambda done, total: steps.append(done))
    images = [data.test.image(index) for index in range(8)]
    restored = [values_of(network, image) for image in images]
    truth = np.concatenate([(image / np.array(STD)).reshape(-1, 3) for image in images])
    found = np.concatenate([(values / np.array(STD)).reshape(-1, 3) for values in restored])
    assert scores.mean_squared_error == pytest.approx(mean_squared_error(truth, found), rel=1e-4)
    assert scores.mean_absolute_error == pytest.approx(mean_absolute_error(truth, found), rel=1e-4)
    assert scores.variance == pytest.approx(truth.var(axis=0).mean(), rel=1e-6)
    # scikit-learn's R2 with bands weighted by their variance is 1 - error / variance around the bands' means
    expected = r2_score(truth, found, multioutput="variance_weighted")
    assert scores.explained_variance == pytest.approx(expected, rel=1e-3)
    errors = [
        np.square((values - image) / np.array(STD)).mean()
        for image, values in zip(images, restored, strict=True)
    ]
    assert scores.image_errors == pytest.approx(errors, rel=1e-4)
    differences = np.concatenate(
        [(reconstruct(network, image).astype(float) - image).ravel() for image in images]
    )
    assert scores.psnr == pytest.approx(10 * np.log10(255**2 / np.square(differences).mean()), abs=1e-2)
    assert scores.headline == ("explained_variance", scores.explained_variance)
    assert scores.images == 8 and steps == list(range(1, 9))


@pytest.mark.parametrize(("dtype", "peak"), [("uint8", 255), ("uint16", 65535), ("float32", None)])
def test_psnr_is_of_the_rounded_values_against_the_largest_of_the_type(dtype: str, peak: int | None) -> None:
    image = np.full((4, 4, 1), 100, dtype)
    counter = ReconstructionCounter([10.0])
    counter.add(image, np.full((4, 4, 1), 102.4, np.float32))
    scores = counter.scores()
    assert scores.mean_squared_error == pytest.approx(0.24**2, rel=1e-4)
    assert scores.mean_absolute_error == pytest.approx(0.24, rel=1e-4)
    if peak is None:
        assert math.isnan(scores.psnr)
    else:
        assert scores.psnr == pytest.approx(20 * math.log10(peak / 2))


def test_a_perfect_copy_the_mean_and_a_flat_image() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (30, 20, 2)).astype(np.uint16)
    counter = ReconstructionCounter([900.0, 3.0])
    counter.add(image, image.astype(np.float32))
    perfect = counter.scores()
    assert perfect.explained_variance == 1 and math.isinf(perfect.psnr)
    assert perfect.as_dict()["psnr"] is None
    counter = ReconstructionCounter([900.0, 3.0])
    counter.add(image, np.broadcast_to(image.mean(axis=(0, 1)), image.shape).astype(np.float32))
    assert counter.scores().explained_variance == pytest.approx(0, abs=1e-6)
    counter = ReconstructionCounter([900.0, 3.0])
    counter.add(np.full((5, 5, 2), 7, np.uint8), np.full((5, 5, 2), 8, np.float32))
    flat = counter.scores()
    assert math.isnan(flat.explained_variance) and flat.as_dict()["explained_variance"] is None


def test_the_variance_keeps_its_digits_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    counter, images = ReconstructionCounter([1.0]), []
    for _ in range(3):
        images.append((4e6 + rng.normal(0, 1, (50, 50, 1))).astype(np.float32))
        counter.add(images[-1], images[-1])
    expected = np.concatenate(images).astype(np.float64).var()
    assert counter.scores().variance == pytest.approx(expected, rel=1e-9)


def test_what_is_written(network: Autoencoder, data: Dataset, tmp_path: Path) -> None:
    scores = evaluate_autoencoder(network, data.test, out=tmp_path / "out", title="<things>")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["images.csv", "report.html", "scores.json"]
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == scores.as_dict()
    with (tmp_path / "out" / "images.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == list(data.test.names)
    assert [float(row["mean_squared_error"]) for row in rows] == pytest.approx(list(scores.image_errors))
    page = (tmp_path / "out" / "report.html").read_text()
    shown = re.findall(r"<h3>(\S+) <span", page)
    order = sorted(range(8), key=lambda k: -scores.image_errors[k])
    assert shown == [data.test.names[k] for k in [*order[:4], *order[:3:-1]]]
    assert "&lt;things&gt;" in page and f"{scores.psnr:.2f} dB" in page
    assert "4 channels at stride 32, 0.0013 values per value" in page
    assert page.count("<figcaption>reconstruction</figcaption>") == 8


def test_masks_are_not_needed_and_not_read(network: Autoencoder, shapes: Path) -> None:
    split = open_dataset(shapes).test
    without = replace(split, items=tuple(replace(item, mask=Path("nowhere")) for item in split.pairs))
    assert evaluate(network, without).image_errors == evaluate(network, split).image_errors


def test_refusals(network: Autoencoder, data: Dataset) -> None:
    with pytest.raises(DataError, match="the val split holds no image"):
        evaluate_autoencoder(network, replace(data.val, items=()))
    grey = build_autoencoder(bands=1, options=AutoencoderOptions(code=4, width=8, encoder_width=0.125))
    with pytest.raises(DataError, match=r"a0\.png: the image has 3 bands, the model takes 1"):
        evaluate_autoencoder(grey, data.test)


@pytest.mark.parametrize(("dtype", "shown"), [("uint8", True), ("float32", False)])
def test_the_line_for_the_terminal(
    dtype: str, shown: bool, one_image: Callable[..., ReconstructionCounter]
) -> None:
    line = render(one_image(dtype).scores())
    assert line.startswith("explained variance ") and line.endswith("   1 image")
    assert ("PSNR" in line) is shown


@pytest.fixture
def one_image() -> Callable[..., ReconstructionCounter]:
    def counted(dtype: str) -> ReconstructionCounter:
        counter = ReconstructionCounter([10.0])
        counter.add(np.arange(16).reshape(4, 4, 1).astype(dtype), np.full((4, 4, 1), 7.0, np.float32))
        return counter

    return counted
