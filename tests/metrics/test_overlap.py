"""Scores, judged by scikit-learn."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score, recall_score

from pixelwise.errors import DataError, MaskError, OptionError
from pixelwise.metrics import ScoreCounter, scores_from_confusion
from pixelwise.ops.confusion import confusion

seeds = st.integers(0, 2**32 - 1)


def random_labels(seed: int, classes: int, pixels: int = 400) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, pixels, dtype=np.uint8)
    prediction = np.where(rng.random(pixels) < 0.6, truth, rng.integers(0, classes, pixels)).astype(np.uint8)
    truth[rng.random(pixels) < 0.1] = 255
    return truth, prediction


def names_of(classes: int) -> list[str]:
    return [f"class_{k}" for k in range(classes)]


@given(seeds, st.integers(2, 30))
@settings(deadline=None, max_examples=40)
def test_equal_to_scikit_learn(seed: int, classes: int) -> None:
    truth, prediction = random_labels(seed, classes)
    scores = scores_from_confusion(confusion(truth, prediction, classes), names_of(classes))
    valid = truth != 255
    t, p = truth[valid], prediction[valid]

    def judge(function: Callable[..., Any], present: NDArray[np.uint8]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = function(
            t, p, labels=np.arange(classes), average=None, zero_division=0.0
        )
        return np.where(np.isin(np.arange(classes), present), values, np.nan)

    either = np.union1d(t, p)
    iou, dice = judge(jaccard_score, either), judge(f1_score, either)
    precision, recall = judge(precision_score, p), judge(recall_score, t)
    np.testing.assert_allclose([c.iou for c in scores.classes], iou, rtol=0, atol=1e-9)
    np.testing.assert_allclose([c.dice for c in scores.classes], dice, rtol=0, atol=1e-9)
    np.testing.assert_allclose([c.precision for c in scores.classes], precision, rtol=0, atol=1e-9)
    np.testing.assert_allclose([c.recall for c in scores.classes], recall, rtol=0, atol=1e-9)
    assert scores.pixel_accuracy == pytest.approx(accuracy_score(t, p), abs=1e-9)
    assert scores.mean_iou == pytest.approx(np.nanmean(iou), abs=1e-9)
    assert scores.mean_dice == pytest.approx(np.nanmean(dice), abs=1e-9)
    assert scores.frequency_weighted_iou == pytest.approx(
        jaccard_score(t, p, average="weighted", zero_division=0.0), abs=1e-9
    )
    assert [c.pixels for c in scores.classes] == np.bincount(t, minlength=classes).tolist()
    assert scores.pixels == t.size


def test_a_class_in_neither_is_left_out_and_a_class_in_only_one_counts_as_zero() -> None:
    # class 0: 2 found, 2 taken for class 2; class 1 appears nowhere; class 2 only in the prediction
    scores = scores_from_confusion(np.array([[2, 0, 2], [0, 0, 0], [0, 0, 0]]), ["road", "house", "tree"])
    assert scores.undefined == ("house",)
    assert scores.mean_iou == (0.5 + 0) / 2
    assert scores.mean_dice == pytest.approx((2 * 2 / 6 + 0) / 2)
    tree = scores.by_name("tree")
    assert tree.iou == 0 and tree.precision == 0 and math.isnan(tree.recall)
    assert math.isnan(scores.by_name("house").iou)


def test_nothing_but_ignored_pixels_gives_no_score() -> None:
    counter = ScoreCounter(["road", "house"])
    assert math.isnan(counter.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8)))
    scores = counter.scores()
    assert math.isnan(scores.mean_iou) and math.isnan(scores.pixel_accuracy)
    assert (scores.pixels, scores.ignored, scores.undefined) == (0, 4, ("road", "house"))
    assert scores.as_dict()["mean_iou"] is None


@given(seeds, st.lists(st.integers(0, 400), max_size=4))
@settings(deadline=None, max_examples=40)
def test_the_counter_does_not_depend_on_how_the_pixels_are_split(seed: int, cuts: list[int]) -> None:
    truth, prediction = random_labels(seed, 5)
    whole, parts = ScoreCounter(names_of(5)), ScoreCounter(names_of(5))
    whole.add(truth, prediction)
    for part in zip(np.split(truth, sorted(cuts)), np.split(prediction, sorted(cuts)), strict=True):
        parts.add(*part)
    assert parts.scores().images == len(cuts) + 1
    assert {**parts.scores().as_dict(), "images": 1} == whole.scores().as_dict()
    assert parts.scores().ignored == whole.scores().ignored


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_renaming_the_classes_keeps_the_means(seed: int) -> None:
    truth, prediction = random_labels(seed, 6)
    order = np.append(np.random.default_rng(seed).permutation(6), np.full(250, 255)).astype(np.uint8)
    one = scores_from_confusion(confusion(truth, prediction, 6), names_of(6))
    two = scores_from_confusion(confusion(order[truth], order[prediction], 6), names_of(6))
    assert two.mean_iou == pytest.approx(one.mean_iou)
    assert two.frequency_weighted_iou == pytest.approx(one.frequency_weighted_iou)
    assert 0 <= one.mean_iou <= one.mean_dice <= 1


def test_the_mean_of_an_image_is_its_own() -> None:
    counter = ScoreCounter(["road", "house"])
    assert counter.add(np.array([0, 0], np.uint8), np.array([0, 0], np.uint8)) == 1.0
    assert counter.add(np.array([1, 1], np.uint8), np.array([0, 0], np.uint8)) == 0.0
    scores = counter.scores()
    assert scores.image_mean_iou == (1.0, 0.0)
    assert scores.mean_iou == 0.25  # road 2 of 4, house 0 of 2: not the mean of the images


def test_the_dictionary_is_the_documented_one() -> None:
    scores = scores_from_confusion(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), ["a", "b", "c"], images=2)
    document = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert list(document) == [
        "mean_iou", "pixel_accuracy", "mean_dice", "frequency_weighted_iou", "images", "pixels",
        "classes", "confusion",
    ]  # fmt: skip
    assert document["classes"][0] == {
        "name": "a", "iou": 0.75, "dice": pytest.approx(6 / 7), "precision": 1.0, "recall": 0.75, "pixels": 4,
    }  # fmt: skip
    assert document["classes"][2] == {
        "name": "c", "iou": None, "dice": None, "precision": None, "recall": None, "pixels": 0,
    }  # fmt: skip
    assert document["confusion"] == [[3, 1, 0], [0, 4, 0], [0, 0, 0]]
    assert (document["images"], document["pixels"]) == (2, 8)


def test_wrong_input_is_refused_and_counts_nothing() -> None:
    with pytest.raises(DataError, match=r"shape \(2, 3\) for 2 classes"):
        scores_from_confusion(np.zeros((2, 3), np.int64), ["a", "b"])
    with pytest.raises(DataError, match="at least 0"):
        scores_from_confusion(np.array([[1, -1], [0, 1]]), ["a", "b"])
    with pytest.raises(OptionError, match="did you mean 'house'"):
        scores_from_confusion(np.eye(2, dtype=np.int64), ["road", "house"]).by_name("hous")
    counter = ScoreCounter(["a", "b"])
    with pytest.raises(MaskError):
        counter.add(np.array([3], np.uint8), np.array([0], np.uint8))
    assert counter.scores().images == 0
