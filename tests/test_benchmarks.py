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
    feed = {"rows": [{"size": [256, 256], "ratio": 9.5}], "share_of_a_step": 0.005, "load_before": 0.25}
    feed["running_before"] = {"another": 0.5}
    floor = {"rows": [{"model": "unet", "batch": 4, "what": "openvino", "share_of_floor": 0.625}]}
    for name, result in {"feed": feed, "floor": floor}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    text = summary.table(tmp_path)
    assert "| feed | batches of 256 x 256 | albumentations, 2 workers | 9.5 times | 8 times |" in text
    assert "| floor | prediction, U-Net, batch 4 | share of the floor | 62.5 % | 55 % |" in text
    assert "| feed | a batch of 360 x 480 | a step of U-Net | 0.5 % | at most 5 % |" in text
    assert "feed 0.25" in text
    assert "feed another 0.5" in text
    summary.draw(tmp_path, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_program_that_works_beside_a_benchmark_is_named():
    from others import busy

    work = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        found = busy(0.5)
    finally:
        work.kill()
        work.wait()
    if Path("/proc/self/stat").exists():
        assert Path(sys.executable).resolve().name[:15] in found or "python" in found
    else:
        assert found == {}


def test_seeds_are_compared_where_both_recipes_ran():
    from time_to_accuracy import summed_up

    def run(recipe, seed, seconds, score, minutes=25.0):
        return {
            "recipe": recipe,
            "seed": seed,
            "seconds": seconds,
            "mean_iou": score,
            "minutes": minutes,
            "load_before": 0.0,
        }

    runs = [
        run("plain", 0, 1500.0, 0.4),
        run("plain", 1, 1500.0, 0.9),
        run("plain", 0, 60.0, 0.1, minutes=1.0),
    ]
    assert "reached" not in summed_up(runs, 25.0)
    found = summed_up([*runs, run("ours", 0, 300.0, 0.45)], 25.0)
    assert found["seeds"] == [0]
    assert found["mean_iou"] == {"plain": 0.4, "ours": 0.45}
    assert found["share_of_the_time"] == 0.2
    assert found["reached"]
    assert not summed_up([*runs, run("ours", 0, 400.0, 0.45)], 25.0)["reached"]
    assert not summed_up([*runs, run("ours", 0, 300.0, 0.39)], 25.0)["reached"]


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
