"""Confusion counts, judged by scikit-learn and by their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from pixelwise.errors import DataError, MaskError, OptionError
from pixelwise.ops import confusion as module
from pixelwise.ops.confusion import confusion

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8], int]


@st.composite
def label_pairs(draw: st.DrawFn) -> Pair:
    classes = draw(st.integers(2, 255))
    shape = draw(st.tuples(st.integers(0, 40), st.integers(0, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = rng.integers(0, classes, shape, dtype=np.uint8)
    truth[rng.random(shape) < draw(st.sampled_from([0, 0.3, 1]))] = 255
    return truth, rng.integers(0, classes, shape, dtype=np.uint8), classes


def judged(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    valid = truth != 255
    if not valid.any():
        return np.zeros((classes, classes), np.int64)
    matrix: NDArray[np.int64] = confusion_matrix(truth[valid], prediction[valid], labels=np.arange(classes))
    return matrix


@given(label_pairs())
@settings(deadline=None, max_examples=60)
def test_equals_scikit_learn(pair: Pair) -> None:
    found = confusion(*pair)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, judged(*pair))


@given(label_pairs(), st.integers(0, 40))
@settings(deadline=None, max_examples=40)
def test_parts_add_up_to_the_whole(pair: Pair, cut: int) -> None:
    truth, prediction, classes = pair
    parts = confusion(truth[:cut], prediction[:cut], classes) + confusion(
        truth[cut:], prediction[cut:], classes
    )
    np.testing.assert_array_equal(parts, confusion(truth, prediction, classes))


@given(label_pairs(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_renumbered_classes_permute_rows_and_columns(pair: Pair, seed: int) -> None:
    truth, prediction, classes = pair
    order = np.random.default_rng(seed).permutation(classes)
    renumber = np.append(order, np.full(256 - classes, 255)).astype(np.uint8)
    found = confusion(renumber[truth], renumber[prediction], classes)
    np.testing.assert_array_equal(found[np.ix_(order, order)], confusion(truth, prediction, classes))


@given(label_pairs())
@settings(deadline=None, max_examples=30)
def test_swapping_truth_and_prediction_transposes(pair: Pair) -> None:
    truth, prediction, classes = pair
    truth = np.where(truth == 255, prediction, truth)
    np.testing.assert_array_equal(
        confusion(prediction, truth, classes), confusion(truth, prediction, classes).T
    )


def test_more_pixels_than_one_chunk_and_views_that_are_not_contiguous() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 5, (2, 1024, 1100), dtype=np.uint8)
    assert truth.size > 4 * module._CHUNK
    np.testing.assert_array_equal(confusion(truth, prediction, 5), judged(truth, prediction, 5))
    np.testing.assert_array_equal(
        confusion(truth[::2, ::3].T, prediction[::2, ::3].T, 5),
        judged(truth[::2, ::3], prediction[::2, ::3], 5),
    )


def test_another_ignore_value_may_be_a_class() -> None:
    truth, prediction = np.array([[0, 1, 2]], np.uint8), np.array([[1, 1, 0]], np.uint8)
    np.testing.assert_array_equal(
        confusion(truth, prediction, 3, ignore=0), [[0, 0, 0], [0, 1, 0], [1, 0, 0]]
    )


def test_the_inputs_are_left_alone() -> None:
    truth, prediction = np.array([[0, 255]], np.uint8), np.array([[1, 1]], np.uint8)
    truth.flags.writeable = prediction.flags.writeable = False
    confusion(truth, prediction, 2)
    np.testing.assert_array_equal(truth, [[0, 255]])


def test_a_value_outside_the_classes_is_named_with_count_and_position() -> None:
    truth = np.zeros((4, 5), np.uint8)
    prediction = truth.copy()
    truth[2, 3] = truth[3, 0] = 7
    with pytest.raises(MaskError, match=r"value 7 in 2 pixels, first at row 2, column 3; allowed are 0\.\.2"):
        confusion(truth, prediction, 3)
    with pytest.raises(DataError, match=r"prediction holds value 7 in 2 pixels, first at row 2, column 3"):
        confusion(prediction, truth, 3)


def test_a_prediction_of_ignore_is_refused_even_where_the_truth_is_ignored() -> None:
    labels = np.full((2, 2), 255, np.uint8)
    with pytest.raises(DataError, match="prediction holds value 255 in 4 pixels"):
        confusion(labels, labels, 3)


def test_255_counts_as_wrong_value_when_another_value_is_ignored() -> None:
    with pytest.raises(MaskError, match="value 255 in 1 pixels"):
        confusion(np.array([255], np.uint8), np.array([0], np.uint8), 3, ignore=9)


def test_other_dtypes_shapes_and_options_are_refused() -> None:
    zeros = np.zeros((2, 3), np.uint8)
    with pytest.raises(DataError, match="truth is int64; labels are uint8"):
        confusion(zeros.astype(np.int64), zeros, 3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="truth is 2 x 3 and the prediction 3 x 2"):
        confusion(zeros, zeros.T, 3)
    for classes in (0, 256):
        with pytest.raises(OptionError, match=f"{classes} classes"):
            confusion(zeros, zeros, classes)
    with pytest.raises(OptionError, match="ignore value is -1"):
        confusion(zeros, zeros, 3, ignore=-1)


def test_a_single_class() -> None:
    truth = np.array([[0, 0, 255]], np.uint8)
    np.testing.assert_array_equal(confusion(truth, np.zeros_like(truth), 1), [[2]])
