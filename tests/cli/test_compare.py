"""`compare`: two models on the same images."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import pixelwise as pw
from pixelwise.cli.app import run
from pixelwise.data.read import read_image
from pixelwise.models.bundle import BundleFacts, save
from pixelwise.models.calibration import Calibration
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.zoo import build

CLASSES = ["ground", "box", "disc"]
FITTED = Calibration(temperatures=(1.5,), split="val", images=2, pixels=99, ece_before=0.2, ece_after=0.1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> list[Path]:
    """Three bundles with random weights, and one of other classes."""
    folder = tmp_path_factory.mktemp("models")
    image = torch.from_numpy(read_image(shapes / "images" / "train" / "shape0_train.png").copy())
    paths = []
    for seed in range(4):
        torch.manual_seed(seed)
        options = NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8, 8))
        network = build("unet", classes=CLASSES if seed < 3 else ["x", "y", "z"], options=options).eval()
        with torch.no_grad():  # standardised logits, so that every class wins somewhere
            std, mean = torch.std_mean(network(network.prepare(image.permute(2, 0, 1)[None])), dim=(0, 2, 3))
            network.head.weight /= std[:, None, None, None]
            network.head.bias.copy_((network.head.bias - mean) / std)
        paths.append(save(network, folder / f"seed{seed}.safetensors"))
    return paths


def test_a_model_does_not_differ_from_itself(models, shapes, capsys):
    assert run(["compare", str(models[0]), str(models[0]), str(shapes), "--split", "train", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 6
    for one in (found["mean_iou"], found["pixel_accuracy"], *found["classes"]):
        assert (one["difference"], one["p"]) == (0, 1)
    assert any("one run" in note for note in found["interval_notes"])


def test_differences_are_those_of_the_scores(models, shapes, capsys, tmp_path):
    first, second = (pw.evaluate(pw.load(path), pw.open_dataset(shapes).train) for path in models[:2])
    out = tmp_path / "out"
    arguments = ["compare", str(models[0]), str(models[1]), str(shapes), "--split", "train", "-o", str(out)]
    assert run(arguments) == 0
    told = capsys.readouterr().out
    stored = json.loads((out / "compare.json").read_text())
    assert stored["mean_iou"]["difference"] == pytest.approx(second.mean_iou - first.mean_iou)
    for row, a, b in zip(stored["classes"], first.classes, second.classes, strict=True):
        assert row["difference"] == pytest.approx(b.iou - a.iou)
    gap = 100 * abs(second.mean_iou - first.mean_iou)
    assert f"{gap:.1f} points" in told
    assert "better by" in told or "no clear difference" in told
    page = (out / "compare.html").read_text()
    assert all(name in page for name in CLASSES)
    assert page.count('class="span"') == 5
    rows = [stored["mean_iou"], stored["pixel_accuracy"], *stored["classes"]]
    assert page.count('<i class="clear"') == sum(
        row["interval"][0] > 0 or row["interval"][1] < 0 for row in rows
    )
    assert not (out / ".pixelwise.lock").exists()


def test_several_runs_are_one_side(models, shapes, capsys):
    a, b = f"{models[0]},{models[1]}", str(models[2])
    assert run(["compare", a, b, str(shapes), "--split", "train", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(values) for values in found["runs"]] == [2, 1]
    assert found["mean_iou"]["first"] == pytest.approx(np.mean(found["runs"][0]))


@pytest.mark.parametrize(
    ("a", "b", "more", "said"),
    [
        (0, 3, [], "different classes"),
        (0, 1, ["--split", "tset"], "give train, val or test"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, more, said, models, shapes, capsys):
    assert run(["compare", str(models[a]), str(models[b]), str(shapes), *more]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_run_given_twice_is_refused_under_any_name(calibrated, models, shapes, capsys, tmp_path):
    first, copy = str(models[0]), str(tmp_path / "copy.safetensors")
    facts = BundleFacts(calibration=FITTED if calibrated else None)  # another digest, the same weights
    save(pw.load(first), copy, facts=facts)
    said = f"{first} and {copy} are the same model"
    assert run(["compare", f"{first},{copy}", str(models[1]), str(shapes)]) == 2
    assert said in capsys.readouterr().err
    out = ["-o", str(tmp_path / "out")]
    assert run(["evaluate", first, str(shapes), "--runs", str(models[1]), "--runs", copy, *out]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_models_that_know_the_images_are_named(models, shapes, capsys, tmp_path):
    known = str(tmp_path / "known.safetensors")
    facts = BundleFacts(split={"train": ["shape0_train", "shape1_train", "other"]}, calibration=FITTED)
    save(pw.load(models[0]), known, facts=facts)
    said = f"{known} was trained on 2 of these 6 images"
    out = tmp_path / "out"
    call = ["compare", known, str(models[1]), str(shapes), "--split", "train", "-o", str(out), "--json"]
    assert run(call) == 0
    printed = capsys.readouterr()
    assert printed.err.count(said) == 1 and said in json.loads(printed.out)["warnings"][0]
    assert said in json.loads((out / "compare.json").read_text())["warnings"][0]
    assert said in (out / "compare.html").read_text()
    table = tmp_path / "swapped.csv"
    rows = [f"shape{k}_train,test" for k in range(2)] + [f"shape{k}_test,train" for k in range(2)]
    table.write_text("\n".join(["name,split", *rows]))
    report = ["--splits", str(table), "--no-check", "-o", str(out), "--json"]
    assert run(["evaluate", known, str(shapes), "--runs", str(models[1]), *report]) == 0
    printed = capsys.readouterr()
    said = "was trained on 2 of these 2 images, going by their names"
    assert said in printed.err and said in json.loads(printed.out)["warnings"][0]
    assert said in json.loads((out / "report.json").read_text())["facts"]["warning"]
    page = (out / "report.html").read_text()
    assert f"<strong>Warning:</strong> the model {said}" in page
    assert "after temperatures fitted on the val split)" in page and "of a val split" not in printed.err


def test_a_report_says_how_to_do_it_again(models, shapes, capsys, tmp_path):
    folder, out = tmp_path / "a run", tmp_path / "out"
    folder.mkdir()
    shutil.copy(models[0], folder / "model.safetensors")
    data = pw.open_dataset(shapes)
    config = {"data": "some where/else", "options": {"seed": 3}, "split": data.split_names()}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    classes = str(shapes / "classes.yaml")
    call = ["evaluate", str(folder), str(shapes), "--splits", "blocks", "--classes", classes, "--seed", "4"]
    assert run([*call, "-o", str(out), "--runs", str(models[1]), "--no-check"]) == 0
    capsys.readouterr()
    told = json.loads((out / "report.json").read_text())["again"]
    page = html.unescape((out / "report.html").read_text())
    train, again = (shlex.split(told[name]) for name in ("train", "evaluate"))
    assert told["train"] in page and told["evaluate"] in page
    config = str(folder / "config.yaml")
    assert train[1:] == [
        "train", "some where/else", "-o", "RUN", "--config", config, "--splits", config,
    ]  # fmt: skip
    assert again[1:] == [
        "evaluate", str(folder), str(shapes), "-o", "DIR", "--runs", str(models[1]), "--split", "test",
        "--classes", classes, "--splits", "blocks", "--seed", "4",
    ]  # fmt: skip
    assert pw.open_dataset(shapes, split=config).split_names() == data.split_names()


def test_evaluate_sums_up_runs(models, shapes, capsys, tmp_path):
    first, *others = (str(path) for path in models[:3])
    more = [word for path in others for word in ("--runs", path)]
    out = ["--split", "train", "-o", str(tmp_path / "out"), "--json"]
    assert run(["evaluate", first, str(shapes), *more, *out]) == 0
    told = json.loads(capsys.readouterr().out)
    train = pw.open_dataset(shapes).train
    each = [pw.evaluate(pw.load(path), train).mean_iou for path in models[:3]]
    stored = json.loads((tmp_path / "out" / "runs.json").read_text())
    assert stored == told["runs"] and told["mean_iou"] == each[0]
    assert stored["mean_iou"]["mean"] == pytest.approx(np.mean(each))
    assert stored["mean_iou"]["standard_deviation"] == pytest.approx(np.std(each, ddof=1))
    assert not stored["mean_iou"]["interval_reliable"]
    assert any(note.startswith("mean IoU, ") and "1 in 20" in note for note in stored["interval_notes"])
    assert run(["evaluate", first, str(shapes), *more, *out[:-1], "--no-check"]) == 0
    text = capsys.readouterr().out.partition("3 runs together")[2]
    assert re.search(r"mean IoU: 0\.\d+ \[\S+ \S+\] \?, standard deviation", text)
    assert "note: mean IoU, " in text
