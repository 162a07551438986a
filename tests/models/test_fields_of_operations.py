"""Receptive fields of single operations, on layers and functions as anybody may write them, in both axes."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pixelwise.models.blocks import Unpool
from pixelwise.models.fields import fields
from pixelwise.models.graph import TraceError, record
from pixelwise.ops.fields import receptive_field
from pixelwise.ops.layers import Layer


class Run(nn.Module):
    """A function as a network."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        self.layers = nn.ModuleDict(layers)

    def forward(self, x):
        return self.function(x, **self.layers)


def joined(x, left, right):
    return torch.cat([left(x), right(x)[..., :-2, 1:-1]], dim=1)


def gated(x):
    a, b = F.pad(x, (3, 0, 1, 2), mode="reflect").chunk(2, dim=1)
    return a[..., 3:, 3:] * b[..., :-3, 2:-1]


OPERATIONS = {
    "asymmetric": nn.Conv2d(2, 2, (1, 7), padding=(0, 3)),
    "strided, dilated": nn.Conv2d(2, 4, (5, 3), stride=(2, 3), dilation=(2, 3), padding=(4, 1), groups=2),
    "same": nn.Conv2d(2, 2, (5, 3), padding="same", dilation=(1, 2)),
    "reflected": nn.Conv2d(2, 2, 5, padding=2, padding_mode="reflect"),
    "transposed": nn.ConvTranspose2d(2, 3, (4, 3), stride=2, padding=1, output_padding=(0, 1)),
    "transposed, overlapping": nn.ConvTranspose2d(2, 2, (7, 5), stride=(3, 2), padding=(2, 0)),
    "ceiling": nn.AvgPool2d(3, stride=2, ceil_mode=True),
    "average": nn.AvgPool2d((2, 3), padding=(1, 1)),
    "nearest": nn.Upsample(scale_factor=3, mode="nearest"),
    "bilinear, even": nn.Upsample(scale_factor=4, mode="bilinear"),
    "bilinear, odd": nn.Upsample(scale_factor=(3, 5), mode="bilinear"),
    "to a size": Run(lambda x: F.interpolate(x, size=(48, 96), mode="bilinear")),
    "to a smaller size": Run(lambda x: F.interpolate(x, size=(8, 16), mode="bilinear")),
    "to three quarters": Run(lambda x: F.interpolate(x, scale_factor=0.75, mode="bilinear")),
    "to two thirds, nearest": Run(lambda x: F.interpolate(x, size=(16, 16))),
    "every third": Run(lambda x: x[..., 1::3, -20:]),
    "shuffled": Run(lambda x: F.pixel_shuffle(torch.cat([x, x], dim=1), 2)),
    "joined": Run(joined, left=nn.Conv2d(2, 2, 3), right=nn.Conv2d(2, 1, (1, 3), padding=(0, 1))),
    "gated": Run(gated),
    "residual": Run(lambda x, c: x + c(x).relu_(), c=nn.Conv2d(2, 2, (3, 9), padding=(1, 4))),
    "down and up": nn.Sequential(
        nn.Conv2d(2, 2, 3, stride=2, padding=1),
        nn.AvgPool2d(3, stride=3),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ConvTranspose2d(2, 2, 3, stride=3),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_see_what_gradients_reach(name):
    network = copy.deepcopy(OPERATIONS[name]).double()
    size = 36 if name == "to three quarters" else 48 if name == "down and up" else 24
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.1)
    image = torch.ones(1, 2, size, size, dtype=torch.double, requires_grad=True)
    values = network(image)
    traced = record(network, lambda net, x: net(x), torch.empty(1, 2, size, size, device="meta"))
    rows, columns = fields(traced)[traced.results[-1]]
    for axis, reach in ((2, rows), (3, columns)):
        compared = 0
        for output in range(values.shape[axis]):
            first, last = reach.span(output)
            if 4 <= first <= last < size - 4:  # away from the borders, which are left out
                chosen = values.select(axis, output).sum()
                (gradient,) = torch.autograd.grad(chosen, image, retain_graph=True)
                places = gradient.sum((0, 1, 5 - axis)).nonzero()[:, 0]
                assert (int(places[0]), int(places[-1])) == (first, last)
                compared += 1
        assert compared > 2


LAYERS = st.one_of(
    st.builds(
        lambda kernel, stride, padding, dilation: Layer(
            "convolution", kernel, stride, (padding, padding), dilation
        ),
        st.integers(1, 5),
        st.integers(1, 3),
        st.integers(0, 2),
        st.integers(1, 3),
    ),
    st.builds(lambda kernel: Layer("pooling", kernel, kernel), st.integers(2, 3)),
    st.builds(
        lambda stride, more: Layer("transposed", stride + more, stride), st.integers(1, 3), st.integers(0, 3)
    ),
    st.builds(
        Layer,
        st.sampled_from(["upsample_nearest", "upsample_bilinear"]),
        factor=st.integers(2, 4),
    ),
)


def as_module(layer):
    if layer.kind == "convolution":
        return nn.Conv2d(1, 1, layer.kernel, layer.stride, layer.padding[0], layer.dilation)
    if layer.kind == "pooling":
        return nn.MaxPool2d(layer.kernel, layer.stride)
    if layer.kind == "transposed":
        return nn.ConvTranspose2d(1, 1, layer.kernel, layer.stride)
    return nn.Upsample(scale_factor=layer.factor, mode=layer.kind.removeprefix("upsample_"))


@settings(max_examples=40, deadline=None)
@given(st.lists(LAYERS, min_size=1, max_size=5))
def test_plain_chains_equal_the_formula(layers):
    """Against `ops.fields`, which asks each layer for its taps, one after the other."""
    expected = receptive_field(layers)
    network = nn.Sequential(*map(as_module, layers))
    image = torch.empty(1, 1, 600, 600, device="meta")
    traced = record(network, lambda net, x: net(x), image)
    rows, columns = fields(traced)[traced.results[-1]]
    assert rows == columns
    assert (rows.size, rows.stride) == (expected.size, expected.stride)
    assert min(first for first, _ in rows.spans) == expected.start


def test_an_unpooled_value_depends_on_the_window_it_was_looked_for_in():
    """Every pixel of the guide is changed in turn, and everything that ever changes is in the traced window."""
    torch.manual_seed(0)
    network = Run(
        lambda guide, pool, unpool: unpool(pool(guide), guide), pool=nn.AvgPool2d(2), unpool=Unpool()
    )
    traced = record(network, lambda net, x: net(x), torch.empty(1, 1, 8, 8, device="meta"))
    rows, _ = fields(traced)[traced.results[-1]]
    seen = {output: set() for output in range(8)}
    for _ in range(20):
        guide = torch.rand(1, 1, 8, 8)
        before = network(guide)
        for place in range(8):
            changed = guide.clone()
            changed[..., place, :] += 2
            for output in (network(changed) != before).any((0, 1, 3)).nonzero()[:, 0].tolist():
                seen[output].add(place)
    assert seen == {output: set(range(rows.span(output)[0], rows.span(output)[1] + 1)) for output in seen}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.fft.rfft2(x).abs(), "_fft_r2c in the network itself"),
        (lambda x: x.flip(2), "flip"),
        (lambda x: x.roll(1, 3), "roll"),
        (lambda x: x.transpose(2, 3), "transpose"),
        (lambda x: torch.cat([x, x], dim=2), "side by side"),
        (lambda x: x[:, :, torch.arange(4, device=x.device)], "index"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), "upsample_bicubic2d"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True), "aligns corners"),
        (lambda x: F.conv_transpose2d(x, torch.ones(1, 1, 2, 2, device=x.device), stride=3), "leaves gaps"),
        (lambda x: x[..., ::2, ::2] + x[..., :4, :4], "joins maps of strides 1, 2"),
    ],
)
def test_what_nobody_knows_is_named(function, message):
    network = Run(function)
    traced = record(network, lambda net, x: net(x), torch.empty(1, 1, 8, 8, device="meta"))
    with pytest.raises(TraceError, match=message) as caught:
        fields(traced)
    assert caught.value.remedy


def test_writing_into_a_viewed_tensor_is_refused():
    def run(x, a, b):
        y = a(x)
        half = y[:, :1]
        y += b(x)
        return half

    network = Run(run, a=nn.Conv2d(1, 2, 1), b=nn.Conv2d(1, 2, 3, padding=1))
    with pytest.raises(TraceError, match="views"):
        record(network, lambda net, x: net(x), torch.empty(1, 1, 8, 8, device="meta"))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean((2, 3), keepdim=True),
        lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
        lambda x: F.adaptive_avg_pool2d(x, 4),
        lambda x: F.adaptive_max_pool2d(x, 1),
        lambda x: F.group_norm(x, 1),
        lambda x: F.instance_norm(x),
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: x.flatten(1) @ torch.ones(128, 3, device=x.device),
        lambda x: x.softmax(3),
    ],
)
def test_what_sees_the_whole_image_is_global(function):
    network = Run(function)
    traced = record(network, lambda net, x: net(x), torch.empty(1, 2, 8, 8, device="meta"))
    assert fields(traced)[-1] is None


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean(1, keepdim=True),
        lambda x: x.softmax(1),
        lambda x: F.batch_norm(x, torch.zeros(2, device=x.device), torch.ones(2, device=x.device)),
        lambda x: x.view(1, 2, 1, 8, 8).permute(0, 2, 1, 3, 4).reshape(1, 2, 8, 8),
    ],
)
def test_what_only_mixes_channels_stays_at_its_place(function):
    network = Run(function)
    traced = record(network, lambda net, x: net(x), torch.empty(1, 2, 8, 8, device="meta"))
    rows, columns = fields(traced)[-1]
    assert rows.spans == columns.spans == ((0, 0),)
