"""Receptive fields, judged by what gradients reach and, where values are put somewhere, by changing pixels."""

import copy
from functools import cache
from math import log2

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.models.blocks import Crop, Unpool, Upsample, WindowPool
from pixelwise.models.fields import fields, halo
from pixelwise.models.graph import IMAGE, TraceError, record
from pixelwise.models.interfaces import EncoderOptions, NetworkOptions
from pixelwise.models.trace import describe
from pixelwise.models.zoo import DECODERS, ENCODERS, build, make_encoder
from pixelwise.ops.fields import receptive_field
from pixelwise.ops.layers import Layer

SMALL = 1 / 8
GLOBAL = {"deeplabv3", "deeplabv3plus", "asymmetric_unet"}


# A network along one axis: kernels, steps and padding of one row, so that an image of one row goes through it. All
# weights are positive and nothing is clipped, so that no influence cancels or is cut off; a maximum passes gradient
# to one pixel only and becomes a sum over its window. An unpooled value depends on the pooled one, and on all the
# pixels among which its place is looked for.


class Windows(nn.MaxPool2d):  # VGG and AlexNet look for their pools by type
    def forward(self, x):
        beyond = self.stride - 1 if self.ceil_mode else 0
        x = F.pad(x, (self.padding, self.padding + beyond))
        ones = x.new_ones(x.shape[1], 1, 1, self.kernel_size) / self.kernel_size
        return F.conv2d(x, ones, stride=(1, self.stride), dilation=(1, self.dilation), groups=len(ones))


class Searched(nn.Module):
    def forward(self, x, guide):
        return F.interpolate(x + F.avg_pool2d(guide, (1, 2)), scale_factor=(1, 2))


class Wider(nn.Module):
    def __init__(self, mode, factor):
        super().__init__()
        self.mode, self.factor = mode, factor

    def forward(self, x, guide=None):
        return F.interpolate(x, scale_factor=(1, self.factor), mode=self.mode)


class CropColumns(nn.Module):
    def __init__(self, pixels):
        super().__init__()
        self.pixels = pixels

    def forward(self, x):
        return x[..., self.pixels : x.shape[-1] - self.pixels]


def one_row(module):
    """What stands for a module along one axis; None if it can stay."""
    if isinstance(module, nn.MaxPool2d):
        return Windows(
            module.kernel_size, module.stride, module.padding, module.dilation, ceil_mode=module.ceil_mode
        )
    if isinstance(module, Unpool):
        return Searched()
    if isinstance(module, Upsample) and module.mode in ("nearest", "bilinear"):
        return Wider(module.mode, module.factor)
    if isinstance(module, WindowPool):
        side = module.columns.kernel_size[1]
        return nn.Sequential(
            nn.AvgPool2d((1, module.factor)),
            nn.AvgPool2d((1, side), 1, (0, side // 2), count_include_pad=False),
        )
    if isinstance(module, Crop):
        return CropColumns(module.pixels)
    if isinstance(module, nn.ConstantPad2d):
        return nn.ZeroPad2d((*module.padding[:2], 0, 0))
    if isinstance(module, (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.BatchNorm2d)):
        return nn.Identity()
    return None


def flattened(network):
    network = copy.deepcopy(network).to_empty(device="cpu").double().eval()
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            instead = one_row(child)
            if instead is not None:
                setattr(parent, name, instead)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            weight = torch.ones_like(module.weight[:, :, :1])
            module.weight = nn.Parameter(weight / weight[0].numel(), requires_grad=False)
            module.bias = None
            module.stride, module.dilation = (1, module.stride[1]), (1, module.dilation[1])
            module.padding = (0, module.padding[1])
    return network


def measured(run, bands, stride, outputs, margins, *, margin=0, deepest=0):
    """First and last pixel with a gradient, for each of a tile's outputs, relative to the tile.

    One image per output, all alike, so that one pass tells them apart. `margins` is how much is expected before and
    after the tile; there is more, so that more could be found. `margin` is what the outputs lack on every side,
    `deepest` what the encoder's last map lacks.
    """
    before, after = (stride * (-(-pixels // stride) + 1) for pixels in margins)
    width = before + stride + after + 2 * margin
    width += (2 * deepest - width) % stride
    image = torch.ones(outputs, bands, 1, width, dtype=torch.double, requires_grad=True)
    values = run(image)
    start = before * outputs // stride
    chosen = values[range(outputs), :, 0, range(start, start + outputs)].sum()
    reached = torch.autograd.grad(chosen, image)[0].sum(1)[:, 0] > 0
    places = [row.nonzero()[:, 0] - before - margin for row in reached]
    return [(int(place[0]), int(place[-1])) for place in places]


def assert_equals_gradients(network):
    """The trace of a segmenter, value by value and as a halo, against measurement; returns the halo."""
    line = flattened(network)
    margin, deepest = network.decoder.margin, network.encoder.levels[-1].margin
    image = network.frame.fitted(torch.empty(1, 1, 2 * network.stride, 2 * network.stride, device="meta"))
    traced = record(network, lambda net, x: net.decoder(net.encoder(x)), image)
    rows, columns = fields(traced)[traced.results[0]]
    assert rows == columns
    assert rows.stride == network.decoder.stride
    outputs = network.stride // network.decoder.stride
    before, after = halo((rows, columns), network.stride, margin=margin)
    spans = measured(
        lambda x: line.decoder(line.encoder(x)),
        1,
        network.stride,
        outputs,
        (before, after),
        margin=margin,
        deepest=deepest,
    )
    assert [(first - margin, last - margin) for first, last in map(columns.span, range(outputs))] == spans
    assert before == -min(first for first, _ in spans)
    assert after == max(last for _, last in spans) - network.stride + 1
    return before, after


@pytest.mark.parametrize("output_stride", [None, 8, 16])
@pytest.mark.parametrize("name", ENCODERS)
def test_every_map_of_an_encoder_sees_what_gradients_reach(name, output_stride):
    encoder = make_encoder(name, 1, EncoderOptions(width=SMALL, output_stride=output_stride))
    image = torch.empty(1, 1, 2 * encoder.multiple, 2 * encoder.multiple, device="meta")
    traced = record(encoder, lambda net, x: net(x), image)
    seen = fields(traced)
    line = flattened(encoder)
    for place, level in enumerate(encoder.levels):
        if traced.results[place] == IMAGE:
            assert level.stride == 1
            continue
        rows, columns = seen[traced.results[place]]
        outputs = encoder.multiple // level.stride
        reach = halo((rows, columns), encoder.multiple)
        spans = measured(lambda x, place=place: line(x)[place], 1, encoder.multiple, outputs, reach)
        assert [columns.span(output) for output in range(outputs)] == spans
        assert rows == columns
        assert rows.stride == level.stride


@cache
def levels(encoder):
    with torch.device("meta"):
        return make_encoder(encoder, 1, EncoderOptions(width=SMALL)).levels


def networks(name):
    """A model on every encoder that it can be built on, at small width and for one band."""
    found = []
    for encoder in ENCODERS:
        widths = {
            **dict.fromkeys(["unet", "asymmetric_unet"], (4,) * int(log2(levels(encoder)[-1].stride))),
            **dict.fromkeys(["fcn32s", "fcn16s", "fcn8s", "deeplabv3plus"], (4, 4)),
            "segnet": (4,) * (len(levels(encoder)) - 1),
            "fullres": (4,) * 8,
        }.get(name, (8,))
        options = NetworkOptions(decoder_channels=widths or None, encoder_width=SMALL)
        try:
            with torch.device("meta"):
                found.append(build(name, encoder=encoder, bands=1, options=options))
        except OptionError:
            continue  # refused, which is another test's subject
    assert found
    return found


@pytest.mark.parametrize("name", sorted({*DECODERS} - GLOBAL - {"patch"}))
def test_every_pair_sees_what_gradients_reach(name):
    for network in networks(name):
        assert_equals_gradients(network)


@pytest.mark.parametrize("name", sorted(GLOBAL))
def test_pairs_with_a_global_part_say_so(name):
    for network in networks(name):
        facts = describe(network, size=(64, 64))
        assert facts.halo is facts.field is None
        assert facts.whole == "AdaptiveAvgPool2d (decoder.aspp.image.0)"
        assert facts.as_dict()["halo"] == f"global: {facts.whole}"
        seen = [row.field for row in facts.rows]
        pool = next(place for place, row in enumerate(facts.rows) if row.name == "decoder.aspp.image.0")
        assert None not in seen[:pool]
        assert seen[-1] is seen[pool] is None


OPTIONS = {
    "unet": [
        ("resnet18", NetworkOptions(decoder_channels=(4, 4, 4, 4), upsampling="unpool", encoder_width=SMALL)),
        ("resnet18", NetworkOptions(decoder_channels=(4, 4, 4), upsampling="bilinear", encoder_width=SMALL)),
        ("vgg16", NetworkOptions(upsampling="unpool", encoder_width=SMALL)),
        ("unet", NetworkOptions(upsampling="transposed", padding="valid", norm="none", encoder_width=SMALL)),
        (
            "unet",
            NetworkOptions(decoder_channels=(4, 4), padding="valid", encoder_width=SMALL, head_kernel=1),
        ),
    ],
    "segnet": [
        ("vgg16", NetworkOptions(upsampling="bilinear", encoder_width=SMALL)),
        ("alexnet", NetworkOptions(upsampling="transposed", encoder_width=SMALL)),
        ("vgg16", NetworkOptions(pooling_window=600, squeeze_excitation=True, encoder_width=SMALL)),
    ],
    "hourglass": [
        ("resnet18", NetworkOptions(decoder_channels=(8,), stacks=3, encoder_width=SMALL)),
        ("lenet", NetworkOptions(decoder_channels=(8,), stacks=2, upsampling="unpool")),
        ("vgg16", NetworkOptions(decoder_channels=(8,), upsampling="bilinear", encoder_width=SMALL)),
    ],
    "asymmetric_unet": [
        ("resnet18", NetworkOptions(pooling_window=100, rates=(1, 2), encoder_width=SMALL)),
        (
            "vgg16",
            NetworkOptions(pooling_window=20, decoder_channels=(4, 4), rates=(1,), encoder_width=SMALL),
        ),
    ],
    "deeplabv3": [
        ("resnet18", NetworkOptions(pooling_window=40, squeeze_excitation=True, encoder_width=SMALL)),
    ],
    "deeplabv3plus": [
        ("resnet18", NetworkOptions(pooling_window=1000, squeeze_excitation=True, encoder_width=SMALL)),
    ],
    "fcn8s": [
        ("vgg16", NetworkOptions(decoder_channels=(4, 4), upsampling="transposed", encoder_width=SMALL)),
        ("resnet18", NetworkOptions(upsampling="nearest", encoder_width=SMALL)),
    ],
}


@pytest.mark.parametrize(
    ("name", "encoder", "options"),
    [(name, encoder, options) for name, several in OPTIONS.items() for encoder, options in several],
)
def test_other_forms_see_what_gradients_reach(name, encoder, options):
    network = build(name, encoder=encoder, bands=1, options=options)
    assert assert_equals_gradients(network) == describe(network, size=(64, 64)).halo


@pytest.mark.parametrize(
    ("options", "whole"),
    [
        (NetworkOptions(norm="group"), "GroupNorm (decoder.blocks.0.convolutions.0.1)"),
        (NetworkOptions(squeeze_excitation=True), "AdaptiveAvgPool2d (decoder.blocks.0.weigh.squeeze)"),
    ],
)
def test_statistics_over_the_image_are_global(options, whole):
    facts = describe(build("unet", options=options), size=(64, 64))
    assert facts.halo is None
    assert facts.whole == whole


def test_a_patch_classifier_sees_its_window():
    """The real network, whose windows are cut by the segmenter: a changed pixel, and which logits change."""
    options = NetworkOptions(patch=(16, 4), encoder_width=SMALL)
    network = build("patch", encoder="lenet", bands=1, options=options).double().eval()
    facts = describe(network, size=(64, 64))
    assert (facts.field, facts.halo, facts.windows) == (16, (6, 6), 256)
    image = torch.rand(1, 1, 64, 64, dtype=torch.double, requires_grad=True)
    logits = network.core(image)
    assert logits.shape[-2:] == (16, 16)
    reached = torch.autograd.grad(logits[0, :, 8, 5].sum(), image)[0][0, 0] != 0
    rows, columns = reached.any(1).nonzero()[:, 0], reached.any(0).nonzero()[:, 0]
    assert 26 <= int(rows[0]) <= int(rows[-1]) <= 41  # block 8 is rows 32 to 35, and 6 more on either side
    assert 14 <= int(columns[0]) <= int(columns[-1]) <= 29


# Single operations in both axes, on layers and functions as anybody may write them.


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
