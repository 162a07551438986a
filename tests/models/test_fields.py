"""Receptive fields of whole networks, judged by what gradients reach."""

import copy
from functools import cache
from math import log2

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.models.blocks import Crop, Unpool, Upsample, WindowPool
from pixelwise.models.fields import fields, halo
from pixelwise.models.graph import IMAGE, record
from pixelwise.models.interfaces import EncoderOptions, NetworkOptions
from pixelwise.models.trace import describe
from pixelwise.models.zoo import DECODERS, ENCODERS, build, make_encoder

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

    def forward(self, x, guide=None, *, join=False):
        wide = F.interpolate(x, scale_factor=(1, self.factor), mode=self.mode)
        return torch.cat([wide, guide], dim=1) if join and guide is not None else wide


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
        if "decoder_channels" not in DECODERS[name].dials:
            widths = None
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
