"""Calibration errors, judged by plain loops and by torchmetrics; temperatures, by drawing labels from known ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.errors import DataError, MaskError
from pixelwise.evaluation.calibration import BINS, CalibrationCounter, bands


def drawn(seed, shape=(23, 31), classes=4, ignored=0.1, sharp=3.0):
    """Truth, prediction, confidence and probabilities of a random network."""
    rng = np.random.default_rng(seed)
    logits = sharp * rng.normal(size=(classes, *shape))
    shares = (np.exp(logits) / np.exp(logits).sum(axis=0)).astype(np.float32)
    truth = np.repeat(rng.integers(0, classes, (-(-shape[0] // 6), shape[1])), 6, axis=0)[: shape[0]]
    truth = np.where(rng.random(shape) < ignored, 255, truth).astype(np.uint8)
    return truth, shares.argmax(0).astype(np.uint8), shares.max(0), shares


def plain_error(confidence, right):
    """The definition, bin by bin."""
    total = 0.0
    for index in range(BINS):
        low, high = index / BINS, (index + 1) / BINS
        here = (confidence >= low) & ((confidence < high) | (index == BINS - 1))
        if here.any():
            total += here.sum() * abs(right[here].mean() - confidence[here].mean())
    return total / confidence.size


@given(seed=st.integers(0, 2**31), parts=st.integers(1, 3), classes=st.sampled_from([2, 4, 9]))
@settings(deadline=None, max_examples=25)
def test_errors_by_their_definition_and_streaming_changes_nothing(seed, parts, classes):
    images = [drawn(seed + part, classes=classes) for part in range(parts)]
    counter = CalibrationCounter([f"c{k}" for k in range(classes)])
    for image in images:
        counter.add(*image)
    truth, predicted, confidence, shares = (
        np.concatenate([image[item].reshape(classes if item == 3 else 1, -1) for image in images], axis=1)
        for item in range(4)
    )
    counted = truth[0] != 255
    truth, predicted, confidence, shares = (
        array[:, counted].astype(np.float64) for array in (truth, predicted, confidence, shares)
    )
    right = (truth == predicted)[0]
    scores = counter.scores()
    assert scores.ece == pytest.approx(plain_error(confidence[0], right), abs=1e-6)
    assert scores.pixels == counted.sum() and scores.images == parts
    assert scores.accuracy == pytest.approx(right.mean())
    assert scores.confidence == pytest.approx(confidence.mean(), abs=1e-6)
    for k, found in enumerate(scores.classes):
        mine = predicted[0] == k
        assert found.pixels == mine.sum()
        if mine.any():
            assert found.ece == pytest.approx(plain_error(confidence[0][mine], right[mine]), abs=1e-6)
        assert found.classwise_ece == pytest.approx(plain_error(shares[k], truth[0] == k), abs=1e-6)
    assert sum(found.pixels for found in scores.distances) == scores.pixels
    assert sum(found.pixels for found in scores.bins) == scores.pixels


def test_bands_by_measuring_every_distance():
    truth = drawn(3, ignored=0.2)[0]
    rows, columns = truth.shape
    boundary = []
    for y in range(rows):
        for x in range(columns):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= v < rows and 0 <= u < columns
                if inside and 255 not in (truth[y, x], truth[v, u]) and truth[y, x] != truth[v, u]:
                    boundary.append((y, x))
    places = np.array(boundary)
    for y in range(rows):
        for x in range(columns):
            distance = np.sqrt(((places - (y, x)) ** 2).sum(axis=1).min())
            expected = 0 if distance <= 2 else 1 if distance <= 5 else 2 if distance <= 10 else 3
            assert bands(truth)[y, x] == expected


def test_bands_of_a_map_without_boundary():
    assert (bands(np.array([[1, 255, 2], [1, 255, 2]], np.uint8)) == 3).all()


def test_errors_apart_by_distance():
    truth = np.zeros((1, 40), np.uint8)
    truth[:, 20:] = 1
    confidence = np.full(truth.shape, 0.9, np.float32)
    predicted = truth.copy()
    predicted[:, 18:20] = 1  # wrong beside the boundary only
    counter = CalibrationCounter(["a", "b"])
    counter.add(truth, predicted, confidence)
    scores = counter.scores()
    assert [group.name for group in scores.distances] == ["0-2", "2-5", "5-10", ">10"]
    assert [group.pixels for group in scores.distances] == [6, 6, 10, 18]
    assert scores.distances[0].ece == pytest.approx(0.9 - 4 / 6, abs=1e-6)
    assert [group.ece for group in scores.distances[1:]] == pytest.approx([0.1] * 3, abs=1e-6)
    assert scores.classes[0].ece == pytest.approx(0.1, abs=1e-6)
    assert scores.classes[1].ece == pytest.approx(20 / 22 - 0.9, abs=1e-6)


def test_nothing_counted_is_null_in_json():
    counter = CalibrationCounter(["a", "b"])
    counter.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), np.ones((2, 2), np.float32))
    found = json.loads(json.dumps(counter.scores().as_dict(), allow_nan=False))
    assert found["ece"] is None and found["pixels"] == 0 and found["classwise_ece"] is None
    assert len(found["bins"]) == BINS and found["classes"][1]["name"] == "b"


def test_classwise_errors_need_every_image():
    counter = CalibrationCounter([f"c{k}" for k in range(4)])
    image = drawn(0)
    counter.add(*image)
    assert counter.scores().classwise_ece > 0
    counter.add(*image[:3])
    assert np.isnan(counter.scores().classwise_ece)


def test_what_is_no_probability_and_no_class_is_refused():
    truth, predicted, confidence, shares = drawn(1)
    counter = CalibrationCounter([f"c{k}" for k in range(4)])
    with pytest.raises(MaskError, match="hold value 7"):
        counter.add(np.full_like(truth, 7), predicted, confidence)
    with pytest.raises(DataError, match="outside"):
        counter.add(truth, predicted, 2 * confidence)
    with pytest.raises(DataError, match="a prediction is 9"):
        counter.add(truth, np.full_like(predicted, 9), confidence)
    with pytest.raises(DataError, match="maps of one size"):
        counter.add(truth, predicted, confidence[1:])
    with pytest.raises(DataError, match="4 planes"):
        counter.add(truth, predicted, confidence, shares[:3])
    assert counter.images == 0


@pytest.mark.peers
def test_the_errors_of_torchmetrics(torchmetrics):
    for seed, classes in ((0, 3), (1, 11)):
        truth, predicted, confidence, shares = drawn(seed, (60, 80), classes, sharp=2.0)
        counter = CalibrationCounter([f"c{k}" for k in range(classes)])
        counter.add(truth, predicted, confidence)
        expected = torchmetrics.multiclass_calibration_error(
            torch.from_numpy(shares)[None],
            torch.from_numpy(truth.astype(np.int64))[None],
            num_classes=classes,
            n_bins=BINS,
            norm="l1",
            ignore_index=255,
        )
        assert counter.scores().ece == pytest.approx(float(expected), abs=1e-5)
