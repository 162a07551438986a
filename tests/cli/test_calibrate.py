"""`calibrate`: temperatures found again where they are known, labels untouched, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pixelwise.cli.app import run
from pixelwise.data.dataset import open_dataset
from pixelwise.errors import DataError
from pixelwise.evaluation.calibration import CalibrationCounter
from pixelwise.evaluation.perturbation import WAYS, perturbed
from pixelwise.evaluation.temperature import (
    PixelSample,
    calibrated,
    cross_entropy,
    fit_calibration,
    sample_pixels,
    temperature,
    temperatures_by_class,
    true_probabilities,
)
from pixelwise.infer.predictor import Running, predict, predict_with_confidence
from pixelwise.models.bundle import BundleFacts, load, save
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.zoo import build
from pixelwise.training import train
from pixelwise.training.options import TrainOptions


def drawn(per_class, *, count=60_000, images=20, seed=0):
    """Pixels whose true class is drawn from the softmax at a known temperature of the predicted class."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, len(per_class))).astype(np.float32)
    scaled = logits.astype(float) / np.array(per_class)[logits.argmax(axis=1)][:, None]
    truth = (scaled + rng.gumbel(size=scaled.shape)).argmax(axis=1)
    return PixelSample(logits, truth, np.arange(count) * images // count)


def test_known_temperatures_are_found_again():
    sample = drawn((1.6, 1.6, 1.6))
    assert temperature(sample) == pytest.approx(1.6, rel=0.03)
    found = fit_calibration(sample, "val")
    assert found.each(3) == pytest.approx((1.6,) * 3, rel=0.03)
    assert found.kind == "one"
    assert found.ece_after < 0.01 < 0.08 < found.ece_before
    assert (found.images, found.pixels, found.split) == (20, 60_000, "val")


def test_one_for_every_class_where_they_differ():
    sample = drawn((0.7, 1.5, 3.0))
    found = fit_calibration(sample, "val")
    assert found.kind == "per_class"
    assert found.temperatures == pytest.approx((0.7, 1.5, 3.0), rel=0.06)


def test_the_temperature_is_the_best_of_a_fine_grid_and_torch_agrees_on_the_loss():
    sample = drawn((1.0, 2.0, 1.0, 2.0), count=3000)
    grid = np.exp(np.linspace(-1.5, 2, 400))
    losses = [
        float(
            torch.nn.functional.cross_entropy(
                torch.from_numpy(sample.logits / t), torch.from_numpy(sample.truth)
            )
        )
        for t in grid.astype(np.float32)
    ]
    assert temperature(sample) == pytest.approx(grid[np.argmin(losses)], rel=0.01)
    assert cross_entropy(sample, grid[100]) == pytest.approx(losses[100], rel=1e-4)


def test_what_does_not_help_is_not_done():
    sample = drawn(
        (1.0, 1.0)
    )  # as it should be; now the first images are made too cautious, the last too sure
    sharp = np.where(sample.image < 10, 0.25, 4.0)[:, None]
    wrong = PixelSample((sample.logits * sharp).astype(np.float32), sample.truth, sample.image)
    found = fit_calibration(wrong, "val")
    assert found.temperatures == (1.0,)
    assert found.ece_after == found.ece_before > 0.05


def test_classes_with_too_little_take_the_common_temperature():
    sample = drawn((1.0, 1.0, 3.0))
    rare = np.flatnonzero(sample.logits.argmax(axis=1) == 2)[500:]
    kept = np.ones(len(sample.truth), bool)
    kept[rare] = False
    found = temperatures_by_class(sample.of(kept), 1.25)
    assert found[2] == 1.25
    assert found[:2] == pytest.approx((1, 1), rel=0.1)


def test_too_little_to_calibrate_on():
    with pytest.raises(DataError, match="400 pixels"):
        fit_calibration(drawn((1.0, 1.0), count=400), "val")
    with pytest.raises(DataError, match="1 images"):
        fit_calibration(drawn((1.0, 1.0), images=1), "val")
    sample = drawn((1.0, 1.0))
    faultless = PixelSample(sample.logits, sample.logits.argmax(axis=1), sample.image)
    with pytest.raises(DataError, match="0 wrong pixels"):
        fit_calibration(faultless, "val")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that answers at random, and is sure of it."""
    torch.manual_seed(0)
    names = ["ground", "box", "disc"]
    net = build("unet", classes=names, options=NetworkOptions(decoder_channels=(8, 8))).eval()
    with torch.no_grad():
        images = torch.randn(1, 3, 64, 64)
        net.head.weight *= 40 / net(images).std()
        net.head.bias.copy_(-net(images).mean(dim=(0, 2, 3)))
    return save(net, tmp_path_factory.mktemp("calibrate") / "net.safetensors")


def test_sampled_logits_are_those_of_the_whole_image(model, shapes):
    data, net = open_dataset(shapes), load(model)
    sample = sample_pixels(net, data.train, pixels=600, seed=3)
    assert len(sample.truth) == 600 and sample.images == len(data.train)
    image = data.train[0].image
    rng = np.random.default_rng([3, 0])
    places = rng.choice(64 * 64, 100, replace=False)
    with torch.no_grad():
        full = (
            net(net.prepare(torch.from_numpy(image.copy()).permute(2, 0, 1)[None]))[0].numpy().reshape(3, -1)
        )
    np.testing.assert_allclose(sample.logits[:100], full[:, places].T, atol=1e-3)
    assert (sample.truth[:100] == data.train[0].labels.ravel()[places]).all()


@pytest.mark.parametrize("extra", [[], ["--perturb"]])
def test_a_bundle_is_calibrated_and_its_labels_stay(model, shapes, tmp_path, capsys, extra):
    out = tmp_path / "new.safetensors"
    assert (
        run(["calibrate", str(model), str(shapes), "-o", str(out), "--split", "train", "--json", *extra]) == 0
    )
    told = json.loads(capsys.readouterr().out)["calibration"]
    assert told["split"] == ("train, perturbed" if extra else "train")
    assert told["images"] == 6
    assert told["ece_after"] < told["ece_before"]
    before, after = load(model), load(out)
    assert after.facts.calibration.model_dump(mode="json") == told
    data, errors = open_dataset(shapes), []
    for net in (before, after):
        counter = CalibrationCounter([spec.name for spec in net.classes])
        for index in range(len(data.test)):
            sample = data.test[index]
            labels, confidence = predict_with_confidence(net, sample.image)
            shares = Running(net).probabilities(sample.image)
            np.testing.assert_allclose(shares.max(axis=0), confidence, atol=1e-5)
            assert (labels == predict(before, sample.image)).all()
            counter.add(sample.labels, labels, confidence, shares)
        errors.append(counter.scores().ece)
    assert errors[1] < errors[0] / 2  # random answers: the network was far too sure


def test_nothing_is_promised_on_images_that_the_model_knows(shapes, tmp_path, capsys):
    torch.manual_seed(0)
    net = build("unet", classes=["ground", "box", "disc"], options=NetworkOptions(decoder_channels=(8, 8)))
    facts = BundleFacts(split={"train": ["shape0_train", "one that is not there"]})
    model, out = save(net, tmp_path / "net.safetensors", facts=facts), tmp_path / "new.safetensors"
    # a share that six images are enough for
    call = ["calibrate", str(model), str(shapes), "-o", str(out), "--split", "train", "--share", "0.5"]
    assert run([*call, "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["calibration"]["set_threshold"] is None
    assert "was trained on 1 of these 6 images" in told["warnings"][0] and "no label sets" in printed.err
    report = ["--no-check", "-o", str(tmp_path / "e"), "--json"]
    assert run(["evaluate", str(out), str(shapes), "--split", "train", *report]) == 0
    warned = json.loads(capsys.readouterr().out)["warnings"]
    assert "temperatures were fitted on 6 images of a train split" in warned[1]
    page = (tmp_path / "e" / "report.html").read_text()
    assert "after temperatures fitted on the train split)" in page
    save(net, model)
    assert run([*call, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["calibration"]["set_threshold"] is not None and told["warnings"] == []


def test_true_probabilities_are_those_of_the_calibrated_network(model, shapes):
    data, net = open_dataset(shapes), load(model)
    sample = sample_pixels(net, data.train, pixels=12_000)
    found = fit_calibration(sample, "train")
    each = torch.tensor(found.each(3))[torch.from_numpy(sample.logits).argmax(dim=1)]
    shares = (torch.from_numpy(sample.logits) / each[:, None]).softmax(dim=1)
    expected = shares.gather(1, torch.from_numpy(sample.truth)[:, None])[:, 0]
    np.testing.assert_allclose(true_probabilities(sample, found), expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_perturbed_images_keep_their_kind(dtype):
    rng = np.random.default_rng(0)
    image = (rng.random((30, 41, 4)) * (200 if dtype == np.uint8 else 3000)).astype(dtype)
    labels = rng.integers(0, 3, (30, 41)).astype(np.uint8)
    for way in range(WAYS):
        found, truth = perturbed(image, labels, way, np.random.default_rng(way))
        assert found.dtype == dtype and found.shape[:2] == truth.shape and found.shape[2] == 4
        assert set(np.unique(truth)) <= {0, 1, 2}
        assert found.shape != image.shape or (found != image).any()
        if way % 3 != 2:
            assert (truth == labels).all()


def test_what_is_refused(model, shapes, tmp_path, capsys):
    assert run(["calibrate", str(model), str(shapes), "-o", str(tmp_path), "--split", "train"]) == 2
    assert "is a folder" in capsys.readouterr().err
    out = str(tmp_path / "x.safetensors")
    assert run(["calibrate", str(model), str(shapes), "-o", out, "--split", "all"]) == 2
    assert "give train, val or test" in capsys.readouterr().err
    assert run(["calibrate", str(model), str(shapes), "-o", out, "--split", "train", "--share", "2"]) == 2
    assert "--share is 2" in capsys.readouterr().err


def test_training_ends_with_it(shapes, tmp_path):
    data = open_dataset(shapes)
    options = TrainOptions(
        epochs=1, batch=2, size=(32, 32), precision="float32", network=NetworkOptions(decoder_channels=(8, 8))
    )
    trained = load(train(data, out=tmp_path / "run", options=options).folder)
    found = trained.facts.calibration
    assert found is not None
    assert (found.split, found.images) == ("val", 2)
    assert found == calibrated(trained, data.val)
