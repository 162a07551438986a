"""One loop, four tasks: each learns something easy, and refuses data of another kind."""

import json

import numpy as np
import PIL.Image
import pytest
import torch

import pixelwise as pw
from pixelwise.data.transforms import AugmentOptions
from pixelwise.data.views import open_images
from pixelwise.errors import LayoutError
from pixelwise.losses import LossOptions
from pixelwise.models.autoencoder import Autoencoder, AutoencoderOptions
from pixelwise.models.bundle import load_network
from pixelwise.models.classifier import Classifier, ClassifierOptions
from pixelwise.models.localizer import Localizer, LocalizerOptions
from pixelwise.models.tasks import build_localizer
from pixelwise.training.options import TrainOptions
from pixelwise.training.tasks import TASKS, Localize

QUICK = {"batch": 4, "size": (32, 32), "precision": "float32", "validations": 2, "checkpoint_seconds": 60}


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """A folder per class: horizontal and vertical stripes of random phase, contrast and noise."""
    root = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    places = np.arange(32)
    for split, count in (("train", 24), ("val", 8), ("test", 8)):
        for name in ("across", "down"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                wave = np.sin(2 * np.pi * (places / 8 + rng.random())) * rng.uniform(40, 100)
                picture = np.tile(wave, (32, 1)) if name == "down" else np.tile(wave[:, None], (1, 32))
                picture = picture + 128 + rng.normal(0, 10, (32, 32))
                PIL.Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return root


def test_a_classifier_tells_stripes_apart(stripes, tmp_path):
    data = pw.open_dataset(stripes)
    options = TrainOptions(
        task="classify", epochs=6, classifier=ClassifierOptions(encoder_width=0.125), **QUICK
    )
    run = pw.train(data, out=tmp_path / "run", options=options)
    assert run.measure == "accuracy"
    assert run.mean_iou is None
    assert run.score == 1.0
    model = load_network(run.folder)
    assert isinstance(model, Classifier)
    assert [spec.name for spec in model.classes] == ["across", "down"]
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert sum("accuracy" in row for row in rows) == 2
    assert (run.folder / "report.html").exists()


def test_an_autoencoder_explains_most_of_the_stripes(stripes, tmp_path):
    options = TrainOptions(
        task="reconstruct",
        encoder="lenet",
        epochs=10,
        augment=AugmentOptions(scale=(1.0, 1.0), color=0.0),
        autoencoder=AutoencoderOptions(code=4, noise=0.1),
        **QUICK,
    )
    run = pw.train(open_images(stripes), out=tmp_path / "run", options=options)
    assert run.measure == "explained_variance"
    assert run.score > 0.5
    assert isinstance(load_network(run.folder), Autoencoder)


def test_a_box_that_has_gone_astray_can_come_back():
    network = build_localizer(classes=3, options=LocalizerOptions(encoder_width=0.125)).train()
    labels = torch.ones(2, 64, 64, dtype=torch.uint8)
    with torch.no_grad():
        network.box.bias.fill_(30.0)  # a sigmoid would be 1 to the last bit, and its gradient nothing
    outputs = Localize().forward(network, torch.randn(2, 3, 64, 64))
    Localize().loss(outputs, torch.zeros(0), labels, LossOptions(), None).backward()
    assert (network.box.bias.grad > 0.1).all()


def test_a_localizer_finds_the_largest_object(shapes, tmp_path):
    options = TrainOptions(task="localize", epochs=2, **QUICK)
    run = pw.train(pw.open_dataset(shapes), out=tmp_path / "run", options=options)
    assert run.measure == "mean_box_iou"
    assert 0 <= run.score <= 1
    assert isinstance(load_network(run.folder), Localizer)


@pytest.mark.parametrize(
    ("task", "kind", "remedy"),
    [("segment", "stripes", "--task classify"), ("classify", "shapes", "--task segment"),
     ("localize", "stripes", "--task classify")],
)  # fmt: skip
def test_data_of_another_kind_is_refused(task, kind, remedy, request, tmp_path):
    data = pw.open_dataset(request.getfixturevalue(kind))
    with pytest.raises(LayoutError, match=remedy):
        pw.train(data, out=tmp_path / "run", options=TrainOptions(task=task, epochs=1))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_the_class_of_a_view_is_that_of_its_image():
    """Whatever part of a view lies outside, the target stays; judged by plain counting."""
    import torch

    labels = torch.full((2, 8, 8), 255, dtype=torch.uint8)
    labels[0, 2:4] = 3
    labels[1, 5:] = 1
    logits = torch.zeros(2, 4, requires_grad=True)
    loss = TASKS["classify"]().loss([logits], torch.zeros(2, 1, 8, 8), labels, TrainOptions().loss, None)
    loss.backward()
    assert loss.item() == pytest.approx(np.log(4))
    assert [int(row.argmin()) for row in logits.grad] == [3, 1]


def test_pixels_outside_the_image_do_not_count_as_reconstruction_error():
    import torch

    images, restored = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    labels[:, :, 2:] = 255
    restored[:, :, :, 2:] = 9.0
    restored[:, 0, 0, 0] = 4.0
    loss = TASKS["reconstruct"]().loss(restored, images, labels, TrainOptions().loss, None)
    assert loss.item() == pytest.approx(16 / (8 * 2))


@pytest.mark.parametrize("model", ["fcn8s", "unet", "hourglass"])
def test_the_loss_at_low_resolution_is_that_of_the_full_size_logits(model):
    """Also where the image is no multiple of the stride: judged by torch, on logits enlarged and cropped."""
    import torch

    torch.manual_seed(0)
    options = pw.NetworkOptions(encoder_width=0.125)
    network = pw.build(model, classes=3, options=options).train()
    images, labels = torch.randn(2, 3, 45, 70), torch.randint(0, 3, (2, 45, 70), dtype=torch.uint8)
    labels[:, :5] = 255
    task = TASKS["segment"]()
    loss = task.loss(task.forward(network, images), images, labels, LossOptions(overlap_weight=0), None)
    parts = [
        torch.nn.functional.cross_entropy(logits, labels.long(), ignore_index=255)
        for logits in network.every(images)
    ]
    torch.testing.assert_close(loss, torch.stack(parts).mean())
