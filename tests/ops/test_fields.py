"""Receptive fields, judged by the support of torch's gradient through a chain with positive weights."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.ops.fields import halo, receptive_field, receptive_fields, seen
from pixelwise.ops.layers import Layer, chain_sizes

small = st.integers(1, 3)


@st.composite
def windows(draw, kind):
    kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    most = kernel // 2 if kind == "pooling" else kernel
    padding = draw(st.tuples(st.integers(0, most), st.integers(0, most)))
    stride = draw(small)
    extra = draw(st.integers(0, max(stride, dilation) - 1)) if kind == "transposed" else 0
    return Layer(kind, kernel, stride, padding, dilation, extra)


upsampling = st.builds(
    lambda kind, factor: Layer(kind, factor=factor),
    st.sampled_from(["upsample_nearest", "upsample_bilinear"]), small,
)  # fmt: skip
downward = windows("convolution") | windows("pooling")
chains = st.lists(downward | windows("transposed") | upsampling, min_size=1, max_size=4)


def through(layers, x):
    """The chain in torch with every weight 1; pooling as a sum, so that each pixel of a window has a gradient."""
    for layer in layers:
        weight = torch.ones(1, 1, layer.kernel, dtype=x.dtype)
        if layer.kind == "upsample_nearest":
            x = F.interpolate(x, scale_factor=layer.factor, mode="nearest")
        elif layer.kind == "upsample_bilinear":
            x = F.interpolate(x, scale_factor=layer.factor, mode="linear", align_corners=False)
        elif layer.kind == "transposed":
            full = F.conv_transpose1d(
                x, weight, stride=layer.stride, dilation=layer.dilation, output_padding=layer.output_padding
            )
            x = full[..., layer.padding[0] : full.shape[-1] - layer.padding[1]]
        else:
            x = F.conv1d(F.pad(x, layer.padding), weight, stride=layer.stride, dilation=layer.dilation)
    return x[0, 0]


def judged(layers, size, outputs):
    """For each of `outputs` the input pixels with a gradient."""
    x = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
    result = through(layers, x)
    views = []
    for output in outputs:
        (gradient,) = torch.autograd.grad(result[output], x, retain_graph=True)
        views.append(tuple(torch.nonzero(gradient[0, 0] > 1e-9).flatten().tolist()))
    return views


def fitting(layers, size):
    try:
        return chain_sizes(layers, size)[-1]
    except OptionError:
        return 0


@given(chains, st.integers(1, 14))
@settings(deadline=None, max_examples=150)
def test_every_output_sees_what_has_a_gradient_borders_and_holes_included(layers, size):
    outputs = fitting(layers, size)
    assume(outputs)
    places = range(0, outputs, max(1, outputs // 12))
    assert [seen(layers, output, size=size) for output in places] == judged(layers, size, places)


@given(chains)
@settings(deadline=None, max_examples=100)
def test_size_stride_start_and_halo_in_the_middle_of_a_long_input(layers):
    field = receptive_field(layers)
    block = field.stride * field.period  # input pixels after which the pattern repeats
    assert block.denominator == 1
    size = int(block) * 6 + 2 * field.size + 200
    assume(fitting(layers, size))
    tile = int((size // 2) // block * block)
    first = int(tile / field.stride)
    views = [view for view in judged(layers, size, range(first, first + field.period)) if view]
    if not views:
        assert field.size == 0
        return
    assert max(view[-1] - view[0] + 1 for view in views) == field.size
    low, high = min(view[0] for view in views), max(view[-1] for view in views)
    assert low == tile + field.start
    before, after = halo(layers)
    assert before == max(0, tile - low)
    assert after == max(0, high + 1 - (tile + int(block)))


@given(st.lists(downward, min_size=1, max_size=5))
@settings(deadline=None, max_examples=100)
def test_closed_form_without_upsampling(layers):
    size, jump, start = 1, 1, 0
    for layer, field in zip(layers, receptive_fields(layers), strict=True):
        size += layer.dilation * (layer.kernel - 1) * jump
        start -= layer.padding[0] * jump
        jump *= layer.stride
        assert (field.size, field.stride, field.start, field.period) == (size, jump, start, 1)


def test_published_networks():
    # Araujo, Norris and Sim 2019, table of receptive fields: AlexNet (v2) 195, VGG-16 212
    conv, pool = Layer("convolution", kernel=3, padding=(1, 1)), Layer("pooling", kernel=2, stride=2)
    vgg = [conv, conv, pool, conv, conv, pool, *[conv, conv, conv, pool] * 3]
    assert (receptive_field(vgg).size, receptive_field(vgg).stride) == (212, 32)
    pool = Layer("pooling", kernel=3, stride=2)
    alexnet = [
        Layer("convolution", kernel=11, stride=4), pool, Layer("convolution", kernel=5, padding=(2, 2)), pool,
        conv, conv, conv, pool,
    ]  # fmt: skip
    assert receptive_field(alexnet).size == 195


def test_the_network_that_does_nothing():
    assert receptive_field([]).size == 1
    assert receptive_field([]).stride == Fraction(1)
    assert halo([]) == (0, 0)
    assert seen([], 3, size=5) == (3,)


def test_a_chain_that_reads_only_inserted_zeros_sees_nothing():
    blind = [
        Layer("transposed", kernel=1, stride=2),
        Layer("convolution", kernel=1, stride=2, padding=(1, 1)),
    ]
    assert seen(blind, 1, size=4) == ()
    assert receptive_field(blind).size == 0
    assert halo(blind) == (0, 0)


def test_an_output_that_does_not_exist():
    with pytest.raises(OptionError, match=r"give an index in 0\.\.2"):
        seen([Layer("convolution", kernel=3)], 3, size=5)
    with pytest.raises(OptionError, match="covers 3 pixels"):
        seen([Layer("convolution", kernel=3)], 0, size=2)
