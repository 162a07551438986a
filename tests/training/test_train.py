"""Training for real, small: the files it writes, how it stops, how it goes on."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

import pixelwise as pw
from pixelwise.errors import OptionError, OutputError, TrainingError
from pixelwise.metrics import scores_from_confusion
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.training.log import RunLog
from pixelwise.training.loop import _validate
from pixelwise.training.options import TrainOptions
from pixelwise.training.state import Position

SMALL = TrainOptions(
    epochs=4,
    batch=2,
    size=(48, 48),
    validations=3,
    coarse=0.3,
    checkpoint_seconds=0,
    network=NetworkOptions(decoder_channels=(16, 16, 8), dropout=0.1),
    precision="float32",
)
SETTINGS = [
    "--epochs=4", "--batch=2", "--size=48", "--set=validations=3", "--set=coarse=0.3",
    "--set=checkpoint_seconds=0", "--set=network.decoder_channels=[16,16,8]", "--set=network.dropout=0.1",
    "--set=precision=float32",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    return pw.train(pw.open_dataset(shapes), out=tmp_path_factory.mktemp("run") / "r", options=SMALL)


def command(*arguments):
    return [sys.executable, "-m", "pixelwise", *map(str, arguments)]


def test_the_run_folder(run, shapes):
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"model.safetensors", "config.yaml", "metrics.jsonl", "report.html", "checkpoint"}
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    scored = [row for row in rows if "mean_iou" in row]
    assert len(scored) == 3
    assert rows[-2]["step"] == run.steps == 12
    assert rows[-2]["progress"] == 1
    model = pw.load(run.folder)
    assert model.facts.training.steps == scored[-1]["step"] or model.facts.training.validation
    assert model.facts.training.dataset_sha256 == pw.open_dataset(shapes).digest()
    assert run.mean_iou == pytest.approx(max(row["mean_iou"] for row in scored), abs=1e-9)


def test_a_score_that_is_not_defined_is_null_and_no_best_one(tmp_path, monkeypatch, capsys):
    saved = []
    monkeypatch.setattr("pixelwise.training.loop.save", lambda *_, **__: saved.append(1))
    matrices = [np.zeros((3, 3), int), np.diag([4, 2, 0])]  # nothing to compare, then a class without pixels
    scores = iter([scores_from_confusion(matrix, ["a", "b", "c"]) for matrix in matrices])
    session = SimpleNamespace(
        position=Position(), clock=lambda: 0.0, elapsed=lambda: 1.0, validation=[0], current=None, folder=tmp_path,
        note_validation=lambda _: None, facts=lambda _: None, log=RunLog(tmp_path),
        task=SimpleNamespace(evaluate=lambda *_: next(scores)),
        data=SimpleNamespace(classes=[SimpleNamespace(name=name) for name in "abc"]),
    )  # fmt: skip
    _validate(session)
    assert session.position.best_score is None and not saved
    _validate(session)
    assert session.position.best_score == 1 and saved == [1]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [row["class_iou"] for row in rows] == [[None] * 3, [1.0, 1.0, None]]
    said = capsys.readouterr().err
    assert "mean IoU undefined on" in said and "(weakest: a 1.00, b 1.00)" in said


def test_training_again_gives_the_same_bytes(run, shapes, tmp_path):
    again = pw.train(pw.open_dataset(shapes), out=tmp_path / "r", options=SMALL)
    assert weights(again.folder) == weights(run.folder)
    other = pw.train(pw.open_dataset(shapes), out=tmp_path / "o", options=replace(SMALL, seed=1))
    assert weights(other.folder) != weights(run.folder)


def weights(folder):
    return {name: tensor.numpy().tobytes() for name, tensor in pw.load(folder).state_dict().items()}


@pytest.mark.parametrize("attempt", range(3))
def test_killed_at_a_random_step_and_resumed_gives_the_same_bytes(run, shapes, tmp_path, attempt):
    """SIGKILL, as a power cut would; in the middle of a step or of writing a checkpoint."""
    folder = tmp_path / "r"
    target = random.Random(attempt).randrange(1, 12)
    process = subprocess.Popen(command("train", shapes, "-o", folder, *SETTINGS), stderr=subprocess.DEVNULL)
    log = folder / "metrics.jsonl"
    state = folder / "checkpoint" / "state.safetensors"
    while process.poll() is None and not (state.exists() and steps_seen(folder) >= target):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode == 0:
        pytest.fail("the run ended before it was killed")
    result = subprocess.run(
        command("train", shapes, "-o", folder, "--resume"), capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert "resumed at step" in result.stderr
    assert weights(folder) == weights(run.folder)
    ours, theirs = scored(log), scored(run.folder / "metrics.jsonl")
    assert ours == theirs


def steps_seen(folder):
    """The step of the last checkpoint, read from its header while the run goes on."""
    try:
        raw = (folder / "checkpoint" / "state.safetensors").read_bytes()[:200_000]
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        return json.loads(header["__metadata__"]["pixelwise.state"])["position"]["step"]
    except (OSError, ValueError, KeyError):
        return 0


def scored(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["step"], row["mean_iou"], row["class_iou"]) for row in rows if "mean_iou" in row]


def test_ctrl_c_saves_and_exits_130(shapes, tmp_path):
    folder = tmp_path / "r"
    options = [*SETTINGS[1:], "--epochs=1000"]
    process = subprocess.Popen(
        command("train", shapes, "-o", folder, *options), stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and steps_seen(folder) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with --resume" in errors
    assert "Traceback" not in errors
    assert pw.load(folder).name == "unet"


def test_a_broken_loss_stops_with_the_images_named(shapes, tmp_path):
    options = replace(
        SMALL, optim=replace(SMALL.optim, lr=10.0, weight_decay=10.0, schedule="cosine"), epochs=400
    )
    with pytest.raises(TrainingError) as caught:
        pw.train(pw.open_dataset(shapes), out=tmp_path / "r", options=nan_weights(options))
    assert "shape" in str(caught.value)
    assert "lower optim.lr" in str(caught.value)


def nan_weights(options):
    """A class weight overflow is no option, so a huge overlap weight makes the loss infinite."""
    return replace(options, loss=replace(options.loss, overlap_weight=1e39))


def test_a_run_is_not_overwritten(run, shapes):
    data = pw.open_dataset(shapes)
    with pytest.raises(OutputError, match="holds a run already"):
        pw.train(data, out=run.folder, options=SMALL)
    with pytest.raises(OptionError, match="seed 0 -> 3"):
        pw.train(data, out=run.folder, options=replace(SMALL, seed=3), resume=True)
    with pytest.raises(OutputError, match="no run to resume"):
        pw.train(data, out=run.folder.parent / "none", resume=True)


def test_changed_data_cannot_be_resumed(shapes, tmp_path):
    import shutil

    copy = shutil.copytree(shapes, tmp_path / "data")
    pw.train(pw.open_dataset(copy), out=tmp_path / "r", options=replace(SMALL, epochs=1))
    mask = next((copy / "masks" / "train").iterdir())
    PIL.Image.open(mask).transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(mask)
    with pytest.raises(TrainingError, match="the dataset has changed"):
        pw.train(pw.open_dataset(copy), out=tmp_path / "r", resume=True)


def test_minutes_are_kept(shapes, tmp_path):
    """The budget holds within what one small step and the final files cost; nothing here depends on speed."""
    options = replace(SMALL, epochs=None, minutes=0.1, checkpoint_seconds=60.0)
    run = pw.train(pw.open_dataset(shapes), out=tmp_path / "r", options=options)
    assert run.steps >= 1
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert max(row.get("progress", 0) for row in rows) == 1


@pytest.mark.parametrize("change", [{"one_logit": True}, {"upsampling": "bilinear"}])
def test_other_networks_train(shapes, tmp_path, change):
    network = replace(SMALL.network, **change)
    data = pw.open_dataset(shapes)
    if change.get("one_logit"):
        (tmp_path / "two.yaml").write_text(
            "classes: [{name: rest, color: '#000000'}, {name: box, color: '#ffffff'}]\n"
            "values: {0: rest, 1: box, 2: rest}\n"
        )
        data = pw.open_dataset(shapes, classes=tmp_path / "two.yaml")
    run = pw.train(data, out=tmp_path / "r", options=replace(SMALL, epochs=1, network=network))
    scores = pw.evaluate(pw.load(run.model), data.test)
    assert len(scores.classes) == len(data.classes)


def test_a_network_that_needs_another_encoder_takes_it_by_itself(shapes, tmp_path):
    data = pw.open_dataset(shapes)
    options = replace(
        SMALL, epochs=0.3, size=(16, 16), coarse=0.0, network=NetworkOptions(decoder_channels=(8,))
    )
    run = pw.train(data, out=tmp_path / "r", options=options, model="fullres")
    assert "model: fullres\n  encoder: image\n" in (tmp_path / "r" / "config.yaml").read_text()
    assert pw.load(run.model).encoder_name == "image"
    pw.train(data, out=tmp_path / "r", options=replace(options, model="fullres"), resume=True)
    # the model has no say where there is no decoder
    assert TrainOptions(task="classify", model="fullres").chosen_encoder == "resnet18"
    assert TrainOptions(model="fullres", encoder="unet").chosen_encoder == "unet"


def test_without_a_validation_split_the_last_weights_count(shapes, tmp_path):
    names = pw.open_dataset(shapes).split_names()
    data = pw.open_dataset(shapes, split={"train": names["train"], "val": [], "test": names["test"]})
    run = pw.train(data, out=tmp_path / "r", options=replace(SMALL, epochs=1))
    assert run.mean_iou is None
    assert run.model.exists()
    assert (run.folder / "report.html").stat().st_size > 1000
