"""Confusion counts, judged by scikit-learn and by their laws."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from pixelwise.errors import DataError, MaskError, OptionError
from pixelwise.ops import confusion as module
from pixelwise.ops import native
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


@st.composite
def runs(draw: st.DrawFn) -> Pair:
    """Rows of labels in runs of any length, so that blocks of no change, some and nothing but changes occur."""
    size = draw(st.integers(0, 700))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    both = []
    for _ in range(2):
        length = draw(st.sampled_from([1, 2, 7, 64, 500]))
        values = rng.integers(0, draw(st.sampled_from([2, 3, 255])), size, dtype=np.uint8)
        both.append(np.repeat(values, rng.integers(1, length + 1, size))[:size])
    both[0][rng.random(size) < draw(st.sampled_from([0, 0.05]))] = 255
    return both[0], both[1], 255


@given(runs(), st.integers(1, 3))
@settings(deadline=None, max_examples=150)
def test_the_kernel_counts_what_numpy_counts(pair: Pair, pieces: int) -> None:
    pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WORTH_LOADING", 0)
        patch.setattr(module, "_WORTH_CALLING", 0)
        patch.setattr(module, "_PIECE", max(1, -(-pair[0].size // pieces)))
        patch.setattr(native, "threads", lambda: 2)
        patch.setattr(module, "_pairs_plain", None)  # not a way round the kernel
        found = confusion(*pair)
    np.testing.assert_array_equal(found, judged(*pair))


def test_without_numba_the_counts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH_LOADING", 0)
    monkeypatch.setattr(module, "_WORTH_CALLING", 0)
    monkeypatch.setattr(native, "load", lambda name: None)
    truth, prediction = np.random.default_rng(0).integers(0, 5, (2, 300, 300), dtype=np.uint8)
    np.testing.assert_array_equal(confusion(truth, prediction, 5), judged(truth, prediction, 5))


def test_few_pixels_do_not_load_numba() -> None:
    code = (
        "import sys, numpy as np; from pixelwise.ops.confusion import confusion;"
        "confusion(*np.zeros((2, 1000, 1000), np.uint8), 2); sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_real_label_maps(shared_data: Callable[[str], Path]) -> None:
    files = sorted((shared_data("camvid") / "masks" / "test").glob("*.png"))[:25]
    truth = np.stack([np.asarray(PIL.Image.open(file)) for file in files])
    prediction = np.roll(truth, (2, 3), (1, 2))
    assert truth.size > module._WORTH_LOADING
    np.testing.assert_array_equal(confusion(truth, prediction, 12), judged(truth, prediction, 12))


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


@pytest.mark.parametrize("frozen", ["truth", "prediction", "both"])
def test_arrays_that_cannot_be_written_to_are_counted_where_they_lie(
    frozen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of Pillow's images and of files mapped into memory."""
    pytest.importorskip("numba")
    monkeypatch.setattr(module, "_WORTH_LOADING", 0)
    monkeypatch.setattr(module, "_WORTH_CALLING", 0)
    monkeypatch.setattr(module, "_pairs_plain", None)  # not a way round the kernel
    truth, prediction = np.random.default_rng(0).integers(0, 5, (2, 90, 110), dtype=np.uint8)
    expected = judged(truth, prediction, 5)
    if frozen != "prediction":
        np.save(tmp_path / "truth.npy", truth)
        truth = np.load(tmp_path / "truth.npy", mmap_mode="r")
    if frozen != "truth":
        prediction = np.asarray(PIL.Image.fromarray(prediction))
        assert not prediction.flags.writeable
    np.testing.assert_array_equal(confusion(truth, prediction, 5), expected)


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
