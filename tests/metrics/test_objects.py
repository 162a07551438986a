"""Scores by the size of objects, judged by a flood fill and by scikit-learn."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from pixelwise.errors import DataError, MaskError, OptionError
from pixelwise.metrics.objects import ObjectCounter, object_counts
from pixelwise.ops.objects import objects

Map = NDArray[np.uint8]
NAMES = ("a", "b", "c")

seeds = st.integers(0, 2**32 - 1)


def random_pair(seed: int) -> tuple[Map, Map]:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 16, 2))
    truth = rng.choice(np.array([0, 0, 1, 1, 1, 255], np.uint8), shape)
    prediction = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, 3, shape))
    return truth, np.where(prediction == 255, 2, prediction).astype(np.uint8)


def flood(truth: Map, k: int) -> list[set[tuple[int, int]]]:
    """The objects of a class: each grows from one of its pixels by all eight neighbours."""
    left = {(row, column) for row, column in np.argwhere(truth == k).tolist()}
    found = []
    while left:
        grown, new = set(), {left.pop()}
        while new:
            grown |= new
            new = {(r + dr, c + dc) for r, c in new for dr in (-1, 0, 1) for dc in (-1, 0, 1)} & left
            left -= new
        found.append(grown)
    return found


@given(seeds, st.integers(1, 20), st.integers(0, 30))
@settings(deadline=None, max_examples=60)
def test_counts_are_those_of_a_flood_fill(seed: int, medium: int, more: int) -> None:
    truth, prediction = random_pair(seed)
    bounds = (medium, medium + more)
    counts = object_counts(truth, prediction, 3, bounds=bounds)
    expected = np.zeros((3, 3, 4), int)
    for k in range(3):
        for pixels in flood(truth, k):
            size = sum(len(pixels) >= bound for bound in bounds)
            hits = sum(int(prediction[pixel]) == k for pixel in pixels)
            expected[k, size] += (1, hits >= len(pixels) / 2, len(pixels), hits)
        assert expected[k, :, 0].sum() == len(objects(truth, skip=[j for j in range(3) if j != k]))
    np.testing.assert_array_equal(counts, expected)


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_recall_of_all_sizes_together_is_that_of_scikit_learn(seed: int) -> None:
    pairs = [random_pair(seed + n) for n in range(3)]
    counter = ObjectCounter(NAMES, bounds=(3, 8))
    for truth, prediction in pairs:
        counter.add(truth, prediction)
    scores = counter.scores()
    truth = np.concatenate([t[t != 255] for t, _ in pairs])
    prediction = np.concatenate([p[t != 255] for t, p in pairs])
    expected = recall_score(truth, prediction, labels=[0, 1, 2], average=None, zero_division=np.nan)
    total = scores.counts.sum(axis=(0, 2))
    for k, recall in enumerate(expected.tolist()):
        hits, pixels = total[k, 3], total[k, 2]
        assert (hits / pixels if pixels else math.nan) == pytest.approx(recall, abs=1e-9, nan_ok=True)


def test_bounds_halves_and_what_is_undefined() -> None:
    truth = np.zeros((100, 300), np.uint8)
    truth[:31, :33] = 1  # 1023 pixels
    truth[:32, 100:132] = 1  # 1024
    truth[:96, 200:296] = 1  # 9216
    prediction = truth.copy()
    prediction[:16, 100:132] = 0  # half of it is left
    prediction[:49, 200:296] = 0  # less than half
    truth[99, 0] = 255
    counter = ObjectCounter(NAMES)
    counter.add(truth, prediction)
    scores = counter.scores()
    small, medium, large = scores.by_name("b").sizes
    assert (small.objects, small.pixels, small.found, small.recall) == (1, 1023, 1.0, 1.0)
    assert (medium.objects, medium.pixels, medium.found, medium.recall) == (1, 1024, 1.0, 0.5)
    assert (large.objects, large.pixels, large.found, large.recall) == (1, 9216, 0.0, 47 / 96)
    assert scores.undefined == ("c",)
    assert [score.objects for score in scores.sizes] == [1, 1, 2]
    assert scores.counts.shape == (1, 3, 3, 4)
    plain = scores.as_dict()
    json.dumps(plain, allow_nan=False)
    assert plain["classes"][2]["sizes"][0]["object_pixel_recall"] is None
    assert plain["medium_from_pixels"] == 1024


def test_nothing_but_ignored_pixels_has_no_objects() -> None:
    counter = ObjectCounter(NAMES)
    counter.add(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8))
    assert counter.scores().undefined == NAMES
    assert all(math.isnan(score.found) for score in counter.scores().sizes)


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(OptionError, match="bounds"):
        ObjectCounter(NAMES, bounds=(9, 4))
    counter, good = ObjectCounter(NAMES), np.zeros((4, 5), np.uint8)
    with pytest.raises(DataError, match="4 x 4"):
        counter.add(good, good[:, :4])
    with pytest.raises(MaskError, match="value 7"):
        counter.add(good + 7, good)
    with pytest.raises(DataError, match="one by one"):
        counter.add(good[None], good[None])
    with pytest.raises(OptionError, match="did you mean"):
        counter.scores().by_name("bb")
