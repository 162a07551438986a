"""Scores of localizers: hand-made answers, and a network judged image by image in plain NumPy."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.errors import ClassesError, LayoutError
from pixelwise.evaluation import evaluate, render
from pixelwise.evaluation.localization import Located, evaluate_localizer, localization_scores
from pixelwise.infer.images import localize
from pixelwise.models.localizer import Localizer, LocalizerOptions
from pixelwise.models.tasks import build_localizer

NAMES = ["ground", "box", "disc"]


def test_scores_of_answers_made_by_hand() -> None:
    square = (0.0, 0.0, 10.0, 10.0)
    truths = [
        Located(1, square),
        Located(1, square),
        Located(2, square),
        Located(2, square),
        Located(0, None),
        None,
    ]
    said = [
        Located(1, square),  # right
        Located(1, (5.0, 0.0, 10.0, 10.0)),  # right, half of the box
        Located(1, square),  # the box only
        Located(2, (0.0, 8.0, 10.0, 18.0)),  # the class only: 2 of 18 columns in both
        Located(0, square),  # rightly nothing
        Located(2, square),
    ]
    scores = localization_scores(truths, said, NAMES)
    assert scores.image_box_iou[:4] == pytest.approx((1, 0.5, 1, 20 / 180))
    assert all(math.isnan(value) for value in scores.image_box_iou[4:])
    assert scores.mean_box_iou == pytest.approx((2.5 + 1 / 9) / 4)
    assert (scores.accuracy, scores.found) == (0.8, 0.5)
    assert scores.accuracy_interval[0] < 0.8 < scores.accuracy_interval[1]
    assert scores.found_interval[0] + scores.found_interval[1] == pytest.approx(1)
    assert scores.confusion.tolist() == [[1, 0, 0], [0, 2, 0], [0, 1, 1]]
    assert (scores.images, scores.without_object, scores.left_out) == (6, 1, 1)
    ground, box, disc = scores.classes
    assert (ground.recall, ground.images, box.recall, disc.recall) == (1, 1, 1, 0.5)
    assert box.mean_box_iou == pytest.approx(0.75)
    assert scores.as_dict()["classes"][0]["mean_box_iou"] is None
    assert scores.headline == ("mean_box_iou", scores.mean_box_iou)
    lines = render(scores).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[-1].startswith("mean box IoU 0.653   class accuracy 0.800 [")


def test_nothing_to_find() -> None:
    scores = localization_scores([None, Located(0, None)], [Located(0, None)] * 2, NAMES)
    assert math.isnan(scores.mean_box_iou) and math.isnan(scores.found)
    json.dumps(scores.as_dict(), allow_nan=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One rectangle and one smaller disc of another class per image; image 3 is empty, image 4 all ignored."""
    root = tmp_path_factory.mktemp("things")
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for folder in ("images", "masks"):
            (root / folder / split).mkdir(parents=True)
        for k in range(6):
            height, width = (40, 50) if k < 5 else (33, 64)
            labels = np.zeros((height, width), np.uint8)
            top, left = rng.integers(0, 15, 2)
            labels[top : top + 12, left : left + 16] = 1 + k % 2
            labels[30:33, 44:48] = 2 - k % 2
            if k == 3:
                labels[:] = 0
            if k == 4:
                labels[:] = 255
            image = np.array([90, 200, 20])[labels % 3][..., None] + rng.normal(0, 15, (height, width, 3))
            picture = image.clip(0, 255).astype(np.uint8)
            PIL.Image.fromarray(picture).save(root / "images" / split / f"{split}{k}.png")
            PIL.Image.fromarray(labels).save(root / "masks" / split / f"{split}{k}.png")
    (root / "classes.yaml").write_text("".join(f"- {{name: {name}}}\n" for name in NAMES))
    return open_dataset(root)


@pytest.fixture(scope="module")
def network() -> Localizer:
    torch.manual_seed(1)
    model = build_localizer(classes=NAMES, options=LocalizerOptions(encoder_width=0.125))
    with torch.no_grad():
        model.head.weight *= 20  # so that not one class wins everywhere
    return model


def test_evaluation_asks_the_network_about_every_image(network: Localizer, data: Dataset) -> None:
    steps: list[int] = []
    scores = evaluate(network, data.test, progress=lambda done, total: steps.append(done))
    right = found = 0
    for index, sample in enumerate(data.test):
        said, _, box = localize(network, sample.image)
        if index == 4:
            continue
        if index == 3:
            right += said == 0
            assert math.isnan(scores.image_box_iou[3])
            continue
        rows, columns = np.nonzero(sample.labels == 1 + index % 2)  # the rectangle, larger than the disc
        here = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        # the overlap by counting cells of a grid 20 times as fine as the pixels
        fine = np.zeros((2, sample.labels.shape[0] * 20, sample.labels.shape[1] * 20), bool)
        fine[0, here[0].start * 20 : here[0].stop * 20, here[1].start * 20 : here[1].stop * 20] = True
        top, left, bottom, wide = (round(20 * value) for value in box)
        fine[1, top:bottom, left:wide] = True
        overlap = (fine[0] & fine[1]).sum() / (fine[0] | fine[1]).sum()
        assert scores.image_box_iou[index] == pytest.approx(overlap, abs=0.01)
        right += said == 1 + index % 2
        found += said == 1 + index % 2 and scores.image_box_iou[index] >= 0.5
    assert scores.accuracy == pytest.approx(right / 5) and scores.found == pytest.approx(found / 4)
    assert (scores.images, scores.without_object, scores.left_out) == (6, 1, 1)
    assert scores.mean_box_iou == pytest.approx(np.nanmean(scores.image_box_iou))
    assert 0 < scores.mean_box_iou < 1 and steps == list(range(1, 7))


def test_without_a_background_every_class_is_an_object(data: Dataset) -> None:
    options = LocalizerOptions(background=None, encoder_width=0.125)
    network = build_localizer(classes=NAMES, options=options)
    scores = evaluate_localizer(network, data.test)
    assert (scores.without_object, scores.left_out) == (0, 1)
    assert scores.confusion.sum(axis=1).tolist() == [5, 0, 0]  # the ground is the largest everywhere


def test_what_is_written(network: Localizer, data: Dataset, tmp_path: Path) -> None:
    scores = evaluate_localizer(network, data.test, out=tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["confusion.csv", "images.csv", "report.html", "scores.json"]
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == scores.as_dict()
    with (tmp_path / "out" / "images.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == list(data.test.names)
    rows_of, columns_of = np.nonzero(data.test.labels(0) == 1)
    assert (
        float(rows[0]["true_top"]) == rows_of.min() and float(rows[0]["true_right"]) == columns_of.max() + 1
    )
    assert (rows[3]["true"], rows[3]["true_top"], rows[3]["box_iou"]) == ("ground", "", "")
    assert rows[4]["true"] == "" and rows[1]["true"] == "disc"
    page = (tmp_path / "out" / "report.html").read_text()
    shown = re.findall(r"<figcaption><strong>(\S+)</strong>", page)
    located = [k for k in range(6) if k not in (3, 4)]
    assert shown == [data.test.names[k] for k in sorted(located, key=lambda k: scores.image_box_iou[k])]
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "1 image has no object" in text and "1 image has no labels at all and counts nowhere" in text
    assert "background ground" in text


def test_refusals(network: Localizer, data: Dataset, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for k in range(3):
            PIL.Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / name / f"{k}.png")
    pets = open_dataset(tmp_path)
    with pytest.raises(LayoutError, match="a class per image, a model that can localize is judged by masks"):
        evaluate(network, pets.train)
    two = build_localizer(classes=["ground", "box"], options=LocalizerOptions(encoder_width=0.125))
    with pytest.raises(ClassesError, match="2 classes"):
        evaluate(two, data.test)
    torn = replace(data.test.pairs[2], mask=tmp_path / "cat" / "0.png")
    with pytest.raises(Exception, match=r"0\.png"):
        evaluate(network, replace(data.test, items=(torn,)))
