"""Label sets: the threshold by trying every one, the promise by drawing images again and again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.errors import DataError, OptionError
from pixelwise.evaluation.conformal import coverage, label_sets, set_threshold


@given(
    images=st.lists(
        st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=8),
        min_size=4,
        max_size=25,
    ),
    share=st.sampled_from([0.5, 0.7, 0.8]),
)
@settings(deadline=None)
def test_the_threshold_is_the_largest_that_is_allowed(images, share):
    arrays = [np.array(image) for image in images]

    def risk(threshold):  # of n images, and a new one that may be missed altogether
        return (sum((array < threshold).mean() for array in arrays) + 1) / (len(arrays) + 1)

    candidates = [value for array in arrays for value in array]
    allowed = [value for value in candidates if risk(value) <= 1 - share + 1e-9]
    assert set_threshold(arrays, share) == max(allowed)


def test_the_promise_holds_on_new_images_and_not_by_much():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        # images differ: a hard one is hard in all its pixels
        images = [rng.beta(rng.uniform(0.5, 6), 1, 50) for _ in range(31)]
        threshold = set_threshold(images[:30], 0.8)
        found.append((images[30] >= threshold).mean())
    deviation = np.std(found) / np.sqrt(len(found))
    assert 0.8 - 3 * deviation < np.mean(found) < 0.8 + 1 / 31 + 3 * deviation


def test_sets_hold_the_most_probable_class_whatever_the_threshold():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(5), 40).T
    sets = label_sets(shares, 0.99)
    assert (sets.sum(axis=0) >= 1).all()
    assert sets[shares.argmax(axis=0), np.arange(40)].all()
    low = label_sets(shares, 0.15)
    assert ((shares >= 0.15) <= low).all()
    truth = rng.integers(0, 5, 40)
    covered, size = coverage(shares, truth, 0.15)
    assert covered == np.mean([low[truth[i], i] for i in range(40)])
    assert size == low.sum() / 40


def test_images_without_pixels_say_nothing():
    images = [np.array([0.2, 0.4])] * 9
    assert set_threshold([*images, np.array([])], 0.5) == set_threshold(images, 0.5)


def test_too_few_images_and_shares_that_are_none():
    images = [np.array([0.5])] * 8
    with pytest.raises(DataError, match=r"8 images are too few.*\n.*at least 9 images"):
        set_threshold(images, 0.9)
    assert set_threshold([*images, np.array([0.5])], 0.9) == 0.5
    with pytest.raises(OptionError, match=r"share of 1\.5"):
        set_threshold(images, 1.5)
    with pytest.raises(DataError, match="0 images"):
        set_threshold([], 0.5)
