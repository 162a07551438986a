"""`compare`: two models on the same images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.cli.app import run
from pixelwise.data.read import read_image
from pixelwise.models.bundle import save
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.zoo import build

CLASSES = ["ground", "box", "disc"]


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


def test_a_run_given_twice_is_refused(models, shapes, capsys):
    assert run(["compare", f"{models[0]},{models[0]}", str(models[1]), str(shapes)]) == 2
    assert "names a model twice" in capsys.readouterr().err


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
