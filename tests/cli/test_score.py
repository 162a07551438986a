"""`score` as a user types it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage
from sklearn.metrics import jaccard_score

from pixelwise.cli.app import run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    truth = np.zeros((30, 40), np.uint8)
    truth[8:20, 10:25] = 1
    found = np.roll(truth, 2, axis=1)
    truth[0] = 255
    for name, labels in (("truth.png", truth), ("map.png", found), ("small.png", truth[:20])):
        PIL.Image.fromarray(labels).save(tmp_path / name)
    (tmp_path / "classes.yaml").write_text("[{name: field}, {name: house}]")
    return tmp_path


def test_scores_are_written_and_printed(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", str(files / "map.png"), str(files / "truth.png"), "-o", str(files / "out")]
    assert run([*arguments, "--classes", str(files / "classes.yaml"), "--boundary", "2"]) == 0
    printed = capsys.readouterr().out
    assert "mean boundary IoU" in printed and "width 2 px" in printed
    said = json.loads((files / "out" / "scores.json").read_text())
    truth, found = (np.array(PIL.Image.open(files / name)) for name in ("truth.png", "map.png"))
    known = truth != 255
    assert said["classes"][1]["iou"] == pytest.approx(jaccard_score(truth[known], found[known]), abs=1e-9)
    masks = [labels == 1 for labels in (truth, found)]
    bands = [mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), 2) for mask in masks]
    judged = jaccard_score(*(band.reshape(-1) for band in bands))
    assert said["boundary"]["classes"][1]["boundary_iou"] == pytest.approx(judged, abs=1e-9)
    with (files / "out" / "confusion.csv").open() as stream:
        assert next(csv.reader(stream)) == ["true / predicted", "field", "house"]


def test_json_says_what_the_file_says(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = files / "out"
    assert run(["score", str(files / "map.png"), str(files / "truth.png"), "-o", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.pop("written") == str(out / "scores.json")
    assert said == json.loads((out / "scores.json").read_text())
    assert said["boundary"]["width_pixels"] == [1, 1]  # 2 % of 50 pixels
    assert [one["name"] for one in said["classes"]] == ["class_0", "class_1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["map.png", "small.png"], "30 x 40 pixels, the other 20 x 40"),
        (["map.png", "none.png"], "no such file"),
        (["map.png", "truth.png", "--boundary", "0"], "at least 1"),
        (["map.png", "truth.png", "--boundary", "999"], "at most 256"),
    ],
)
def test_what_goes_wrong_is_said(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(files)
    assert run(["score", *arguments, "-o", "out"]) == 2
    assert message in capsys.readouterr().err
    assert not (files / "out" / "scores.json").exists()
