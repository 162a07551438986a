"""Counts made on accelerators, by Triton's interpreter, judged by those of processors; test_triton starts them."""

import numpy as np
import pytest
import torch

from pixelwise.errors import DataError, MaskError, OptionError
from pixelwise.ops import cards, confusion_triton
from pixelwise.ops.confusion import confusion
from pixelwise.ops.confusion_triton import confusion_on_device


@pytest.fixture(autouse=True)
def by_triton(monkeypatch):
    monkeypatch.setattr(cards, "CARDS", ("cpu",))


def blotches(rng, shape, classes):
    """Runs of equal labels, as in label maps."""
    labels = np.repeat(
        rng.integers(0, classes, shape[0] * shape[1]), rng.integers(1, 40, shape[0] * shape[1])
    )
    return labels[: shape[0] * shape[1]].reshape(shape).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 4), (3, 7), (40, 129), (91, 53)])
@pytest.mark.parametrize("classes", [1, 2, 11, 150, 255])
@pytest.mark.parametrize("drawn", ["blotches", "noise"])
def test_as_on_processors(shape, classes, drawn, monkeypatch):
    rng = np.random.default_rng(classes)
    truth, said = blotches(rng, shape, classes), blotches(rng, shape, classes)
    if drawn == "noise":
        truth, said = (rng.integers(0, classes, shape, dtype=np.uint8) for _ in range(2))
    truth[rng.random(shape) < 0.1] = 255
    right = confusion(truth, said, classes)
    monkeypatch.setattr(confusion_triton, "confusion", None)  # not by the processor
    found = confusion_on_device(torch.from_numpy(truth), torch.from_numpy(said), classes)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, right)


def test_another_value_for_ignore_and_parts_of_tensors():
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 4, (2, 999), dtype=np.uint8), rng.integers(0, 3, (2, 999), dtype=np.uint8)
    found = confusion_on_device(torch.from_numpy(truth)[1, 3:], torch.from_numpy(said)[1, 3:], 3, ignore=3)
    np.testing.assert_array_equal(found, confusion(truth[1, 3:], said[1, 3:], 3, ignore=3))


@pytest.mark.parametrize("place", [2, 8])  # in a word, and behind the last
def test_errors_are_those_of_processors(place):
    truth, said = torch.zeros(9, dtype=torch.uint8), torch.zeros(9, dtype=torch.uint8)
    truth[place] = 7
    with pytest.raises(MaskError, match=f"value 7 in 1 pixels, first at index \\({place}"):
        confusion_on_device(truth, said, 3)
    with pytest.raises(DataError, match="the prediction holds value 7"):
        confusion_on_device(said, truth, 3)
    with pytest.raises(DataError, match="labels are uint8"):
        confusion_on_device(truth.long(), said, 3)
    with pytest.raises(OptionError):
        confusion_on_device(truth, said, 0)


def test_nothing_to_count():
    nothing = torch.zeros(0, dtype=torch.uint8)
    assert not confusion_on_device(nothing, nothing, 3).any()


def test_a_bad_prediction_of_an_ignored_pixel():
    """`confusion` refuses it, so here too."""
    truth, said = torch.full((8,), 255, dtype=torch.uint8), torch.full((8,), 7, dtype=torch.uint8)
    with pytest.raises(DataError):
        confusion_on_device(truth, said, 3)
