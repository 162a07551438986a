"""Convolution and transposed convolution written out, judged by torch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.signal import correlate
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.ops.arithmetic import effective_kernel, transposed_size
from pixelwise.ops.convolution import (
    convolve,
    convolve_transposed,
    overlap_counts,
    weighted_copies,
    zero_insertion,
)

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
SIDE = {1: 9, 2: 6, 3: 4}


def draw_axes(draw, axes, low, high):
    return draw(st.tuples(*[st.integers(low, high)] * axes))


@st.composite
def problems(draw):
    axes = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = draw_axes(draw, axes, 1, 3)
    options = {"stride": draw_axes(draw, axes, 1, 3), "dilation": draw_axes(draw, axes, 1, 2)}
    x = rng.standard_normal((inputs, *draw_axes(draw, axes, 1, SIDE[axes])))
    weight = rng.standard_normal((outputs, inputs, *kernel))
    pads = draw(st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * axes))
    return x, weight, pads, options


def flat(pads):
    """Torch's order of padding: the last axis first."""
    return [side for pair in reversed(pads) for side in pair]


def close(found, expected):
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-12)


@given(problems())
@settings(deadline=None, max_examples=150)
def test_convolution_equals_torch(problem):
    x, weight, pads, options = problem
    axes = x.ndim - 1
    room = [s + sum(p) - effective_kernel(k, d) for s, p, k, d in
            zip(x.shape[1:], pads, weight.shape[2:], options["dilation"], strict=True)]  # fmt: skip
    if min(room) < 0:
        with pytest.raises(OptionError, match="covers"):
            convolve(x, weight, padding=pads, **options)
        return
    padded = F.pad(torch.from_numpy(x), flat(pads))
    expected = CONV[axes](padded[None], torch.from_numpy(weight), **options)[0]
    close(convolve(x, weight, padding=pads, **options), expected)
    alone = CONV[axes](padded[None, :1], torch.from_numpy(weight[:1, :1]), **options)[0, 0]
    close(convolve(x[0], weight[0, 0], padding=pads, **options), alone)


@given(problems(), st.data())
@settings(deadline=None, max_examples=150)
def test_transposed_convolution_equals_torch(problem, data):
    x, weight, pads, options = problem
    weight = weight.swapaxes(0, 1).copy()  # torch's transposed weights are [C, O, *K]
    axes = x.ndim - 1
    extra = tuple(
        data.draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(options["stride"], options["dilation"], strict=True)
    )
    whole = TRANSPOSED[axes](
        torch.from_numpy(x)[None], torch.from_numpy(weight), output_padding=extra, **options
    )[0]
    kept = [
        slice(before, length - after) for (before, after), length in zip(pads, whole.shape[1:], strict=True)
    ]
    if any(cut.start >= cut.stop for cut in kept):
        with pytest.raises(OptionError, match="padding cuts"):
            convolve_transposed(x, weight, padding=pads, output_padding=extra, **options)
        return
    found = convolve_transposed(x, weight, padding=pads, output_padding=extra, **options)
    close(found, whole[(slice(None), *kept)])


@given(problems())
@settings(deadline=None, max_examples=60)
def test_transposed_is_the_backward_pass_of_the_convolution(problem):
    x, weight, pads, options = problem
    pads = tuple(pair[0] for pair in pads)
    sizes = x.shape[1:]
    geometry = list(zip(sizes, weight.shape[2:], options["stride"], pads, options["dilation"], strict=True))
    assume(all(effective_kernel(k, d) <= size + 2 * p for size, k, _, p, d in geometry))
    image = torch.from_numpy(x)[None].requires_grad_()
    result = CONV[x.ndim - 1](image, torch.from_numpy(weight), padding=pads, **options)
    upstream = torch.from_numpy(np.random.default_rng(0).standard_normal(result.shape))
    result.backward(upstream)
    least = [(n - 1) * s - 2 * p + effective_kernel(k, d) for n, (_, k, s, p, d) in
             zip(result.shape[2:], geometry, strict=True)]  # fmt: skip
    assume(min(least) > 0)
    extra = tuple(size - short for size, short in zip(sizes, least, strict=True))
    back = convolve_transposed(upstream[0].numpy(), weight, padding=pads, output_padding=extra, **options)
    close(back, image.grad[0])


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 3), st.booleans())
@settings(deadline=None, max_examples=60)
def test_same_full_and_valid_equal_torch_and_scipy(size, kernel, dilation, plane):
    rng = np.random.default_rng(size * 100 + kernel)
    axes = 2 if plane else 1
    x, weight = rng.standard_normal((size,) * axes), rng.standard_normal((kernel,) * axes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: an even kernel copies the input
        expected = CONV[axes](
            torch.from_numpy(x)[None, None],
            torch.from_numpy(weight)[None, None],
            padding="same",
            dilation=dilation,
        )
    close(convolve(x, weight, padding="same", dilation=dilation), expected[0, 0])
    np.testing.assert_allclose(convolve(x, weight, padding="full"), correlate(x, weight, "full"), atol=1e-12)
    if kernel <= size:
        np.testing.assert_allclose(convolve(x, weight), correlate(x, weight, "valid"), atol=1e-12)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_transposed_is_a_convolution_of_the_input_with_zeros_inserted(size, kernel, stride, padding):
    assume(padding < kernel and transposed_size(size, kernel, stride=stride) > 2 * padding)
    rng = np.random.default_rng(size)
    x, weight = rng.standard_normal((size, size)), rng.standard_normal((kernel, kernel))
    holed = zero_insertion(x, stride, padding=kernel - 1 - padding)
    np.testing.assert_allclose(
        convolve(holed, weight[::-1, ::-1]),
        convolve_transposed(x, weight, stride=stride, padding=padding),
        atol=1e-12,
    )


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_copies_add_up_to_the_transposed_convolution_and_their_count_to_the_overlap(size, kernel, stride):
    rng = np.random.default_rng(kernel)
    x, weight = rng.standard_normal((size, size + 1)), rng.standard_normal((kernel, kernel))
    copies = weighted_copies(x, weight, stride=stride)
    assert len(copies) == x.size
    expected = F.conv_transpose2d(
        torch.from_numpy(x)[None, None], torch.from_numpy(weight)[None, None], stride=stride
    )
    close(sum(copies), expected[0, 0])
    counts = overlap_counts(x.shape, kernel, stride=stride)
    np.testing.assert_array_equal(counts, sum((copy != 0).astype(int) for copy in copies))


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 1), st.integers(1, 2))
@settings(deadline=None, max_examples=60)
def test_overlap_counts_equal_torch_on_ones(size, kernel, stride, padding, dilation):
    assume((size - 1) * stride + effective_kernel(kernel, dilation) > 2 * padding)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": stride - 1}
    ones = torch.ones(1, 1, size, size + 1), torch.ones(1, 1, kernel, kernel)
    expected = F.conv_transpose2d(*ones, **options)[0, 0].long()
    np.testing.assert_array_equal(overlap_counts((size, size + 1), kernel, **options), expected)
    np.testing.assert_array_equal(
        overlap_counts(size, kernel, **options),
        F.conv_transpose1d(torch.ones(1, 1, size), torch.ones(1, 1, kernel), **options)[0, 0].long(),
    )


def test_whole_numbers_stay_whole_and_bytes_do_not_overflow():
    found = convolve(np.full((3, 3), 255, np.uint8), np.full((3, 3), 2, np.uint8))
    assert found.dtype == np.int64
    assert found.tolist() == [[255 * 2 * 9]]
    assert convolve(np.ones(4, bool), np.ones(2, bool)).tolist() == [2, 2, 2]
    assert convolve(np.ones(4, np.float32), np.ones(2, np.float32)).dtype == np.float32


def test_zero_insertion_of_every_axis():
    np.testing.assert_array_equal(
        zero_insertion([[1, 2], [3, 4]], 3, padding=(0, 1)),
        [[1, 0, 0, 2, 0], [0] * 5, [0] * 5, [3, 0, 0, 4, 0], [0] * 5],
    )


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: convolve(np.zeros((2, 2)), np.zeros(2)), "kernel of shape"),
        (lambda: convolve(np.zeros((1, 2, 2, 2, 2)), np.zeros((1, 1, 2, 2, 2, 2))), "with 1, 2 or 3 axes"),
        (lambda: convolve(np.zeros((2, 5)), np.zeros((1, 3, 2))), "x has 2 channels and the kernel"),
        (lambda: convolve_transposed(np.zeros((2, 5)), np.zeros((3, 2, 2))), r"kernel \[C, O, \*K\]"),
        (lambda: convolve(np.zeros((2, 2)), np.zeros((3, 3))), "covers 3 pixels; the input has 2"),
        (lambda: convolve(np.zeros((0, 2)), np.zeros((1, 1))), r"x of shape \(0, 2\) is empty"),
        (lambda: convolve([["a"]], [[1]]), "x holds <U1"),
        (lambda: convolve([[1, 2], [3]], [[1]]), "rows of different lengths"),
        (lambda: convolve(np.zeros((4, 4)), np.zeros((2, 2)), stride=(1, 2, 3)), "stride is .* for 2 axes"),
        (lambda: convolve(np.zeros((4, 4)), np.zeros((2, 2)), stride=0), "stride is 0"),
        (lambda: convolve(np.zeros(4), np.zeros(2), padding=(1, 2)), r"\(\(before, after\),\)"),
        (lambda: convolve(np.zeros((4, 4)), np.zeros((2, 2)), padding=-1), "padding is -1"),
        (lambda: convolve_transposed(np.zeros(4), np.zeros(2), padding="same"), "padding is 'same'"),
        (lambda: convolve_transposed(np.zeros(4), np.zeros(2), output_padding=1), "output_padding is 1"),
        (lambda: zero_insertion([1, 2], 0), "stride is 0"),
        (lambda: overlap_counts((3, 0), 2), "size is 0"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_a_remedy(call, found):
    with pytest.raises(OptionError, match=found) as caught:
        call()
    assert caught.value.remedy
