"""Pooling and unpooling, judged by torch: values, switches and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.ops.pooling import (
    adaptive_average_pool,
    adaptive_max_pool,
    average_pool,
    global_average_pool,
    max_pool,
    max_unpool,
    switch_positions,
)

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
UNPOOL = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_AVERAGE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
SIDE = {1: 12, 2: 7, 3: 5}


def draw_axes(draw, axes, low, high):
    return draw(st.tuples(*[st.integers(low, high)] * axes))


@st.composite
def images(draw):
    axes = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw_axes(draw, axes, 1, SIDE[axes])
    return rng.integers(-3, 4, (2, 2, *size)).astype(np.float64)  # few values: many maxima are tied


@st.composite
def pooling_problems(draw, dilated):
    x = draw(images())
    axes = x.ndim - 2
    kernel = draw_axes(draw, axes, 1, 4)
    dilation = draw_axes(draw, axes, 1, 3) if dilated else (1,) * axes
    options = {
        "stride": draw(st.none() | st.tuples(*[st.integers(1, 4)] * axes)),
        "padding": tuple(draw(st.integers(0, length // 2)) for length in kernel),
        "ceil": draw(st.booleans()),
    }
    return x, kernel, dilation, options


def torchs(options):
    return {"ceil_mode" if name == "ceil" else name: value for name, value in options.items()}


def some_window_is_empty(x, kernel, dilation, options):
    """Where a dilated window straddles a small image; torch then makes up a switch."""
    for axis, size in enumerate(x.shape[2:]):
        stride = (options["stride"] or kernel)[axis]
        start = -options["padding"][axis]
        while start < size:
            if not any(0 <= start + dilation[axis] * k < size for k in range(kernel[axis])):
                return True
            start += stride
    return False


@given(pooling_problems(dilated=True))
@settings(deadline=None, max_examples=200)
def test_max_pooling_values_and_switches_equal_torch(problem):
    x, kernel, dilation, options = problem
    axes = x.ndim - 2
    empty = some_window_is_empty(x, kernel, dilation, options)
    try:
        values, switches = max_pool(x, kernel, axes=axes, dilation=dilation, **options)
    except OptionError as error:
        assert ("holds no pixel" in str(error) and empty) or "covers" in str(error)
        if "covers" in str(error):
            with pytest.raises(RuntimeError):
                MAX[axes](torch.from_numpy(x), kernel, dilation=dilation, **torchs(options))
        return
    expected = MAX[axes](
        torch.from_numpy(x), kernel, dilation=dilation, return_indices=True, **torchs(options)
    )
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(switches, expected[1])
    positions = switch_positions(switches, x.shape[2:])
    for axis, flat in enumerate(np.unravel_index(switches, x.shape[2:])):
        np.testing.assert_array_equal(positions[..., axis], flat)


@given(images(), st.integers(1, 3))
@settings(deadline=None, max_examples=80)
def test_unpooling_equals_torch(x, kernel):
    axes = x.ndim - 2
    kernel = min(kernel, *x.shape[2:])
    values, switches = max_pool(x, kernel, axes=axes)
    given_values = np.random.default_rng(0).standard_normal(values.shape)
    expected = UNPOOL[axes](
        torch.from_numpy(given_values), torch.from_numpy(switches), kernel, output_size=x.shape[2:]
    )
    np.testing.assert_array_equal(max_unpool(given_values, switches, x.shape[2:]), expected)


@given(pooling_problems(dilated=False), st.booleans())
@settings(deadline=None, max_examples=150)
def test_average_pooling_equals_torch(problem, count_include_pad):
    x, kernel, _, options = problem
    axes = x.ndim - 2
    assume(axes < 3 or all(k <= size for k, size in zip(kernel, x.shape[2:], strict=True)))  # torch's limit
    judge = torch.from_numpy(x), kernel
    try:
        found = average_pool(x, kernel, axes=axes, count_include_pad=count_include_pad, **options)
    except OptionError:
        with pytest.raises(RuntimeError):
            AVERAGE[axes](*judge, count_include_pad=count_include_pad, **torchs(options))
        return
    expected = AVERAGE[axes](*judge, count_include_pad=count_include_pad, **torchs(options))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@given(images(), st.data())
@settings(deadline=None, max_examples=80)
def test_adaptive_and_global_pooling_equal_torch(x, data):
    axes = x.ndim - 2
    size = data.draw(st.tuples(*[st.integers(1, 6)] * axes))
    tensor = torch.from_numpy(x)
    np.testing.assert_allclose(
        adaptive_average_pool(x, size, axes=axes), ADAPTIVE_AVERAGE[axes](tensor, size), rtol=0, atol=1e-12
    )
    values, switches = adaptive_max_pool(x, size, axes=axes)
    expected = ADAPTIVE_MAX[axes](tensor, size, return_indices=True)
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(switches, expected[1])
    np.testing.assert_allclose(
        global_average_pool(x, axes=axes), ADAPTIVE_AVERAGE[axes](tensor, 1).flatten(1), rtol=0, atol=1e-12
    )


def test_leading_axes_are_kept_and_whole_numbers_stay_whole():
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    values, switches = max_pool(x, 2, axes=1)
    assert values.shape == switches.shape == (2, 3, 2)
    assert (values.dtype, switches.dtype) == (np.uint8, np.int64)
    assert average_pool(np.full((2, 2), 255, np.uint8), 2).tolist() == [[255.0]]


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: max_pool(np.zeros((4, 4)), 0), "kernel is 0"),
        (lambda: max_pool(np.zeros((4, 4)), 5), "covers 5 pixels; the input has 4"),
        (lambda: max_pool(np.zeros((4, 4)), 2, padding=2), "half the kernel at most, 1"),
        (lambda: max_pool(np.zeros((4, 4)), 2, stride=0), "stride is 0"),
        (lambda: max_pool(np.zeros((1, 1)), 2, padding=1, dilation=2), "window 0 of .* holds no pixel of 1"),
        (lambda: max_pool(np.zeros(4), 2), "axes is 2 for an array of shape"),
        (lambda: max_pool(np.zeros((4, 4)), 2, axes=4), "axes is 4"),
        (lambda: max_pool(np.zeros((4, 4)), (2, 2, 2)), "kernel is .* for 2 axes"),
        (lambda: average_pool(np.zeros((0, 4)), 2), "is empty"),
        (lambda: adaptive_max_pool(np.zeros((4, 4)), 0), "size is 0"),
        (lambda: max_unpool([[1]], [[9]], (3, 3)), "give whole numbers in 0..8"),
        (lambda: max_unpool([[1]], [[-1]], (3, 3)), "in -1..-1"),
        (lambda: max_unpool([[1, 2]], [[0]], (3, 3)), "values of shape"),
        (lambda: switch_positions([[0.5]], (3, 3)), "switches of float64"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(call, found):
    with pytest.raises(OptionError, match=found) as caught:
        call()
    assert caught.value.remedy
