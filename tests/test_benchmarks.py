"""The bench as a whole: what it runs is there, its table says what the files say, and its floor counts right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.models.trace import describe

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def test_every_benchmark_that_is_listed_is_there():
    done = subprocess.run(
        [sys.executable, str(FOLDER / "all.py"), "--list"], check=True, capture_output=True, text=True
    )
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert {"inference", "train_step", "feed", "floor"} <= set(names)
    assert all((FOLDER / f"{name}.py").is_file() for name in names)


def test_table_and_picture_of_stored_results(tmp_path):
    import summary

    pytest.importorskip("matplotlib")
    feed = {"rows": [{"size": [256, 256], "ratio": 9.5}], "load_before": 0.25}
    floor = {"rows": [{"model": "unet", "batch": 4, "what": "openvino", "share_of_floor": 0.625}]}
    for name, result in {"feed": feed, "floor": floor}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    text = summary.table(tmp_path)
    assert "| feed | batches of 256 x 256 | albumentations, 2 workers | 9.5 times | 8 times |" in text
    assert "| floor | prediction, U-Net, batch 4 | share of the floor | 62 % | 55 % |" in text
    assert "feed 0.25" in text
    summary.draw(tmp_path, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("model", ["unet", "deeplabv3plus"])
def test_the_floor_counts_the_multiply_adds_that_describe_counts(model):
    import floor

    net = pw.build(model, encoder="resnet18", classes=floor.CLASSES)
    counted = sum(layer.multiply_adds for layer in floor.layers(model, (96, 128)))
    assert counted == describe(net, size=(96, 128)).multiply_adds


def test_the_floor_of_a_layer_is_the_longer_of_arithmetic_and_bytes():
    import floor

    layer = floor.Layer("one", "1 x 1", 1000, 300, 100, 50, normalised=True, shape=(1,))
    prediction, training = floor.floors(layer, 2, {"1 x 1": 1000.0}, 100.0)
    assert prediction == 2 * (2 * 400 + 50) / 100  # bytes: 17 s against 2 s
    assert training == 3 * 17 + 7 * 2 * 2 * 100 / 100
    prediction, training = floor.floors(layer, 2, {"1 x 1": 10.0}, 100.0)
    assert prediction == 200
    assert training == 600 + 28
