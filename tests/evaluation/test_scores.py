"""Evaluation of a real network on a real folder, judged by scikit-learn."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, jaccard_score

from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.data.pixelsize import common_pixel_size
from pixelwise.errors import ClassesError, DataError, OutputError, UnreadableError
from pixelwise.evaluation import evaluate, render
from pixelwise.evaluation.checks import check_classes
from pixelwise.evaluation.evaluated import Evaluation
from pixelwise.evaluation.report import Context, confusion_csv
from pixelwise.evaluation.scores import evaluate as score_segmenter
from pixelwise.evaluation.scores import extremes, typical
from pixelwise.evaluation.thorough import look_closer
from pixelwise.files import locked
from pixelwise.geo.raster import write_geotiff
from pixelwise.infer.augmented import predict_augmented
from pixelwise.infer.predictor import Running, predict, predict_with_confidence
from pixelwise.metrics import ScoreCounter, scores_from_confusion
from pixelwise.metrics.boundary import BoundaryCounter
from pixelwise.models.bundle import facts_of
from pixelwise.models.calibration import Calibration
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build
from pixelwise.types import ClassSpec

CLASSES = [ClassSpec("road", "#ff0000"), ClassSpec("house", "#00ff00"), ClassSpec("tree", "#0000ff")]
SIZES = [(20, 30), (33, 17), (8, 8), (40, 40), (24, 24), (16, 50)]


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Segmenter:
    torch.manual_seed(0)
    model = build("unet", encoder="resnet18", classes=CLASSES, bands=3)
    image = torch.from_numpy(picture(64, 64, 0)).permute(2, 0, 1)[None]
    with torch.no_grad():  # standardised logits, so that every class wins somewhere
        std, mean = torch.std_mean(model.eval()(model.prepare(image)), dim=(0, 2, 3))
        model.head.weight /= std[:, None, None, None]
        model.head.bias.copy_((model.head.bias - mean) / std)
    return model


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """A train image and six test images; image 0 of test is all ignored."""
    root = tmp_path / "town"
    for split, sizes in (("train", [(8, 8)]), ("val", [(8, 8)]), ("test", SIZES)):
        for folder in ("images", "masks"):
            (root / folder / split).mkdir(parents=True)
        for k, (height, width) in enumerate(sizes):
            PIL.Image.fromarray(picture(height, width, k)).save(root / "images" / split / f"{split}{k}.png")
            labels = np.random.default_rng(k).choice(np.array([0, 1, 255], np.uint8), (height, width))
            if split == "test" and k == 0:
                labels[:] = 255
            PIL.Image.fromarray(labels).save(root / "masks" / split / f"{split}{k}.png")
    lines = [f'- {{name: {spec.name}, color: "{spec.color}"}}\n' for spec in CLASSES]
    (root / "classes.yaml").write_text("".join(lines))
    return open_dataset(root)


def test_the_scores_are_those_of_all_pixels_together(model: Segmenter, data: Dataset) -> None:
    steps: list[tuple[int, int]] = []
    scores = evaluate(model, data.test, progress=lambda done, total: steps.append((done, total)))
    pairs = [(sample.labels, predict(model, sample.image)) for sample in data.test]
    truth = np.concatenate([labels.ravel() for labels, _ in pairs])
    predicted = np.concatenate([labels.ravel() for _, labels in pairs])
    valid = truth != 255
    np.testing.assert_array_equal(scores.confusion, confusion_matrix(truth[valid], predicted[valid]))
    judge = jaccard_score(truth[valid], predicted[valid], average="macro")
    assert scores.mean_iou == pytest.approx(judge, abs=1e-9)
    assert (scores.images, scores.pixels, scores.ignored) == (6, valid.sum(), (~valid).sum())
    assert math.isnan(scores.image_mean_iou[0])
    for value, (labels, found) in list(zip(scores.image_mean_iou, pairs, strict=True))[1:]:
        kept = labels != 255
        assert value == pytest.approx(jaccard_score(labels[kept], found[kept], average="macro"), abs=1e-9)
    assert steps == [(k + 1, 6) for k in range(6)]


def test_what_is_written(model: Segmenter, data: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    scores = evaluate(model, data.test, out=out, title="unet on town")
    written = ["confusion.csv", "images.csv", "report.html", "report.json", "scores.json"]
    assert sorted(path.name for path in out.iterdir()) == written
    assert json.loads((out / "scores.json").read_text()) == scores.as_dict()
    with (out / "confusion.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["true / predicted", "road", "house", "tree"]
    assert [[int(count) for count in row[1:]] for row in rows[1:]] == scores.confusion.tolist()
    page = (out / "report.html").read_text()
    shown = re.findall(r"<h3>(test\d\S*) <span", page)
    order = sorted(range(1, 6), key=lambda k: scores.image_mean_iou[k])
    assert shown == [data.test.names[k] for k in [*order[:3], *order[:2:-1]]]
    text = re.sub(r"<[^>]+>", "", page)
    for fact in ("unet on town", "unet on resnet18, 3 bands, float32", f"{scores.ignored:,} ignored"):
        assert fact in text
    assert f"<dd>{data.root}</dd>" in page


def test_other_classes_are_refused(data: Dataset) -> None:
    four = build("unet", encoder="resnet18", classes=["road", "house", "tree", "car"])
    with pytest.raises(
        ClassesError, match=r"4 classes \(road, house, tree, car\), the dataset has 3 \(road, "
    ):
        evaluate(four, data.test)
    swapped = [CLASSES[1], CLASSES[0], CLASSES[2]]
    with pytest.raises(ClassesError, match=r"\(house, road, tree\), the dataset has 3 \(road, house, tree\)"):
        check_classes(swapped, CLASSES)
    counted = [ClassSpec(f"class_{k}", "#000000") for k in range(3)]
    check_classes(counted, CLASSES)
    check_classes(CLASSES, counted)
    with pytest.raises(ClassesError):
        check_classes(counted[:2], CLASSES)


def test_an_error_names_the_file_and_nothing_is_written(
    model: Segmenter, data: Dataset, tmp_path: Path
) -> None:
    grey = build("unet", encoder="resnet18", classes=CLASSES, bands=1)
    with pytest.raises(DataError, match=r"test0\.png: the image has 3 bands, the model takes 1"):
        evaluate(grey, data.test)
    image = data.test.items[3].image
    image.write_bytes(image.read_bytes()[:900])
    with pytest.raises(UnreadableError, match=r"test3\.png"):
        evaluate(model, data.test, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_split_and_a_folder_in_use(model: Segmenter, data: Dataset, tmp_path: Path) -> None:
    empty = replace(data.test, items=())
    with pytest.raises(DataError, match="the test split holds no image"):
        evaluate(model, empty)
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="another pixelwise process"):
        evaluate(model, data.test, out=tmp_path / "out")


def test_the_extremes_are_ordered_and_apart() -> None:
    values = [0.3, 0.1, math.nan, 0.9, 0.5, 0.7]
    assert extremes(values, 2) == ([1, 0], [3, 5])
    assert extremes(values, 4) == ([1, 0, 4, 5], [3])
    assert extremes([math.nan], 4) == ([], [])


def test_the_table_for_the_terminal_lines_up_and_lists_what_is_undefined() -> None:
    scores = scores_from_confusion(
        np.array([[5000, 1, 0], [0, 4, 0], [0, 0, 0]]), ["road", "tall house", "x"]
    )
    lines = render(scores).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[3].split() == ["x", "-", "-", "-", "-", "0"]
    assert lines[-1] == "in neither truth nor prediction, left out of the means: x"


def test_a_name_that_looks_like_a_formula_stays_text_in_the_csv() -> None:
    text = confusion_csv(np.eye(2, dtype=np.int64), ["=1+1", 'a,"b"'])
    assert text == 'true / predicted,\'=1+1,"a,""b"""\n\'=1+1,1,0\n"a,""b""",0,1\n'


def test_an_evaluation_says_how_far_to_trust_it(model: Segmenter, data: Dataset) -> None:
    scores = evaluate(model, data.test)
    assert isinstance(scores, Evaluation)
    values = scores.as_dict()
    low, high = values["mean_iou_interval"]
    assert 0 <= low < scores.mean_iou < high <= 1
    assert values["interval_units"] == 6 and values["classes"][0]["iou_interval"] is not None
    pairs = [(sample.labels, *predict_with_confidence(model, sample.image)) for sample in data.test]
    valid = [labels != 255 for labels, _, _ in pairs]
    sure = np.concatenate([confidence[kept] for (_, _, confidence), kept in zip(pairs, valid, strict=True)])
    assert values["calibration"]["confidence"] == pytest.approx(sure.mean(), rel=1e-5)
    assert values["calibration"]["calibrated"] is False
    borders = BoundaryCounter(["road", "house", "tree"])
    for labels, predicted, _ in pairs:
        borders.add(labels, predicted)
    expected = {**borders.scores().as_dict(), "distance_note": None}
    for row, found in zip(expected["classes"], values["boundary"]["classes"], strict=True):
        assert row.items() <= found.items() and "boundary_f_interval" in found
    assert all(values["boundary"][key] == expected[key] for key in expected if key != "classes")
    low, high = values["boundary"]["mean_boundary_iou_interval"]
    assert 0 <= low <= expected["mean_boundary_iou"] <= high <= 1
    assert f"boundary IoU {expected['mean_boundary_iou']:.3f} [{low:.3f}, {high:.3f}]" in render(scores)
    assert sum(one["objects"] for one in values["objects"]["sizes"]) > 0
    assert "95 % interval of mean IoU [" in render(scores)


def test_a_closer_look_says_what_a_second_view_is_worth_and_whether_sets_hold(
    model: Segmenter, data: Dataset, tmp_path: Path
) -> None:
    sure = Calibration(temperatures=(1.0,), images=9, pixels=99, split="val", ece_before=0.1, ece_after=0.1,
                       set_share=0.9, set_threshold=0.3)  # fmt: skip
    known = facts_of(model)
    model.facts = known.model_copy(update={"calibration": sure})
    try:
        found, pictures = look_closer(model, data, data.test, tmp_path / "out")
        shares = [Running(model).probabilities(sample.image) for sample in data.test]
    finally:
        model.facts = known
    twice, once = ScoreCounter(["road", "house", "tree"]), ScoreCounter(["road", "house", "tree"])
    held = []
    for sample, each in zip(data.test, shares, strict=True):
        once.add(sample.labels, predict(model, sample.image))
        twice.add(sample.labels, predict_augmented(model, sample.image)[0])
        for_truth = [each[label, row, column] >= 0.3 or each[:, row, column].argmax() == label
                     for (row, column), label in np.ndenumerate(sample.labels) if label != 255]  # fmt: skip
        held += [np.mean(for_truth)] if for_truth else []
    worth = found["flips"]["mean_iou"]
    assert (worth["first"], worth["second"]) == pytest.approx(
        (once.scores().mean_iou, twice.scores().mean_iou), abs=1e-3
    )
    assert found["flips"]["networks_run"] == 2 and 0 <= found["flips"]["errors_among_unsure"] <= 1
    assert found["label_sets"]["covered"] == pytest.approx(np.mean(held), abs=1e-6)
    assert (found["label_sets"]["promised"], found["label_sets"]["images"]) == (0.9, 5)
    assert found["shift"] is None and found["leaks"]["pairs"]["copy"] == 0
    assert len(pictures["views"]) == 2


def test_distances_are_in_metres_where_all_images_say_one_pixel_size(
    model: Segmenter, data: Dataset, tmp_path: Path
) -> None:
    pytest.importorskip("rasterio")

    def write(size: float, crs: str = "EPSG:32631", first: int = 0, north: float = 4e6) -> Dataset:
        for k, (height, width) in list(enumerate(SIZES))[first:]:
            file = data.root / "images" / "test" / f"test{k}"
            file.with_suffix(".png").unlink(missing_ok=True)
            place = {"origin": (5e5 if north > 90 else 3.0, north), "pixel_size": size, "crs": crs}
            write_geotiff(file.with_suffix(".tif"), picture(height, width, k), **place)
        return open_dataset(data.root)

    half_placed = common_pixel_size(write(0.5, first=3).test)
    assert half_placed == (
        None,
        "3 of 6 images do not say how large their pixels are, so distances between contours are in pixels",
    )
    placed = write(0.5)
    scores = score_segmenter(model, placed.test, out=tmp_path / "out").as_dict()
    borders = BoundaryCounter(["road", "house", "tree"], pixel_size=0.5)
    for sample in placed.test:
        borders.add(sample.labels, predict(model, sample.image))
    expected = borders.scores().as_dict()
    assert all(scores["boundary"][key] == expected[key] for key in expected if key != "classes")
    assert (scores["boundary"]["distance_unit"], scores["boundary"]["distance_note"]) == ("m", None)
    assert "Distances between contours are in metres" in (tmp_path / "out" / "report.html").read_text()
    scores = score_segmenter(model, write(0.6, first=5).test, out=tmp_path / "out").as_dict()
    note = "the pixels of the images measure 0.5 to 0.6 m, so distances between contours are in pixels"
    assert (scores["boundary"]["distance_unit"], scores["boundary"]["distance_note"]) == ("px", note)
    assert note in (tmp_path / "out" / "report.html").read_text()
    # a degree of longitude is half as long at 60 degrees north
    assert "not square on the ground" in common_pixel_size(write(1e-5, "EPSG:4326", north=60.0).test)[1]
    assert common_pixel_size(write(1e-5, "EPSG:4326", north=0.0).test)[0] == pytest.approx(1.112, abs=1e-3)


def test_typical_images_lie_in_the_middle() -> None:
    values = [0.3, 0.1, math.nan, 0.9, 0.5, 0.7]
    assert typical(values, 3, without=[1, 3]) == [0, 4, 5]
    assert typical([math.nan], 3, without=[]) == []


def report_scores(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "out" / "report.json").read_text())["scores"]
    return found


def test_the_report_says_what_was_found_and_how_to_do_it_again(
    model: Segmenter, data: Dataset, tmp_path: Path
) -> None:
    finding = {"level": "warning", "code": "mask", "file": "a<b.png", "found": "is odd", "remedy": "mend it"}
    context = Context(
        course=[{"step": 1, "seconds": 3.0, "loss": 1.0}], findings=[finding] * 14, again={"train": "do"}
    )
    score_segmenter(model, data.test, out=tmp_path / "out", context=context)
    page = (tmp_path / "out" / "report.html").read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "14 warnings: mask" in text and "and 2 more" in text and "a&lt;b.png is odd mend it" in text
    low, high = report_scores(tmp_path)["boundary"]["classes"][0]["boundary_f_interval"]
    assert f"{low:.3f} to {high:.3f}" in text
    assert "train do" in text and "How it was trained" in text and "Typical images" not in text
    assert "share of a class that was mapped as it" in text
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["findings"] == [finding] * 14 and report["scores"]["images"] == 6
    with (tmp_path / "out" / "images.csv").open(newline="") as stream:
        assert [row["image"] for row in csv.DictReader(stream)] == list(data.test.names)
