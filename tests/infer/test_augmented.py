"""The mean over views and networks, judged by a plain loop over torch's own softmax."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
import torch
from torch.nn import functional as F

from pixelwise.cli.app import run
from pixelwise.errors import OptionError
from pixelwise.infer.augmented import Averaged, Views, predict_augmented
from pixelwise.infer.files import predict_files
from pixelwise.infer.predictor import predict_with_confidence
from pixelwise.models.bundle import BundleFacts, save
from pixelwise.models.calibration import Calibration
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build

TEMPERATURES = (1.7, 0.6, 2.5)


def network(seed: int, *, calibrated: bool = False, classes: int = 3) -> Segmenter:
    torch.manual_seed(seed)
    model = build("unet", classes=classes, options=NetworkOptions(decoder_channels=(8, 8))).eval()
    with torch.no_grad():  # logits that differ by more than a little
        images = torch.randn(1, 3, 64, 64)
        model.head.weight *= 2 / model(images).std()
        model.head.bias.copy_(-model(images).mean(dim=(0, 2, 3)))
    if calibrated:
        model.facts = BundleFacts(
            calibration=Calibration(
                kind="per_class", temperatures=TEMPERATURES, split="val", images=2, pixels=9,
                ece_before=0.2, ece_after=0.1,
            )
        )  # fmt: skip
    return model


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain(models, image, flips, scales):
    """Every view of every network, one after the other."""
    height, width = image.shape[:2]
    found = []
    for model in models:
        for scale in scales:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            size = (round(height * scale), round(width * scale))
            view = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False).round()
            for flip in (False, True) if flips else (False,):
                turned = view.flip(3) if flip else view
                with torch.no_grad():
                    logits = model(model.prepare(turned.to(torch.uint8)))
                shares = logits.softmax(dim=1)  # whatever temperatures there are
                shares = shares.flip(3) if flip else shares
                found.append(
                    F.interpolate(shares, size=(height, width), mode="bilinear", align_corners=False)
                )
    return torch.cat(found).double().numpy()


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.75, 1.0, 1.25)])
@pytest.mark.parametrize("calibrated", [False, True])
def test_the_mean_of_all_views(flips, scales, calibrated):
    models = [network(0, calibrated=calibrated), network(1, calibrated=calibrated)]
    image = picture(45, 62)
    expected = plain(models, image, flips, scales)
    averaged = Averaged(models, Views(flips, scales))
    found = averaged.opinion(image)
    assert averaged.cost == len(expected)
    np.testing.assert_allclose(found.probabilities, expected.mean(axis=0), atol=2e-4)
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, atol=1e-5)

    def entropy(shares):
        return -(shares * np.log(shares)).sum(axis=0)

    together, apart = entropy(expected.mean(axis=0)), np.mean([entropy(one) for one in expected], axis=0)
    np.testing.assert_allclose(found.entropy, together, atol=1e-3)
    np.testing.assert_allclose(found.mutual_information, together - apart, atol=1e-3)
    labels, confidence = averaged.with_confidence(image)
    assert (labels == found.probabilities.argmax(axis=0)).all()
    assert (confidence == found.probabilities.max(axis=0)).all()
    assert (averaged(image) == labels).all()


def test_one_view_is_the_prediction_itself():
    model, image = network(0), picture(40, 40)
    labels, confidence = predict_augmented(model, image, flips=False)
    expected = predict_with_confidence(model, image)
    assert (labels == expected[0]).all()
    np.testing.assert_allclose(confidence, expected[1], atol=1e-6)
    assert Averaged([model]).opinion(image).mutual_information.max() < 1e-5


def test_mirrored_images_get_mirrored_answers():
    model, image = network(0), picture(32, 64)
    labels, confidence = predict_augmented(model, image)
    mirrored = predict_augmented(model, np.ascontiguousarray(image[:, ::-1]))
    np.testing.assert_allclose(mirrored[1][:, ::-1], confidence, atol=1e-5)
    sure = confidence > 0.51
    assert (mirrored[0][:, ::-1] == labels)[sure].all()


def test_what_does_not_fit_together():
    with pytest.raises(OptionError, match="other classes or bands"):
        Averaged([network(0), network(0, classes=2)])
    with pytest.raises(OptionError, match="no network"):
        Averaged([])
    with pytest.raises(OptionError, match="factors between"):
        Views(scales=(0.0,))


def test_files_say_whether_confidence_is_calibrated(tmp_path: Path):
    PIL.Image.fromarray(picture(32, 48)).save(tmp_path / "a.png")
    model = network(0, calibrated=True)
    for name, engine, expected in (
        ("one", None, "true"),
        ("many", Averaged([model], Views(flips=True), uncertainty=True), "false"),
    ):
        predict_files(model, [tmp_path / "a.png"], tmp_path / name, confidence=True, engine=engine)
        with PIL.Image.open(tmp_path / name / "confidence" / "a.png") as opened:
            assert opened.info["calibrated"] == expected
    bands = tifffile.imread(tmp_path / "many" / "uncertainty" / "a.tif")
    found = Averaged([model], Views(flips=True)).opinion(picture(32, 48))
    assert (bands == np.stack([found.entropy, found.mutual_information])).all()
    assert not (tmp_path / "one" / "uncertainty").exists()


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    PIL.Image.fromarray(picture(32, 48)).save(tmp_path / "a.png")
    paths = [str(save(network(seed), tmp_path / f"{seed}.safetensors")) for seed in (0, 1)]
    options = [
        "--confidence",
        "--flips",
        "--scales",
        "0.5,1",
        "--ensemble",
        paths[1],
        "--uncertainty",
        "--json",
    ]
    out = str(tmp_path / "out")
    assert run(["predict", paths[0], str(tmp_path / "a.png"), "-o", out, *options]) == 0
    told = capsys.readouterr()
    assert "computed 8 times" in told.err
    assert json.loads(told.out)["calibrated"] is False
    with PIL.Image.open(Path(out) / "labels" / "a.png") as opened:
        labels = np.array(opened)
    expected = Averaged([network(0), network(1)], Views(True, (0.5, 1.0)))(picture(32, 48))
    assert (labels == expected).all()
    assert run(["predict", paths[0], str(tmp_path / "a.png"), "-o", out, "--uncertainty"]) == 2
    assert "compares views and models" in capsys.readouterr().err
    assert run(["predict", paths[0], str(tmp_path / "a.png"), "-o", out, "--scales", "x"]) == 2
    assert "write factors with commas" in capsys.readouterr().err
