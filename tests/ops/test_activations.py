"""Activations, judged by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.errors import OptionError
from pixelwise.ops.activations import relu, sigmoid, softmax

logits = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=12).map(np.array)


@given(logits)
def test_equal_to_torch(values):
    tensor = torch.from_numpy(values)
    np.testing.assert_allclose(softmax(values), torch.softmax(tensor, 0), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(sigmoid(values), torch.sigmoid(tensor), rtol=1e-12, atol=1e-300)
    np.testing.assert_array_equal(relu(values), torch.relu(tensor))


def test_classes_along_any_axis():
    scores = np.random.default_rng(0).standard_normal((2, 4, 3, 5))
    for axis in (0, 1, -1):
        np.testing.assert_allclose(
            softmax(scores, axis=axis), torch.softmax(torch.from_numpy(scores), axis), rtol=1e-12
        )


def test_single_precision_stays_and_whole_numbers_are_counted_in_double():
    assert softmax(np.zeros(3, np.float32)).dtype == np.float32
    assert softmax([0, 1]).dtype == np.float64


@pytest.mark.parametrize("function", [softmax, sigmoid, relu])
def test_nothing_is_refused(function):
    with pytest.raises(OptionError, match="is empty"):
        function([])
