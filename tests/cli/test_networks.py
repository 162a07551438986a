"""`models` and `describe` as a user types them, in this process."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from pixelwise.cli.app import run
from pixelwise.models.bundle import save
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.tasks import ClassifierOptions, build_autoencoder, build_classifier, build_localizer
from pixelwise.models.zoo import DECODERS, ENCODERS, build

TEXT = "{http://www.w3.org/2000/svg}text"


def said(capsys, *arguments, status=0):
    assert run([*map(str, arguments)]) == status
    output = capsys.readouterr()
    return output.err if status else output.out


@pytest.fixture(scope="module")
def rows():
    from pixelwise.models.catalogue import catalogue

    return [*catalogue()]


def test_models_lists_everything_with_its_costs(capsys, monkeypatch, rows):
    monkeypatch.setattr("pixelwise.models.catalogue.catalogue", lambda: rows)
    lines = said(capsys, "models").splitlines()
    for name in DECODERS:
        assert any(line.startswith(f"  {name} on ") for line in lines)
    for name in [*ENCODERS, "timm:NAME"]:
        assert any(line.startswith(f"  {name} ") for line in lines)
    (unet,) = [line for line in lines if line.startswith("  unet on resnet18 ")]
    assert unet.split()[3:8] == ["14.33", "21.63", "563", "281,", "250"]
    assert "Ronneberger" in unet
    (global_one,) = [line for line in lines if line.startswith("  deeplabv3 on ")]
    assert global_one.count("global") == 2


def test_models_as_json(capsys):
    rows = json.loads(said(capsys, "models", "--json"))
    assert [row["name"] for row in rows] == [*DECODERS, *ENCODERS]
    assert {row["kind"] for row in rows} == {"model", "encoder"}
    found = {row["name"]: row for row in rows}
    assert found["vgg16_bn"]["parameters"] == 14_723_136  # 138,365,992 less the dense layers' 123,642,856
    assert found["fullres"]["halo"] == [8, 8]
    assert found["deeplabv3"]["halo"].startswith("global: ")


def test_models_draws_a_table_as_wide_as_the_terminal(capsys, monkeypatch, rows):
    monkeypatch.setattr("pixelwise.models.catalogue.catalogue", lambda: rows)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    lines = re.sub(r"\x1b\[[\d;]*m", "", said(capsys, "models")).splitlines()
    drawn = lines[: next(place for place, line in enumerate(lines) if line.startswith("Parameters in"))]
    assert max(map(len, drawn)) <= 100
    assert any("─" * 90 in line for line in drawn)
    (unet,) = [line for line in drawn if " unet on " in line]
    assert unet.split()[:9] == ["unet", "on", "resnet18", "14.33", "21.63", "563", "281,", "250", "U-Net."]
    assert unet.rstrip().endswith("…")


def test_describe_a_global_network(capsys):
    text = said(capsys, "describe", "deeplabv3plus", "--size", "64")
    assert "every output depends on the whole image: AdaptiveAvgPool2d (decoder.aspp.image.0)" in text
    facts = json.loads(said(capsys, "describe", "deeplabv3plus", "--size", "64", "--json"))
    assert facts["halo"] == "global: AdaptiveAvgPool2d (decoder.aspp.image.0)"
    assert facts["layers"][0]["field"] == 7
    assert facts["layers"][-1]["field"] == "global"


def test_describe_an_encoder(capsys):
    text = said(capsys, "describe", "vgg16_bn")
    assert text.startswith("encoder vgg16_bn, 3 bands, image 512 x 512")
    assert "14,723,136 parameters" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unet"], ["unet on resnet18", "concatenate", "512 × 512", "stride 32", "classes"]),
        (["segnet", "--encoder", "vgg16_bn"], ["segnet on vgg16_bn", "switches"]),
        (["fcn8s", "--encoder", "vgg16"], ["add", "resized × 8"]),
        (["patch"], ["window", "32 × 32"]),
        (["xception"], ["encoder xception", "2048"]),
    ],
)
def test_describe_draws(arguments, words, capsys, tmp_path):
    path = tmp_path / "a drawing.svg"
    said(capsys, "describe", *arguments, "--diagram", path)
    found = [element.text for element in ElementTree.parse(path).iter(TEXT)]
    assert {*words} <= {*found}


def test_fullres_takes_the_encoder_that_it_needs(capsys):
    assert "fullres on image" in said(capsys, "describe", "fullres", "--size", "64")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (build_classifier(classes=4), ["classify", "4 classes", "depends on the whole image"]),
        (
            build_classifier(options=ClassifierOptions(head="flatten", size=(64, 64))),
            ["image 64 x 64", "Flatten"],
        ),
        (build_autoencoder(), ["autoencoder on resnet18", "a tile cut"]),
        (build_localizer(), ["class and box head"]),
        (
            build("unet", encoder="unet", options=NetworkOptions(norm="group", encoder_width=0.25)),
            ["GroupNorm"],
        ),
    ],
)
def test_describe_bundles_of_every_task(network, words, capsys, tmp_path):
    path = save(network, tmp_path / "net.safetensors")
    text = said(capsys, "describe", path, "--diagram", tmp_path / "d.svg")
    for word in words[1:] if words[0] == "classify" else words:
        assert word in text
    ElementTree.parse(tmp_path / "d.svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet19"], "did you mean 'resnet18', 'resnet50' or 'resnet34'?"),
        (["deeplab"], "did you mean 'deeplabv3' or 'deeplabv3plus'?"),
        (["nowhere/model.safetensors"], "no such file"),
        (["unet", "--size", "0x5"], "positive height and width"),
        (["unet", "--encoder", "renset18"], "did you mean 'resnet18'"),
        (["fullres", "--encoder", "resnet18"], "choose the encoder image"),
    ],
)
def test_mistakes(arguments, message, capsys):
    assert message in said(capsys, "describe", *arguments, status=2)
