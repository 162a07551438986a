"""The table of images and the scores of whole label maps, judged by scikit-learn and torchmetrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from pixelwise.errors import DataError
from pixelwise.metrics import scores_from_confusion
from pixelwise.metrics.images import image_table
from pixelwise.metrics.overlap import counts_of
from pixelwise.ops.confusion import confusion

NAMES = ("a", "b", "c")
HARD = {
    "one pixel": (np.array([[1]]), np.array([[0]])),
    "all ignored": (np.full((3, 3), 255), np.zeros((3, 3))),
    "absent classes": (np.zeros((3, 3)), np.full((3, 3), 2)),
    "thin lines": (np.eye(9), np.eye(9)[::-1]),
    "at the frame": (np.pad(np.zeros((4, 4)), 1, constant_values=1), np.ones((6, 6))),
}


def judged(truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> list[float]:
    """Mean IoU, accuracy and the IoU of each class, NaN where undefined."""
    known = truth != 255
    t, p = truth[known], prediction[known]
    if not t.size:
        return [np.nan] * (2 + len(NAMES))
    iou = jaccard_score(t, p, labels=range(len(NAMES)), average=None, zero_division=0.0)
    iou = np.where(np.isin(range(len(NAMES)), np.union1d(t, p)), iou, np.nan)
    return [np.nanmean(iou), accuracy_score(t, p), *iou]


def check(pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> None:
    matrices = np.array([confusion(truth, prediction, len(NAMES)) for truth, prediction in pairs])
    names = [f"image{n}" for n in range(len(pairs))]
    head, rows = image_table(names, counts_of(matrices), NAMES)
    assert head[:4] == ["image", "image_mean_iou", "image_accuracy", "pixels"]
    for name, row, (truth, prediction) in zip(names, rows, pairs, strict=True):
        assert row[0] == name
        assert row[3] == (truth != 255).sum()
        values = [np.nan if value == "" else float(value) for value in (*row[1:3], *row[4:])]
        np.testing.assert_allclose(values, judged(truth, prediction), rtol=0, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_rows_are_the_scores_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(3):
        shape = tuple(rng.integers(1, 9, 2))
        truth = rng.choice(np.array([0, 1, 2, 255], np.uint8), shape, p=rng.dirichlet(np.ones(4)))
        pairs.append((truth, rng.integers(0, 3, shape, dtype=np.uint8)))
    check(pairs)


@pytest.mark.parametrize("name", HARD)
def test_hard_maps(name: str) -> None:
    truth, prediction = (labels.astype(np.uint8) for labels in HARD[name])
    check([(truth, prediction)])
    known = truth != 255
    scores = scores_from_confusion(confusion(truth, prediction, 3), NAMES)
    if known.any():
        t, p = truth[known], prediction[known]
        present = np.union1d(t, p)
        f1 = f1_score(t, p, labels=present, average="macro", zero_division=0.0)
        assert scores.mean_dice == pytest.approx(f1, abs=1e-9)


def test_counts_of_other_images_are_refused() -> None:
    with pytest.raises(DataError, match="1 images"):
        image_table(["one"], np.zeros((2, 3, 3), int), NAMES)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_torchmetrics(seed: int, torchmetrics: Any) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array([0, 1, 2, 255], np.uint8), (40, 50))
    prediction = rng.integers(0, 3, (40, 50), dtype=np.uint8)
    t, p = (torch.tensor(labels.astype(np.int64)) for labels in (truth, prediction))
    shared = {"num_classes": 3, "ignore_index": 255}
    scores = scores_from_confusion(confusion(truth, prediction, 3), NAMES)
    iou = torchmetrics.multiclass_jaccard_index(p, t, average="none", **shared)
    np.testing.assert_allclose(
        [one.iou for one in scores.classes], iou, rtol=0, atol=1e-6
    )  # theirs are float32
    dice = torchmetrics.multiclass_f1_score(p, t, average="macro", **shared)
    assert scores.mean_dice == pytest.approx(float(dice), abs=1e-6)
    micro = torchmetrics.multiclass_accuracy(p, t, average="micro", **shared)
    assert scores.pixel_accuracy == pytest.approx(float(micro), abs=1e-6)
    frequency = torchmetrics.multiclass_jaccard_index(p, t, average="weighted", **shared)
    assert scores.frequency_weighted_iou == pytest.approx(float(frequency), abs=1e-6)
