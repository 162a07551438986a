"""Index maps, judged by torch's unfold and by the law that turns a convolution round."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.ops.arithmetic import effective_kernel
from pixelwise.ops.indexmap import index_map, index_map_2d
from pixelwise.ops.layers import Layer

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(st.tuples(st.integers(1, 7), st.integers(1, 7)), pairs, pairs, pairs, pairs)
@settings(deadline=None, max_examples=80)
def test_the_plane_is_what_unfold_collects(size, kernel, stride, padding, dilation):
    fits = [
        effective_kernel(k, d) <= s + 2 * p
        for s, k, p, d in zip(size, kernel, padding, dilation, strict=True)
    ]
    assume(all(fits))
    numbered = torch.arange(1.0, size[0] * size[1] + 1).reshape(1, 1, *size)  # 0 is then the padding
    columns = F.unfold(numbered, kernel, dilation, padding, stride)[0].T.long().tolist()
    rows, across = (
        Layer("convolution", kernel[i], stride[i], (padding[i], padding[i]), dilation[i]) for i in (0, 1)
    )
    found = []
    for taps in chain.from_iterable(index_map_2d(rows, across, size)):
        column = [0] * (kernel[0] * kernel[1])
        for tap in taps:
            column[tap.kernel[0] * kernel[1] + tap.kernel[1]] = tap.input[0] * size[1] + tap.input[1] + 1
        found.append(column)
    assert found == columns


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=100)
def test_transposed_is_the_convolution_with_input_and_output_exchanged(
    size, kernel, stride, padding, dilation
):
    assume(effective_kernel(kernel, dilation) <= size + 2 * padding)
    forward = Layer("convolution", kernel, stride, (padding, padding), dilation)
    smaller = forward.output_size(size)
    links = {(tap.input, o, tap.kernel) for o, taps in enumerate(index_map(forward, size)) for tap in taps}
    missing = size - ((smaller - 1) * stride - 2 * padding + effective_kernel(kernel, dilation))
    assume(0 <= missing < max(stride, dilation))
    back = Layer("transposed", kernel, stride, (padding, padding), dilation, missing)
    assert {
        (o, tap.input, tap.kernel) for o, taps in enumerate(index_map(back, smaller)) for tap in taps
    } == links


def test_taps_can_be_read():
    first, second = index_map(Layer("convolution", kernel=3, stride=2, padding=(1, 1)), 3)
    assert [(tap.input, tap.kernel) for tap in first] == [(0, 1), (1, 2)]
    assert [(tap.input, tap.kernel) for tap in second] == [(1, 0), (2, 1)]
    nearest = index_map(Layer("upsample_nearest", factor=3), 2)
    assert [tap for taps in nearest for tap in taps] == [(i, k, 1.0) for i in (0, 1) for k in (0, 1, 2)]


def test_inputs_come_in_ascending_order():
    for kind in ("convolution", "transposed"):
        for taps in index_map(Layer(kind, kernel=4, stride=2, dilation=2), 9):
            assert [tap.input for tap in taps] == sorted(tap.input for tap in taps)


@pytest.mark.parametrize("factor", [2, 3])
def test_the_plane_of_bilinear_upsampling_equals_torch(factor):
    image = torch.rand(1, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)[0, 0]
    layer = Layer("upsample_bilinear", factor=factor)
    found = [
        [sum(tap.weight * image[0, 0][tap.input] for tap in taps) for taps in row]
        for row in index_map_2d(layer, layer, (3, 4))
    ]
    torch.testing.assert_close(torch.tensor(found), expected, rtol=0, atol=1e-12)


@given(st.integers(1, 6), st.integers(1, 6))
def test_bilinear_weights_sum_to_one_at_the_border_too(size, factor):
    for taps in index_map(Layer("upsample_bilinear", factor=factor), size):
        assert sum(tap.weight for tap in taps) == pytest.approx(1, abs=1e-12)
        assert all(0 <= tap.input < size and tap.weight > 0 for tap in taps)


def test_bad_sizes():
    layer = Layer("convolution", kernel=3)
    with pytest.raises(OptionError, match="covers 3 pixels; the input has 2"):
        index_map(layer, 2)
    with pytest.raises(OptionError, match=r"give \(rows, columns\)"):
        index_map_2d(layer, layer, (4, 4, 4))
    with pytest.raises(OptionError, match="columns is 0"):
        index_map_2d(layer, layer, (4, 0))
