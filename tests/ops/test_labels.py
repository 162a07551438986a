"""One-hot coding of labels, judged by torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.errors import DataError, MaskError, OptionError
from pixelwise.ops.labels import labels_from_logits, labels_from_one_hot, one_hot


@given(st.integers(1, 255), st.integers(0, 2**32 - 1), st.sampled_from([(3,), (4, 5), (2, 4, 5)]))
@settings(deadline=None, max_examples=60)
def test_equal_to_torch_and_back_again(classes, seed, shape):
    axis = -1 if len(shape) == 1 else -3
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, shape).astype(np.uint8)
    ignored = rng.random(shape) < 0.3
    expected = F.one_hot(torch.from_numpy(labels).long(), classes).movedim(-1, axis).numpy()
    expected = expected * np.expand_dims(~ignored, axis)
    labels[ignored] = 255
    planes = one_hot(labels, classes, axis=axis)
    assert planes.dtype == np.uint8
    np.testing.assert_array_equal(planes, expected)
    np.testing.assert_array_equal(labels_from_one_hot(planes, axis=axis), labels)
    for tensor in (torch.from_numpy(labels), torch.from_numpy(labels).long()):
        same = one_hot(tensor, classes, axis=axis)
        assert same.dtype == torch.uint8
        np.testing.assert_array_equal(same, expected)
        back = labels_from_one_hot(same, axis=axis)
        assert back.dtype == torch.uint8
        np.testing.assert_array_equal(back, labels)


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_bad_labels_are_refused(kind):
    with pytest.raises(MaskError, match=r"value 3; allowed are 0\.\.2"):
        one_hot(kind([[0, 3]]), 3)
    with pytest.raises(MaskError, match="value -1"):
        one_hot(kind([[0, -1]]), 3)
    with pytest.raises(OptionError, match="256 classes"):
        one_hot(kind([[0, 1]]), 256)
    with pytest.raises(OptionError, match="class axis is -3"):
        one_hot(kind([0, 1]), 3)
    for wrong in ([[[1, 0]], [[1, 1]]], [[[2, 0]], [[0, 1]]]):
        with pytest.raises(DataError, match="no one-hot coding"):
            labels_from_one_hot(kind(wrong))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 17])
def test_of_equal_logits_the_first_wins(classes, last, dtype):
    """As argmax has it, which also takes what is not a number for the largest."""
    logits = torch.randint(0, 3, (2, classes, 61, 47), generator=torch.Generator().manual_seed(classes)).to(
        dtype
    )
    logits[0, -1, :5] = float("nan")
    if last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    assert torch.equal(labels_from_logits(logits).long(), logits.argmax(dim=1))
