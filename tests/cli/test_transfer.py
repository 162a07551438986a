"""The commands of transfer learning as a user types them."""

import hashlib
import json

import numpy as np
import pytest
import torch

from pixelwise.cli.app import run
from pixelwise.models.bundle import BundleFacts, save
from pixelwise.models.classifier import ClassifierOptions
from pixelwise.models.encoderfiles import read_encoder_weights
from pixelwise.models.tasks import build_classifier
from pixelwise.types import Normalization

GREY = Normalization((100.0,) * 3, (50.0,) * 3)


def pixelwise(capsys, *arguments):
    """Exit status, standard output, standard error."""
    status = run([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    torch.manual_seed(1)
    options = ClassifierOptions(encoder_width=0.125)
    network = build_classifier(encoder="resnet18", classes=4, normalization=GREY, options=options)
    folder = tmp_path_factory.mktemp("cli")
    return save(network, folder / "model.safetensors", facts=BundleFacts(dtype="uint8")).parent


def test_published_weights_are_listed_with_their_licences(capsys):
    status, out, _ = pixelwise(capsys, "weights", "list")
    assert status == 0
    assert "hub:resnet18" in out
    assert "BSD-3-Clause" in out
    status, out, _ = pixelwise(capsys, "weights", "list", "--json")
    assert {entry["name"] for entry in json.loads(out)} >= {
        "alexnet",
        "googlenet",
        "resnet18",
        "vgg16",
        "xception",
    }


def write_mobilenet(folder):
    """A MobileNet v1 of width 0.25 without its last kernel."""
    rng = np.random.default_rng(0)
    shapes = {"conv1/kernel": (3, 3, 3, 8)}
    norms = {"conv1": 8}
    channels = 8
    for number, width in enumerate((16, 32, 32, 64, 64, *[128] * 6, 256, 256), 1):
        shapes[f"conv_dw_{number}/depthwise_kernel"] = (3, 3, channels, 1)
        shapes[f"conv_pw_{number}/kernel"] = (1, 1, channels, width)
        norms |= {f"conv_dw_{number}": channels, f"conv_pw_{number}": width}
        channels = width
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    shapes |= {f"{name}_bn/{part}": (count,) for name, count in norms.items() for part in parts}
    folder.mkdir()
    manifest, sums = [], []
    for number, (name, shape) in enumerate(shapes.items()):
        data = rng.uniform(0.1, 1, shape).astype("<f4").tobytes()
        file = f"group{number}"
        manifest.append({"paths": [file], "weights": [{"name": name, "shape": shape, "dtype": "float32"}]})
        sums.append(f"{hashlib.sha256(data).hexdigest()}  {file}")
        if name != "conv_pw_13/kernel":
            (folder / file).write_bytes(data)
    (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    sums.append(f"{hashlib.sha256((folder / 'model.json').read_bytes()).hexdigest()}  model.json")
    (folder / "SHA256SUMS").write_text("\n".join(sums))
    return folder


def test_convert(capsys, tmp_path):
    folder = write_mobilenet(tmp_path / "js")
    status, out, _ = pixelwise(capsys, "weights", "convert", folder, "-o", tmp_path / "net.safetensors")
    assert status == 0
    assert "Apache-2.0" in out
    assert "conv_pw_13 was not in the source" in out
    again = read_encoder_weights(tmp_path / "net.safetensors")
    assert (again.encoder, again.dtype) == ("mobilenet_v1", "uint8")
    assert again.normalization == Normalization((127.5,) * 3, (127.5,) * 3)
    (folder / "group3").write_bytes(b"torn")
    status, _, error = pixelwise(capsys, "weights", "convert", folder, "-o", tmp_path / "net.safetensors")
    assert status == 2
    assert "group3" in error
    status, _, error = pixelwise(capsys, "weights", "convert", folder, "-o", tmp_path / "net.pth")
    assert (status, "ends with .safetensors" in error) == (2, True)


def test_train_with_weights_then_forgetting(capsys, shapes, classifier, tmp_path):
    small = ["--epochs=1", "--batch=2", "--size=32", "--set=network.encoder_width=0.125"]
    small += ["--set=network.decoder_channels=[8,8]", "--set=precision=float32"]
    first = tmp_path / "first"
    status, out, error = pixelwise(
        capsys, "train", shapes, "-o", first, *small, "--encoder-weights", classifier, "--strategy", "last"
    )
    assert status == 0, error
    assert "last: the encoder stays as it is" in error
    config = (first / "config.yaml").read_text()
    assert "strategy: last" in config
    second = tmp_path / "second"
    status, out, error = pixelwise(
        capsys,
        "train",
        shapes,
        "-o",
        second,
        *small,
        "--encoder-weights",
        first,
        "--set=transfer.encoder_lr=1",
    )
    assert status == 0, error
    assert "full: the whole encoder trains, at 1 of" in error
    status, out, error = pixelwise(capsys, "forgetting", first, second, shapes, "--json")
    assert status == 0, error
    found = json.loads(out)
    assert found["lost"] == pytest.approx(found["before"] - found["after"])
    assert found["scores_before"]["images"] == 2
    assert found["scores_before"]["confusion"] != found["scores_after"]["confusion"]
    status, out, _ = pixelwise(capsys, "forgetting", first, second, shapes, "--split", "val")
    assert status == 0
    assert "forgotten" in out


def test_a_strategy_without_weights_is_an_error(capsys, shapes, tmp_path):
    status, _, error = pixelwise(capsys, "train", shapes, "-o", tmp_path / "r", "--strategy", "staged")
    assert status == 2
    assert "give --encoder-weights" in error


def test_advise(capsys, shapes, tmp_path):
    torch.manual_seed(0)
    file = save(build_classifier(encoder="lenet"), tmp_path / "net.safetensors")
    status, out, error = pixelwise(capsys, "advise", shapes, "--encoder-weights", file, "--json")
    assert status == 0, error
    advice = json.loads(out)
    assert advice["size"] == "small"
    assert advice["colors"]["score"] > 0.9
    assert len(advice["why"]) == 4
    status, out, _ = pixelwise(capsys, "advise", shapes, "--encoder-weights", file)
    assert status == 0
    assert "or more are large" in out
    assert f"pixelwise train {shapes} -o RUN --encoder lenet" in out
