"""Scores of classifications, judged by scikit-learn, SciPy, published numbers and drawn samples."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)
from sklearn.metrics import roc_curve as reference_curve

from pixelwise.classification import (
    classification_scores,
    roc_area_interval,
    roc_area_variance,
    roc_curve,
    wilson_interval,
)
from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.data.groups import find_groups
from pixelwise.errors import ClassesError, DataError, LayoutError, UnreadableError
from pixelwise.evaluation import evaluate, render
from pixelwise.evaluation.classification import evaluate_classifier, worst_first
from pixelwise.evaluation.grouped import area_estimate, share_estimate, with_groups
from pixelwise.evaluation.units import units_of
from pixelwise.infer.images import classify
from pixelwise.models.classifier import Classifier, ClassifierOptions
from pixelwise.models.tasks import build_classifier

NAMES = ["bird", "cat", "dog", "eel"]


def drawn(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)) + 1.5 * np.eye(classes)[targets]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.round(shares, 2), targets  # rounded, so that there are ties


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_scores_are_those_of_scikit_learn(classes: int) -> None:
    shares, targets = drawn(300, classes)
    scores = classification_scores(shares, targets, NAMES[:classes])
    said = shares.argmax(axis=1)
    assert scores.accuracy == pytest.approx(accuracy_score(targets, said))
    assert scores.mean_recall == pytest.approx(balanced_accuracy_score(targets, said))
    np.testing.assert_array_equal(scores.confusion, confusion_matrix(targets, said))
    precision, recall, f1, counts = precision_recall_fscore_support(targets, said)
    for k, one in enumerate(scores.classes):
        assert (one.precision, one.recall, one.f1) == pytest.approx((precision[k], recall[k], f1[k]))
        assert (one.name, one.images) == (NAMES[k], counts[k])
    assert scores.headline == ("accuracy", scores.accuracy)
    assert (scores.roc is not None) is (classes == 2)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30))
def test_the_roc_curve_is_that_of_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    values, positive = np.array([pair[0] for pair in pairs]) / 6, np.array([pair[1] for pair in pairs])
    if positive.all() or not positive.any():
        return
    curve = roc_curve(values, positive, "a")
    false_rate, true_rate, thresholds = reference_curve(positive, values, drop_intermediate=False)
    assert curve.area == pytest.approx(roc_auc_score(positive, values))
    for x, y, at in zip(curve.false_positive_rate, curve.true_positive_rate, curve.thresholds, strict=True):
        (k,) = np.flatnonzero(thresholds == at)
        assert (x, y) == pytest.approx((false_rate[k], true_rate[k]))
    # what was left out lies on straight lines between what was kept
    kept = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert kept == pytest.approx(curve.area)
    assert len(curve.thresholds) <= len(thresholds)


def test_points_on_a_line_are_left_out() -> None:
    curve = roc_curve(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, False]), "a")
    assert curve.false_positive_rate == (0, 0, 1) and curve.true_positive_rate == (0, 1, 1)
    assert curve.thresholds == (np.inf, 0.8, 0.6)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_share_is_wilsons(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(method="wilson")
    assert wilson_interval(*counts) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert wilson_interval(0, 0) == (0, 1)


def test_the_variance_of_the_area() -> None:
    # Hanley and McNeil 1982: an area of 0.893 from 51 abnormal and 58 normal images has a standard error of 0.032.
    assert np.sqrt(roc_area_variance(0.893, 51, 58)) == pytest.approx(0.032, abs=0.0005)
    area, positives, negatives = 0.8, 30, 30  # of equal numbers their formula and Newcombe's are one
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    plain = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    assert roc_area_variance(area, positives, negatives) == pytest.approx(plain / (positives * negatives))


@given(st.floats(0, 1), st.integers(2, 200), st.integers(2, 200))
def test_the_bounds_of_the_area_are_as_far_as_the_deviation(area: float, some: int, others: int) -> None:
    low, high = roc_area_interval(area, some, others)
    assert 0 <= low <= area <= high <= 1
    for bound in (low, high):
        reach = 1.959964**2 * roc_area_variance(bound, some, others)
        assert (bound - area) ** 2 == pytest.approx(reach, abs=1e-6) or bound in (area, 0, 1)


def test_a_perfect_score_of_few_images_is_not_certain() -> None:
    low, high = roc_area_interval(1.0, 5, 5)
    assert 0.5 < low < 0.85 and high == 1
    assert roc_area_interval(0.0, 5, 5) == pytest.approx((0, 1 - low))


def test_the_interval_of_the_area_holds_for_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    held, trials, shift = 0, 600, 1.19  # two normal distributions so far apart have an area of 0.8
    for _ in range(trials):
        values = np.concatenate([rng.normal(shift, 1, 30), rng.normal(0, 1, 40)])
        low, high = roc_curve(values, np.arange(70) < 30, "a").area_interval
        held += low <= 0.8 <= high
    assert 0.92 < held / trials < 0.98


def test_what_is_undefined_is_left_out_and_null() -> None:
    shares = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1]])
    scores = classification_scores(shares, np.array([0, 0]), ["a", "b", "c"])
    assert (scores.accuracy, scores.mean_recall) == (0.5, 0.5)
    rows = scores.as_dict()["classes"]
    assert rows[1] == {"name": "b", "precision": 0, "recall": None, "f1": 0, "images": 0}
    assert rows[2] == {"name": "c", "precision": None, "recall": None, "f1": None, "images": 0}
    empty = classification_scores(np.zeros((0, 2)), np.zeros(0, int), ["a", "b"]).as_dict()
    assert empty["accuracy"] is None and empty["accuracy_interval"] == [0, 1]
    json.dumps(empty, allow_nan=False)


def test_impossible_values_are_refused() -> None:
    shares = np.full((2, 2), 0.5)
    for probabilities, targets in (
        (shares, [0, 2]),
        (shares, [0]),
        (shares * np.nan, [0, 1]),
        (shares, [0.0, 1.0]),
    ):
        with pytest.raises(DataError):
            classification_scores(probabilities, np.array(targets), ["a", "b"])


def test_the_worst_images_come_first() -> None:
    shares, targets = drawn(50, 3)
    order = worst_first(shares, targets)
    right = shares.argmax(axis=1)[order] == targets[order]
    leads = [shares[k, targets[k]] - max(np.delete(shares[k], targets[k])) for k in order]
    assert leads == sorted(leads) and 0 < right.sum() < 50
    assert not right[0] and right[-1]


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Images of two classes in their folders, of two sizes."""
    root = tmp_path_factory.mktemp("pets")
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 2), ("test", 5)):
        for k, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                size = (20, 30) if index < 3 else (33, 17)
                picture = rng.integers(0, 120 + 100 * k, (*size, 3), dtype=np.uint8)
                PIL.Image.fromarray(picture).save(root / split / name / f"{name}{index}.png")
    return open_dataset(root)


@pytest.fixture(scope="module")
def network() -> Classifier:
    torch.manual_seed(3)
    return build_classifier(classes=["cat", "dog"], options=ClassifierOptions(encoder_width=0.125))


def test_evaluation_asks_the_network_about_every_image(network: Classifier, pets: Dataset) -> None:
    steps: list[tuple[int, int]] = []
    scores = evaluate(network, pets.test, progress=lambda done, total: steps.append((done, total)))
    images = [pets.test.classified(index) for index in range(10)]
    shares = np.stack([classify(network, one.image) for one in images])
    expected = classification_scores(shares, np.array([one.target for one in images]), ["cat", "dog"])
    np.testing.assert_array_equal(scores.confusion, expected.confusion)
    assert scores.roc is not None and expected.roc is not None
    assert scores.roc.area == pytest.approx(expected.roc.area)
    assert scores.roc.positive == "dog"
    assert steps == [(k + 1, 10) for k in range(10)]


def test_what_is_written(network: Classifier, pets: Dataset, tmp_path: Path) -> None:
    scores = evaluate_classifier(network, pets.test, out=tmp_path / "out", title="pets & co")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["confusion.csv", "images.csv", "report.html", "scores.json"]
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == scores.as_dict()
    with (tmp_path / "out" / "images.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == list(pets.test.names)
    assert sum(row["true"] == row["predicted"] for row in rows) == round(scores.accuracy * 10)
    for row in rows:
        assert float(row["cat"]) + float(row["dog"]) == pytest.approx(1, abs=1e-5)
    page = (tmp_path / "out" / "report.html").read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    low, high = scores.accuracy_interval
    assert f"{scores.accuracy:.3f} accuracy 95 %: {low:.3f} to {high:.3f}" in text
    assert "pets &amp; co" in page and "ROC curve" in text
    assert "percent of the images of the row" in text and "pixels" not in text
    wrong = [row["image"] for row in rows if row["true"] != row["predicted"]]
    assert wrong and all(name in text[text.index("Worst images") :] for name in wrong)


def test_refusals(network: Classifier, pets: Dataset, shapes: Path) -> None:
    three = build_classifier(classes=NAMES[:3], options=ClassifierOptions(encoder_width=0.125))
    with pytest.raises(LayoutError, match="a class per pixel, the model answers one class per image"):
        evaluate_classifier(three, open_dataset(shapes).test)
    with pytest.raises(ClassesError, match=r"3 classes \(bird, cat, dog\), the dataset has 2 \(cat, dog\)"):
        evaluate_classifier(three, pets.test)
    with pytest.raises(DataError, match="the test split holds no image"):
        evaluate_classifier(network, replace(pets.test, items=()))
    grey = build_classifier(classes=["cat", "dog"], bands=1, options=ClassifierOptions(encoder_width=0.125))
    with pytest.raises(DataError, match=r"cat0\.png: the image has 3 bands, the model takes 1"):
        evaluate_classifier(grey, pets.test)


def test_a_damaged_image_is_named_and_nothing_is_written(
    network: Classifier, pets: Dataset, tmp_path: Path
) -> None:
    copy = tmp_path / "torn.png"
    copy.write_bytes(pets.test.items[3].image.read_bytes()[:300])
    items = (*pets.test.items[:3], replace(pets.test.items[3], image=copy))
    with pytest.raises(UnreadableError, match=r"torn\.png"):
        evaluate_classifier(network, replace(pets.test, items=items), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_table_for_the_terminal_lines_up() -> None:
    shares, targets = drawn(40, 2)
    lines = render(classification_scores(shares, targets, ["cat", "long name"])).splitlines()
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[3].startswith("accuracy 0.") and lines[3].endswith("40 images")
    assert lines[4].startswith("area under the ROC curve 0.")


def plain_intervals(right: np.ndarray, groups: list[str], area: bool, ranks: np.ndarray, truth: np.ndarray):
    """Leaving out one group at a time, written out: standard errors of the accuracy and of scikit-learn's area."""
    values = []
    for group in dict.fromkeys(groups):
        rest = np.array([one != group for one in groups])
        values.append(roc_auc_score(truth[rest], ranks[rest]) if area else right[rest].mean())
    count = len(values)
    return float(np.sqrt((count - 1) / count * ((np.array(values) - np.mean(values)) ** 2).sum()))


def test_intervals_over_groups_are_those_of_leaving_out_one_at_a_time() -> None:
    shares, targets = drawn(120, 2)
    groups = [f"patient {k % 17 + 100 * (k % 3)}" for k in range(120)]
    units = units_of(groups)
    right, ranks = shares.argmax(axis=1) == targets, shares[:, 1]
    share, area = share_estimate(right, units), area_estimate(ranks, targets == 1, units)
    assert (share.value, area.value) == (
        pytest.approx(right.mean()),
        pytest.approx(roc_auc_score(targets, ranks)),
    )
    assert share.deviation == pytest.approx(plain_intervals(right, groups, False, ranks, targets))
    assert area.deviation == pytest.approx(plain_intervals(right, groups, True, ranks, targets))
    scores = classification_scores(shares, targets, ["a", "b"])
    found = with_groups(scores, shares, targets, groups)
    assert found.roc is not None
    assert (found.accuracy_interval, found.roc.area_interval) == (share.interval, area.interval)
    assert found.as_dict()["interval_units"] == len(set(groups)) == 51
    with pytest.raises(DataError, match="3 groups for 120 images"):
        with_groups(scores, shares, targets, ["a", "b", "c"])


def test_copies_of_an_image_say_nothing_more() -> None:
    """Three copies of each image as one group: the interval of single images, and not one that is much shorter."""
    shares, targets = drawn(200, 2, seed=1)
    copies, again = np.repeat(shares, 3, axis=0), np.repeat(targets, 3)
    alone = classification_scores(shares, targets, ["a", "b"])
    seeming = classification_scores(copies, again, ["a", "b"])
    names = [f"patient {k // 3}" for k in range(600)]
    found = with_groups(seeming, copies, again, names)
    assert alone.roc and seeming.roc and found.roc
    for single, short, honest in (
        (alone.accuracy_interval, seeming.accuracy_interval, found.accuracy_interval),
        (alone.roc.area_interval, seeming.roc.area_interval, found.roc.area_interval),
    ):
        assert honest == pytest.approx(single, abs=0.012)
        assert np.ptp(short) < 0.65 * np.ptp(honest)
    assert with_groups(alone, shares, targets, list(map(str, range(200)))).accuracy_interval == (
        alone.accuracy_interval
    )


def test_a_perfect_score_of_few_patients_is_not_certain() -> None:
    targets = np.repeat([0, 1], 100)
    shares = np.eye(2)[targets]
    groups = [f"patient {k // 10}" for k in range(200)]
    found = with_groups(classification_scores(shares, targets, ["a", "b"]), shares, targets, groups)
    assert found.accuracy_interval == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    assert found.roc is not None and found.roc.area_interval == roc_area_interval(1.0, 10, 10)
    # frames of two films: blocks, and a note
    films = with_groups(
        classification_scores(shares, targets, ["a", "b"]), shares, targets, ["x"] * 99 + ["y"] * 101
    )
    assert films.interval_units == 10 and "too few to tell how groups differ" in films.interval_notes[0]


def test_pictures_of_one_patient_count_as_one_finding(
    network: Classifier, pets: Dataset, tmp_path: Path
) -> None:
    root = tmp_path / "pets"
    shutil.copytree(pets.test.root, root)
    rows = [f"test/{name}.png,{name[-1]}{name[-4]}" for name in pets.test.names]
    (root / "patients.csv").write_text("path,patient\n" + "\n".join(rows) + "\n")
    split = open_dataset(root).test
    assert (find_groups(split).count, find_groups(pets.test).count) == (10, 10)
    rows = [f"test/{name}.png,{int(name[-1]) % 5}" for name in pets.test.names]
    (root / "patients.csv").write_text("path,patient\n" + "\n".join(rows) + "\n")
    scores = evaluate_classifier(network, split, out=tmp_path / "out")
    assert scores.interval_units_origin.endswith("5 groups (patients.csv, column patient)")
    assert scores.accuracy_interval != evaluate_classifier(network, pets.test).accuracy_interval
    page = " ".join((tmp_path / "out" / "report.html").read_text().split())
    assert "The intervals are over 10 units" in page and scores.interval_notes[0] in page
    text = render(scores)
    assert "95 % intervals over 10 units" in text and f"note: {scores.interval_notes[0]}" in text
