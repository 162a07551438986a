"""What decoders are made of, judged by plain formulas and loops."""

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.models.blocks import ASPP, SqueezeExcitation, Unpool
from pixelwise.models.framing import mirrored, windows


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 1), (3, 5), (9, 4)])
def test_mirroring_is_numpys(height, width):
    images = torch.randn(2, 1, height, width)
    expected = np.pad(images.numpy(), ((0, 0), (0, 0), (11, 3), (0, 17)), mode="reflect")
    assert np.array_equal(mirrored(images, (11, 3), (0, 17)).numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpooling_is_a_plain_loop(dtype, layout):
    guide = torch.randn(2, 3, 6, 8).to(dtype).to(memory_format=layout)
    values = torch.randn(2, 3, 3, 4).to(dtype).requires_grad_()
    expected = torch.zeros(2, 3, 6, 8, dtype=dtype)
    for n, c, row, column in np.ndindex(2, 3, 3, 4):
        window = guide[n, c, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        place = int(window.float().argmax())
        expected[n, c, 2 * row + place // 2, 2 * column + place % 2] = values[n, c, row, column]
    got = Unpool()(values, guide)
    assert torch.equal(got, expected)
    weights = torch.randn(2, 3, 6, 8).to(dtype)
    (gradient,) = torch.autograd.grad((got * weights).sum(), values)
    (plain,) = torch.autograd.grad((expected * weights).sum(), values)
    assert torch.equal(gradient, plain)


@pytest.mark.parametrize(
    ("guide", "values", "expected"),
    [  # the worked examples of the course, rows 8 to 11
        (
            [[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]],
            [[1, 2], [3, 4]],
            [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]],
        ),
        (
            [[0, 2, 3, 0], [0, 0, 0, 5], [6, 0, 3, 0], [0, -2, 2, 1]],
            [[2, -5], [6, 3]],
            [[0, 2, 0, 0], [0, 0, 0, -5], [6, 0, 3, 0], [0, 0, 0, 0]],
        ),
    ],
)
def test_unpooling_gives_the_worked_examples(guide, values, expected):
    guide, values = (torch.tensor([[rows]], dtype=torch.float32) for rows in (guide, values))
    assert Unpool()(values, guide)[0, 0].tolist() == expected


def test_squeeze_and_excitation_is_its_formula():
    layer = SqueezeExcitation(32, reduction=2).double()
    x = torch.randn(2, 32, 5, 7, dtype=torch.double)
    first, second = (w.detach()[:, :, 0, 0].numpy() for w in (layer.reduce.weight, layer.expand.weight))
    hidden = np.maximum(x.numpy().mean((2, 3)) @ first.T + layer.reduce.bias.detach().numpy(), 0)
    gate = 1 / (1 + np.exp(-(hidden @ second.T + layer.expand.bias.detach().numpy())))
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy() * gate[:, :, None, None], rtol=1e-12)


def test_squeeze_and_excitation_is_narrow_between_as_in_the_paper():
    assert SqueezeExcitation(256).reduce.out_channels == 16
    assert SqueezeExcitation(16).reduce.out_channels == 8


def _taps(x, kernels, rate):
    """A dilated 3 x 3 convolution, zeros around, as a sum over its nine taps; kernels [out, in, 3, 3]."""
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (rate, rate), (rate, rate)))
    total = np.zeros((x.shape[0], kernels.shape[0], height, width))
    for row, column in np.ndindex(3, 3):
        seen = padded[:, :, row * rate : row * rate + height, column * rate : column * rate + width]
        total += np.einsum("nchw,oc->nohw", seen, kernels[:, :, row, column])
    return total


@pytest.mark.parametrize("separable", [False, True])
def test_the_pyramid_is_its_formula(separable):
    pyramid = ASPP(4, 3, (1, 2, 5), separable=separable, norm="none").double().eval()
    x = torch.randn(2, 4, 9, 8, dtype=torch.double)
    found = [m for m in pyramid.modules() if isinstance(m, nn.Conv2d)]
    kernels = [m.weight.detach().numpy() for m in found]
    biases = [None if m.bias is None else m.bias.detach().numpy()[:, None, None] for m in found]

    def point(values, index):
        mixed = np.einsum("nchw,oc->nohw", values, kernels[index][:, :, 0, 0])
        return np.maximum(mixed + biases[index], 0)

    parts, index = [point(x.numpy(), 0)], 1
    for rate in (1, 2, 5):
        if separable:  # one kernel per channel, then 1 x 1
            alone = np.zeros((4, 4, 3, 3))
            alone[range(4), range(4)] = kernels[index][:, 0]
            parts.append(point(_taps(x.numpy(), alone, rate), index + 1))
            index += 2
        else:
            parts.append(np.maximum(_taps(x.numpy(), kernels[index], rate) + biases[index], 0))
            index += 1
    mean = point(x.numpy().mean((2, 3), keepdims=True), index)
    parts.append(np.broadcast_to(mean, parts[0].shape))
    expected = point(np.concatenate(parts, axis=1), index + 1)
    np.testing.assert_allclose(pyramid(x).detach().numpy(), expected, rtol=1e-10)


def test_the_pyramid_trains_on_a_single_image():
    for norm in ("batch", "group", "instance", "none"):
        pyramid = ASPP(4, 8, (1,), norm=norm).train()
        pyramid(torch.randn(1, 4, 5, 5)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in pyramid.parameters())


def test_windows_are_a_view():
    images = torch.randn(1, 3, 64, 64)
    view = windows(images, 32, 8)
    assert view.shape == (1, 8, 8, 3, 32, 32)
    assert view.untyped_storage().nbytes() < 2.5 * images.untyped_storage().nbytes()
