"""The worked examples of the course, rows 1 to 14: printed numbers against the package's own operations.

Where a slide's print differs from the arithmetic, both are shown.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pixelwise.models.blocks import Unpool, Upsample
from pixelwise.ops.arithmetic import (
    conv_parameters,
    conv_size,
    effective_kernel,
    padding_for,
    transposed_size,
)
from pixelwise.ops.convolution import (
    convolve,
    convolve_transposed,
    overlap_counts,
    weighted_copies,
    zero_insertion,
)
from pixelwise.ops.fields import receptive_field
from pixelwise.ops.layers import Layer
from pixelwise.ops.pooling import (
    max_pool,
    max_unpool,
    switch_positions,
)
from pixelwise.ops.upsampling import bilinear_kernel, upsample_bilinear, upsample_nearest

IMAGE = [[1, 3, 2], [0, -1, 2], [1, -2, 1]]
KERNEL = np.array([[1, 0, 0], [-1, 0, 1], [0, -1, 1]])
RESULT = [[2, -5], [-2, 1]]


def maps(values):
    """Values [H, W] as what a layer takes, [1, 1, H, W]."""
    return torch.tensor(np.array(values, np.float32))[None, None]


def trained(layer, kernel):
    """A layer of the networks with this kernel for weights."""
    with torch.no_grad():
        layer.weight.copy_(maps(kernel))
    return layer.requires_grad_(False)


def test_row_01_strided_and_padded_convolution():
    assert convolve(IMAGE, KERNEL, stride=2, padding=1).tolist() == RESULT
    assert (
        trained(nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False), KERNEL)(maps(IMAGE))[0, 0].tolist()
        == RESULT
    )
    # a mathematician's convolution turns the kernel first, and gives something else
    assert convolve(IMAGE, KERNEL[::-1, ::-1], stride=2, padding=1).tolist() != RESULT


def test_row_02_zero_insertion():
    holed = zero_insertion(RESULT, 2, padding=1)
    assert holed.shape == (5, 5)
    nonzero = {(int(row), int(column)): int(holed[row, column]) for row, column in np.argwhere(holed)}
    assert nonzero == {(1, 1): 2, (1, 3): -5, (3, 1): -2, (3, 3): 1}
    # the layer that inserts zeros: a transposed convolution whose kernel is a single 1, before its border
    layer = trained(nn.ConvTranspose2d(1, 1, 1, stride=2, bias=False), [[1]])
    assert np.pad(layer(maps(RESULT))[0, 0].numpy(), 1).tolist() == holed.tolist()


def test_row_03_transposed_convolution_and_the_kernel_the_figure_forgets_to_turn():
    expected = [[0, 7, 0], [-2, 3, 5], [0, -3, 0]]
    assert convolve_transposed(RESULT, KERNEL, stride=2, padding=1).tolist() == expected
    holed = zero_insertion(RESULT, 2, padding=1)
    assert convolve(holed, KERNEL[::-1, ::-1]).tolist() == expected
    # known slip: the figure slides the kernel as printed over the zero-inserted map
    assert convolve(holed, KERNEL).tolist() == [[0, -7, 0], [2, 3, -1], [0, 3, 0]]
    # why turned: input pixel i reaches output o through tap o + P - S i, so an output that walks right
    # meets the taps from the last to the first
    layer = trained(nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, bias=False), KERNEL)
    assert layer(maps(RESULT))[0, 0].tolist() == expected


def test_row_04_transposed_convolution_as_a_sum_of_weighted_copies():
    x, kernel = np.array([[0, 1], [2, 3]]), np.array([[1, 2], [3, 4]])
    copies = weighted_copies(x, kernel)
    assert [copy.tolist() for copy in copies] == [
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 1, 2], [0, 3, 4], [0, 0, 0]],
        [[0, 0, 0], [2, 4, 0], [6, 8, 0]],
        [[0, 0, 0], [0, 3, 6], [0, 9, 12]],
    ]
    expected = [[0, 1, 2], [2, 10, 10], [6, 17, 12]]
    assert sum(copies).tolist() == expected
    assert convolve_transposed(x, kernel).tolist() == expected
    assert trained(nn.ConvTranspose2d(1, 1, 2, bias=False), kernel)(maps(x))[0, 0].tolist() == expected
    # the same as a convolution of the input padded by f - 1 = 1, with the kernel turned
    assert convolve(np.pad(x, 1), kernel[::-1, ::-1]).tolist() == expected
    assert convolve(x, kernel[::-1, ::-1], padding="full").tolist() == expected
    # as many kernels on each output pixel
    assert overlap_counts((2, 2), 2).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_row_04_it_brings_the_size_back_and_not_the_values():
    image, kernel = np.arange(9).reshape(3, 3), np.array([[1, 2], [3, 4]])
    back = convolve_transposed(convolve(image, kernel), kernel)
    assert back.shape == image.shape
    assert back.tolist() != image.tolist()
    assert convolve(image, kernel).tolist() == [[27, 37], [57, 67]]
    assert back.tolist() == [[27, 91, 74], [138, 400, 282], [171, 429, 268]]


def test_row_04_it_is_the_backward_pass_of_the_convolution():
    kernel = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    image = torch.zeros(1, 1, 3, 3, requires_grad=True)
    upstream = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    F.conv2d(image, kernel[None, None]).backward(upstream[None, None])
    assert image.grad[0, 0].tolist() == convolve_transposed(upstream.numpy(), kernel.numpy()).tolist()
    assert image.grad[0, 0].tolist() == [[0, 1, 2], [2, 10, 10], [6, 17, 12]]


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_row_05_size_of_a_transposed_convolution(size, kernel, stride):
    ones, weight = torch.ones(1, 1, size), torch.ones(1, 1, kernel)
    without = transposed_size(size, kernel, stride=stride)
    assert without == F.conv_transpose1d(ones, weight, stride=stride).shape[-1]
    if kernel >= stride:
        assert without == (size - 1) * stride + kernel
    options = {"stride": stride, "padding": 1, "output_padding": stride - 1, "dilation": 2}
    general = (size - 1) * stride - 2 + 2 * (kernel - 1) + stride - 1 + 1
    if general >= 1:
        assert transposed_size(size, kernel, **options) == general
        assert general == F.conv_transpose1d(ones, weight, **options).shape[-1]
        layer = nn.ConvTranspose2d(1, 1, kernel, **options)
        assert layer(torch.ones(1, 1, size, size)).shape[-2:] == (general, general)
    if kernel == stride:  # the layer that enlarges maps in a decoder
        enlarge = Upsample("transposed", 1, factor=stride)
        assert enlarge(torch.ones(1, 1, size, size)).shape[-1] == transposed_size(size, kernel, stride=stride)


def test_row_06_size_of_a_convolution_and_its_paddings():
    for kernel in (1, 3, 5):
        for stride in (1, 2, 3):
            for dilation in (1, 2):
                expected = (28 + 2 * 2 - dilation * (kernel - 1) - 1) // stride + 1
                assert conv_size(28, kernel, stride=stride, padding=2, dilation=dilation) == expected
                layer = nn.Conv2d(1, 1, kernel, stride=stride, padding=2, dilation=dilation)
                assert layer(torch.ones(1, 1, 28, 28)).shape[-2:] == (expected, expected)
    assert [conv_size(28, 5, padding=mode) for mode in ("valid", "same", "full")] == [24, 28, 32]
    assert [padding_for(mode, 5) for mode in ("valid", "same", "full")] == [(0, 0), (2, 2), (4, 4)]
    sizes = [nn.Conv2d(1, 1, 5, padding=p)(torch.ones(1, 1, 28, 28)).shape[-1] for p in (0, "same", 4)]
    assert sizes == [24, 28, 32]
    # zero padding: the border is read as zeros
    x = np.arange(1, 5)
    assert convolve(x, [1, 1, 1], padding=1).tolist() == convolve([0, 1, 2, 3, 4, 0], [1, 1, 1]).tolist()


def test_row_07_dilated_convolution_has_holes_in_the_kernel():
    assert [effective_kernel(3, rate) for rate in (1, 2, 3)] == [3, 5, 7]
    layers = [Layer("convolution", kernel=3, dilation=rate) for rate in (1, 2, 4)]
    plain = [Layer("convolution", kernel=3)] * 3
    assert (receptive_field(layers).size, receptive_field(plain).size) == (15, 7)
    parameters = [
        sum(p.numel() for p in nn.Conv1d(1, 1, 3, dilation=rate).parameters()) for rate in (1, 2, 4)
    ]
    assert parameters == [conv_parameters((3,), 1, 1)] * 3 == [4, 4, 4]
    # known slip: a slide calls the zero-inserted input of a transposed convolution "atrous"
    x, kernel = np.arange(1, 8), np.array([1, 10, 100])
    holes_in_the_kernel = convolve(x, kernel, dilation=2)
    assert holes_in_the_kernel.tolist() == convolve(x, [1, 0, 10, 0, 100]).tolist() == [531, 642, 753]
    layer = trained(nn.Conv2d(1, 1, (1, 3), dilation=(1, 2), bias=False), [kernel])
    assert layer(maps([x]))[0, 0, 0].tolist() == [531, 642, 753]
    holes_in_the_input = convolve(zero_insertion(x, 2), kernel)
    assert len(holes_in_the_kernel) < len(x) < len(holes_in_the_input)
    assert holes_in_the_input.tolist() == [201, 20, 302, 30, 403, 40, 504, 50, 605, 60, 706]


EIGHT = [[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]


def test_row_08_max_pooling_with_switches():
    values, switches = max_pool(EIGHT, 2)
    assert values.tolist() == [[5, 6], [7, 8]]
    assert nn.MaxPool2d(2)(maps(EIGHT))[0, 0].tolist() == [[5, 6], [7, 8]]
    assert switch_positions(switches, (4, 4)).reshape(4, 2).tolist() == [[1, 1], [0, 2], [3, 0], [3, 3]]


def test_row_09_max_unpooling():
    _, switches = max_pool(EIGHT, 2)
    expected = [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    assert max_unpool([[1, 2], [3, 4]], switches, (4, 4)).tolist() == expected
    assert Unpool()(maps([[1, 2], [3, 4]]), maps(EIGHT))[0, 0].tolist() == expected


TEN = [[0, 2, 3, 0], [0, 0, 0, 5], [6, 0, 3, 0], [0, -2, 2, 1]]


def test_row_10_max_pooling_and_a_sign_that_slipped():
    values, _ = max_pool(TEN, 2)
    assert values.tolist() == [[2, 5], [6, 3]]
    # known slip: a slide prints -5; the window holds 3, 0, 0 and 5
    assert values.tolist() != [[2, -5], [6, 3]]
    # -5 is right where the input has it and nothing else is larger
    assert max_pool([[-7, -6], [-9, -5]], 2)[0].tolist() == [[-5]]


def test_row_11_max_unpooling_of_other_values():
    _, switches = max_pool(TEN, 2)
    expected = [[0, 2, 0, 0], [0, 0, 0, -5], [6, 0, 3, 0], [0, 0, 0, 0]]
    assert max_unpool([[2, -5], [6, 3]], switches, (4, 4)).tolist() == expected
    assert Unpool()(maps([[2, -5], [6, 3]]), maps(TEN))[0, 0].tolist() == expected


def test_row_11_the_layer_of_networks_unpools_as_the_plain_function_and_gradients_come_back_from_the_switches():
    guide = torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    values = torch.randn(2, 3, 4, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    _, switches = max_pool(guide.numpy(), 2)
    for dtype in (torch.float32, torch.bfloat16):
        sharp, given = (x.to(dtype, memory_format=torch.channels_last) for x in (guide, values))
        _, found = max_pool(sharp.float().numpy(), 2)  # bfloat16 has ties
        back = Unpool()(given, sharp)
        assert back.dtype == dtype
        plain = max_unpool(given.detach().float().numpy(), found, (8, 6))
        np.testing.assert_array_equal(back.detach().float(), plain)
    weights = torch.arange(2 * 3 * 8 * 6.0).reshape(2, 3, 8, 6)
    (Unpool()(values, guide) * weights).sum().backward()
    picked = np.take_along_axis(weights.numpy().reshape(2, 3, -1), switches.reshape(2, 3, -1), axis=2)
    np.testing.assert_array_equal(values.grad.flatten(2), picked)


def test_row_12_nearest_neighbour_upsampling():
    expected = [
        [1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4],
    ]  # fmt: skip
    assert upsample_nearest([[1, 2], [3, 4]], 2).tolist() == expected
    layer = Upsample("nearest", 1)
    for training in (True, False):  # two implementations
        assert layer.train(training)(maps([[1, 2], [3, 4]]))[0, 0].tolist() == expected


def test_row_13_bilinear_upsampling_and_the_fixed_transposed_convolution():
    x = [[1, 2], [3, 4]]
    upsampled = upsample_bilinear(x, 2)
    assert upsampled.tolist() == [
        [1, 1.25, 1.75, 2], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3, 3.25, 3.75, 4],
    ]  # fmt: skip
    assert Upsample("bilinear", 1)(maps(x))[0, 0].tolist() == upsampled.tolist()
    transposed = convolve_transposed(x, bilinear_kernel(2), stride=2, padding=1)
    layer = trained(nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False), bilinear_kernel(2))
    assert layer(maps(x))[0, 0].tolist() == transposed.tolist()
    assert transposed[1:3, 1:3].tolist() == upsampled[1:3, 1:3].tolist() == [[1.75, 2.25], [2.75, 3.25]]
    # along the border the transposed convolution finds zeros: a corner keeps 3/4 x 3/4 of its pixel
    assert transposed[0, 0] == 1 * 0.75 * 0.75
    wider = np.pad(np.array(x), 1, mode="edge")
    assert convolve_transposed(wider, bilinear_kernel(2), stride=2, padding=1)[2:-2, 2:-2].tolist() == (
        upsampled.tolist()
    )


def test_row_14_a_transposed_convolution_layer():
    layer = nn.ConvTranspose2d(3, 20, kernel_size=2, stride=2)
    images = torch.randn(64, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = layer(images)
        assert maps.shape == (64, 20, 40, 40)
        assert transposed_size(20, 2, stride=2) == 40
        assert sum(p.numel() for p in layer.parameters()) == conv_parameters((2, 2), 3, 20)
        small = layer(images[:1, :, :4, :4])[0] - layer.bias[:, None, None]
    found = convolve_transposed(images[0, :, :4, :4].numpy(), layer.weight.detach().numpy(), stride=2)
    np.testing.assert_allclose(found, small, atol=1e-5)


def test_row_14_what_stands_for_the_options_that_torch_lacks():
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1, dilation=1, bias=False)
    nn.init.xavier_uniform_(plain.weight)  # initialiser: a call on the weight
    assert plain(images).shape == (2, 4, 16, 16)
    assert plain(images.to(memory_format=torch.channels_last)).shape == (2, 4, 16, 16)  # data format
    activated = nn.Sequential(plain, nn.ReLU())  # activation: the next module
    assert activated(images).min() == 0
    # regulariser: weight decay is the gradient of half the squared weights
    optimizer = torch.optim.SGD(plain.parameters(), lr=1.0, weight_decay=0.1)
    before = plain.weight.detach().clone()
    plain.weight.grad = torch.zeros_like(before)
    optimizer.step()
    torch.testing.assert_close(plain.weight.detach(), 0.9 * before)
    # activity regulariser: a term of the loss; constraint: a clamp after the step
    activity = 0.01 * activated(images).abs().mean()
    activity.backward()
    assert plain.weight.grad.abs().max() > 0
    with torch.no_grad():
        plain.weight.clamp_(min=0)
    assert plain.weight.min() == 0
