"""The commands as a user types them, in processes of their own."""

import json
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from pixelwise.cli.app import app
from pixelwise.cli.app import run as run_command


def pixelwise(*arguments):
    command = [sys.executable, "-m", "pixelwise", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("code", ["import pixelwise", "from pixelwise.cli.app import run; run(['--help'])"])
def test_torch_is_not_imported_before_it_is_needed(code):
    code += "; import sys; sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_help_lists_every_command(capsys):
    text = pixelwise("--help").stdout
    names = [command.name for command in [*app.registered_commands, *app.registered_groups]]
    assert {"train", "predict", "weights"} <= set(names)
    for name in names:
        assert f" {name} " in text
        assert run_command([name, "--help"]) == 0
        usage = capsys.readouterr().out.strip().splitlines()[0]
        assert usage.startswith("Usage: ")
        assert f" {name} " in usage


def test_every_public_name_can_be_imported():
    import pixelwise as pw

    assert all(getattr(pw, name) is not None for name in pw.__all__)
    assert set(pw.__all__) <= set(dir(pw))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pw.nothing


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    options = ["--epochs=20", "--batch=2", "--size=64", "--set=network.decoder_channels=[32,16,16]", "--json"]
    result = pixelwise("train", shapes, "-o", folder, *options)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["model"] == str(folder / "model.safetensors")
    return folder


def test_check(shapes):
    result = pixelwise("check", shapes, "--json")
    assert result.returncode == 0
    report = json.loads(result.stdout)
    assert report["images"] == {"train": 6, "val": 2, "test": 2}
    assert "ready to train" in pixelwise("check", shapes).stdout


def test_evaluate(run, shapes, tmp_path):
    result = pixelwise("evaluate", run, shapes, "-o", tmp_path / "e", "--json")
    assert result.returncode == 0, result.stderr
    scores = json.loads(result.stdout)
    assert scores == json.loads((tmp_path / "e" / "scores.json").read_text())
    assert scores["mean_iou"] > 0.3  # colours alone say which class it is: a network that learns gets there
    assert "<html" in (tmp_path / "e" / "report.html").read_text()


def test_predict_keeps_names_and_sizes(run, shapes, tmp_path):
    odd = tmp_path / "in" / "a picture, ä.png"
    odd.parent.mkdir()
    PIL.Image.fromarray(np.zeros((37, 51, 3), np.uint8)).save(odd)
    (odd.parent / "b.jp2").write_bytes(b"x")
    result = pixelwise(
        "predict",
        run,
        shapes / "images" / "test",
        odd.parent,
        "-o",
        tmp_path / "out",
        "--confidence",
        "--json",
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["passed_over"] == [str(odd.parent / "b.jp2")]
    assert "note: passed over 1 .jp2: files of this kind are not read (b.jp2)" in result.stderr
    with PIL.Image.open(tmp_path / "out" / "labels" / odd.name) as labels:
        assert labels.mode == "P"
        assert labels.size == (51, 37)
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 3
    for kind in ("overlay", "confidence"):
        with PIL.Image.open(tmp_path / "out" / kind / odd.name) as picture:
            assert picture.size == (51, 37)


def test_describe_and_models(run):
    assert "14,329,659 parameters" in pixelwise("describe", "unet", "--classes", 11).stdout
    facts = json.loads(pixelwise("describe", run, "--json", "--size", "64x96").stdout)
    assert facts["layers"][-1]["output"] == [3, 16, 24]
    assert json.loads(pixelwise("models", "--json").stdout)[0]["name"] == "unet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere"], "nowhere"),
        (["evaluate", "none.safetensors", ".", "-o", "x"], "no such file"),
        (["describe", "unett"], "did you mean 'unet'"),
        (["describe", "unet", "--size", "big"], "--size 256"),
        (["train"], "Missing argument"),
        (["train", ".", "-o", "r", "--bogus"], "No such option"),
        (["no-such-command"], "No such command"),
    ],
)
def test_mistakes_give_one_message_and_status_2(arguments, message, tmp_path):
    result = pixelwise(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_an_error_as_json():
    result = pixelwise("check", "nowhere", "--json")
    assert result.returncode == 2
    assert json.loads(result.stdout)["error"]["file"] == "nowhere"


def test_findings_give_status_1(shapes, tmp_path):
    import shutil

    copy = shutil.copytree(shapes, tmp_path / "data")
    (copy / "masks" / "train" / "shape0_train.png").write_bytes(b"")
    result = pixelwise("check", copy)
    assert result.returncode == 1
    assert "shape0_train.png" in result.stdout
