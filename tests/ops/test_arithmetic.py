"""Sizes and padding, judged by torch's shapes and by published numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.ops.arithmetic import (
    conv_parameters,
    conv_size,
    dense_parameters,
    effective_kernel,
    padding_for,
    transposed_size,
)
from pixelwise.ops.layers import Layer, chain_sizes

sizes, kernels, strides, rates = st.integers(1, 30), st.integers(1, 7), st.integers(1, 5), st.integers(1, 4)
paddings = st.integers(0, 8)


def ones(size):
    return torch.ones(1, 1, size, dtype=torch.float64)


def attempt(function):
    """The length of torch's result, or None where torch refuses."""
    try:
        return function().shape[-1]
    except RuntimeError:
        return None


@given(sizes, kernels, strides, paddings, paddings, rates)
@settings(deadline=None, max_examples=200)
def test_convolution_sizes_equal_torch(size, kernel, stride, before, after, dilation):
    expected = attempt(
        lambda: F.conv1d(F.pad(ones(size), (before, after)), ones(kernel), stride=stride, dilation=dilation)
    )
    options = {"stride": stride, "padding": (before, after), "dilation": dilation}
    if expected is None:
        with pytest.raises(OptionError, match=f"the input has {size} and {before} \\+ {after} of padding"):
            conv_size(size, kernel, **options)
    else:
        assert conv_size(size, kernel, **options) == expected
        assert Layer("convolution", kernel, **options).output_size(size) == expected


@given(sizes, kernels, strides, paddings, rates, st.booleans())
@settings(deadline=None, max_examples=200)
def test_pooling_sizes_equal_torch(size, kernel, stride, padding, dilation, ceil):
    padding = min(padding, kernel // 2)
    expected = attempt(lambda: F.max_pool1d(ones(size), kernel, stride, padding, dilation, ceil_mode=ceil))
    options = {"stride": stride, "padding": (padding, padding), "dilation": dilation, "ceil": ceil}
    if expected is None:
        with pytest.raises(OptionError, match="use a larger input"):
            conv_size(size, kernel, **options)
    else:
        assert conv_size(size, kernel, **options) == expected
        assert Layer("pooling", kernel, **options).output_size(size) == expected


@given(sizes, kernels, strides, paddings, rates, paddings)
@settings(deadline=None, max_examples=200)
def test_transposed_sizes_equal_torch(size, kernel, stride, padding, dilation, output_padding):
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    expected = attempt(lambda: F.conv_transpose1d(ones(size), ones(kernel), **options))
    if expected is None or expected < 1:
        with pytest.raises(OptionError, match=r"output_padding is|padding cuts"):
            transposed_size(size, kernel, **options)
    else:
        assert transposed_size(size, kernel, **options) == expected


@given(sizes, kernels, strides, paddings, rates)
@settings(deadline=None, max_examples=100)
def test_one_output_padding_brings_the_size_back(size, kernel, stride, padding, dilation):
    reach = effective_kernel(kernel, dilation)
    assume(2 * padding < reach <= size + 2 * padding)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    smaller = conv_size(size, kernel, **options)
    back = [transposed_size(smaller, kernel, output_padding=extra, **options) for extra in range(stride)]
    assert back.count(size) == 1


@given(sizes, kernels, strides, rates)
@settings(deadline=None, max_examples=200)
def test_same_is_the_least_padding_with_ceil_size_over_stride_outputs(size, kernel, stride, dilation):
    outputs = -(-size // stride)
    before, after = padding_for("same", kernel, stride=stride, dilation=dilation, size=size)
    assert before <= after <= before + 1
    assert conv_size(size, kernel, stride=stride, padding="same", dilation=dilation) == outputs
    reach = effective_kernel(kernel, dilation)
    least = next(
        total
        for total in range(100)
        if size + total >= reach and (size + total - reach) // stride + 1 == outputs
    )
    assert before + after == least


def test_same_as_tensorflow_documents_it():
    # "SAME" in the notes on padding of tf.nn: width 13, filter 6, stride 5 is padded by 1 before and 2 after
    assert padding_for("same", 6, stride=5, size=13) == (1, 2)
    assert padding_for("same", 4) == (1, 2)  # torch's padding="same", see test_convolution.py


def test_valid_full_numbers_and_pairs():
    assert padding_for("valid", 5) == (0, 0)
    assert padding_for("full", 3, dilation=2) == (4, 4)
    assert padding_for(2, 3) == (2, 2)
    assert padding_for((0, 3), 3) == (0, 3)
    assert conv_size(7, 3, padding="full") == len(np.convolve(np.ones(7), np.ones(3), "full"))
    assert conv_size(7, 3, padding="valid") == len(np.convolve(np.ones(7), np.ones(3), "valid"))
    assert conv_size(7, 3, padding="same") == len(np.convolve(np.ones(7), np.ones(3), "same"))


def test_sizes_along_a_published_network():
    # LeNet-5, LeCun et al. 1998, section II.B: 32 - 28 - 14 - 10 - 5 - 1
    pool = Layer("pooling", kernel=2, stride=2)
    conv = Layer("convolution", kernel=5)
    assert chain_sizes([conv, pool, conv, pool, conv], 32) == (32, 28, 14, 10, 5, 1)
    # U-Net, Ronneberger et al. 2015, figure 1: 572 at the top, 388 at the end
    double = [Layer("convolution", kernel=3)] * 2
    up = Layer("transposed", kernel=2, stride=2)
    chain = [*double, *[pool, *double] * 4, *[up, *double] * 4]
    assert chain_sizes(chain, 572)[-1] == 388


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("kind", ["upsample_nearest", "upsample_bilinear"])
def test_upsampling_multiplies_the_size(kind, factor):
    assert Layer(kind, factor=factor).output_size(5) == 5 * factor


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_equal_torch(bias):
    conv = nn.Conv3d(4, 6, (3, 1, 5), bias=bias, device="meta")
    assert conv_parameters((3, 1, 5), 4, 6, bias=bias) == sum(p.numel() for p in conv.parameters())
    dense = nn.Linear(28 * 28, 10, bias=bias, device="meta")
    assert dense_parameters(28 * 28, 10, bias=bias) == sum(p.numel() for p in dense.parameters())


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: conv_size(0, 3), "size is 0"),
        (lambda: conv_size(-4, 3), "size is -4"),
        (lambda: conv_size(5, 0), "kernel is 0"),
        (lambda: conv_size(5, 3, stride=0), "stride is 0"),
        (lambda: conv_size(5, 3, dilation=0), "dilation is 0"),
        (lambda: conv_size(5, 3, padding=-1), "padding is -1"),
        (lambda: conv_size(5, 3, padding=(1, 2, 3)), "give one number of pixels or"),
        (lambda: conv_size(5, 3, padding="sane"), "did you mean 'same'"),
        (lambda: conv_size(2.5, 3), "size is 2.5"),
        (lambda: conv_size(5, True), "kernel is True"),
        (lambda: conv_size(4, 3, dilation=2), "kernel of 3 at dilation 2 covers 5 pixels; the input has 4"),
        (lambda: padding_for("same", 3, stride=2), "depends on the size"),
        (lambda: transposed_size(3, 2, output_padding=1), "give a number in 0..0"),
        (lambda: transposed_size(1, 3, padding=2), "cuts 2 \\+ 2 off a transposed convolution of 3 pixels"),
        (lambda: transposed_size(3, 3, padding="same"), "padding is 'same'"),
        (lambda: Layer("convolution", kernel=3, factor=2), "factor is 2 in a layer of kind convolution"),
        (lambda: Layer("upsample_nearest", kernel=3), "kernel is 3 in a layer of kind upsample_nearest"),
        (lambda: Layer("convolution", kernel=3, ceil=True), "ceil is True"),
        (lambda: Layer("pooling", kernel=3, output_padding=1), "output_padding is 1"),
        (lambda: Layer("pooling", kernel=2, padding=(2, 0)), "half the kernel at most, 1"),
        (lambda: Layer("poling", kernel=2), "did you mean 'pooling'"),
        (lambda: Layer("convolution", kernel=0), "kernel is 0"),
        (lambda: Layer("upsample_bilinear", factor=0), "factor is 0"),
        (lambda: Layer("convolution", kernel=3, padding=(-1, 0)), "padding is -1"),
        (lambda: conv_parameters((3, 0), 1, 1), "kernel is 0"),
        (lambda: dense_parameters(0, 1), "inputs is 0"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(call, found):
    with pytest.raises(OptionError, match=found) as caught:
        call()
    assert caught.value.remedy
