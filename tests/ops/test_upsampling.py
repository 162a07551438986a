"""Upsampling, judged by torch's interpolation and transposed convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.ops.upsampling import bilinear_kernel, upsample_bilinear, upsample_nearest

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@st.composite
def images(draw):
    axes = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.standard_normal((2, 2, *draw(st.tuples(*[st.integers(1, 5)] * axes))))


@given(images(), st.integers(1, 6))
@settings(deadline=None, max_examples=100)
def test_equal_to_interpolate(x, factor):
    axes = x.ndim - 2
    tensor = torch.from_numpy(x)
    expected = F.interpolate(tensor, scale_factor=factor, mode="nearest")
    np.testing.assert_array_equal(upsample_nearest(x, factor, axes=axes), expected)
    expected = F.interpolate(tensor, scale_factor=factor, mode=LINEAR[axes], align_corners=False)
    np.testing.assert_allclose(upsample_bilinear(x, factor, axes=axes), expected, rtol=0, atol=1e-12)


@given(images(), st.integers(1, 6))
@settings(deadline=None, max_examples=60)
def test_the_fixed_kernel_gives_the_same_inside_and_everywhere_on_an_image_with_its_border_repeated(
    x, factor
):
    axes = x.ndim - 2
    kernel = torch.from_numpy(bilinear_kernel(factor, axes=axes))
    assert kernel.shape == (2 * factor - factor % 2,) * axes
    weight = kernel.expand(2, 1, *kernel.shape)
    options = {"stride": factor, "padding": factor // 2, "groups": 2}
    expected = upsample_bilinear(x, factor, axes=axes)
    found = TRANSPOSED[axes](torch.from_numpy(x), weight, **options).numpy()
    assert found.shape == expected.shape
    inside = (..., *[slice(factor // 2, length - factor // 2) for length in expected.shape[2:]])
    np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=1e-12)
    wider = np.pad(x, [(0, 0), (0, 0), *[(1, 1)] * axes], mode="edge")
    whole = TRANSPOSED[axes](torch.from_numpy(wider), weight, **options).numpy()
    cut = (..., *[slice(factor, -factor)] * axes)
    np.testing.assert_allclose(whole[cut], expected, rtol=0, atol=1e-12)


def test_the_kernel_of_factor_two():
    # Long, Shelhamer and Darrell: upsampling layers of FCN are initialised to this 4 x 4 kernel
    row = np.array([1, 3, 3, 1]) / 4
    np.testing.assert_array_equal(bilinear_kernel(2), np.outer(row, row))


def test_whole_numbers():
    assert upsample_nearest(np.array([[1, 255]], np.uint8), 2).dtype == np.uint8
    assert upsample_bilinear([[0, 255]], 2).tolist() == [[0, 63.75, 191.25, 255]] * 2


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: upsample_nearest(np.zeros((2, 2)), 0), "factor is 0"),
        (lambda: upsample_bilinear(np.zeros((2, 2)), 1.5), "factor is 1.5"),
        (lambda: upsample_bilinear(np.zeros(2), 2), "axes is 2 for an array of shape"),
        (lambda: upsample_nearest(np.zeros((0, 2)), 2), "is empty"),
        (lambda: bilinear_kernel(-1), "factor is -1"),
        (lambda: bilinear_kernel(2, axes=4), "axes is 4"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(call, found):
    with pytest.raises(OptionError, match=found) as caught:
        call()
    assert caught.value.remedy
