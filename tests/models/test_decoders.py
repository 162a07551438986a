"""Decoders, judged by published counts, plain formulas and torch's own layers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.models.blocks import SeparableConv, SqueezeExcitation
from pixelwise.models.decoders.asymmetric import AsymmetricUNet
from pixelwise.models.decoders.deeplab import DeepLabV3, DeepLabV3Plus
from pixelwise.models.decoders.fcn import FCN8s, FCN16s, FCN32s
from pixelwise.models.decoders.fullres import FullResolution
from pixelwise.models.decoders.hourglass import StackedHourglass
from pixelwise.models.decoders.segnet import SegNet
from pixelwise.models.decoders.unet import UNet
from pixelwise.models.interfaces import Level, NetworkOptions
from pixelwise.models.zoo import build

PAPER_UNET = NetworkOptions(
    decoder_channels=(512, 256, 128, 64), norm="none", upsampling="transposed", head_kernel=1
)
SMALL_UNET = replace(PAPER_UNET, decoder_channels=(16, 8, 8, 8), encoder_width=0.125, padding="valid")
LEVELS = [Level(4, 2), Level(6, 4), Level(8, 8), Level(10, 16), Level(12, 32)]


def maps(levels, size=64, count=2):
    return [torch.randn(count, v.channels, size // v.stride, size // v.stride) for v in levels]


@pytest.mark.parametrize(
    ("model", "encoder", "classes", "bands", "options", "parameters"),
    [
        ("fcn8s", "vgg16", 21, 3, NetworkOptions(), 134_362_751),
        ("fcn8s", "vgg16", 21, 3, NetworkOptions(upsampling="transposed"), 134_489_759),
        ("segnet", "vgg16_bn", 11, 3, NetworkOptions(), 29_449_355),
        ("unet", "unet", 2, 1, replace(PAPER_UNET, one_logit=True), 31_030_593),
        ("unet", "unet", 2, 1, PAPER_UNET, 31_030_658),
        ("unet", "resnet18", 11, 3, NetworkOptions(), 14_329_659),
        ("deeplabv3", "resnet18", 11, 3, NetworkOptions(), 15_901_515),
        ("deeplabv3plus", "resnet18", 11, 3, NetworkOptions(), 12_331_867),
    ],
)
def test_parameters_are_the_published_ones(model, encoder, classes, bands, options, parameters):
    with torch.device("meta"):
        net = build(model, encoder=encoder, classes=classes, bands=bands, options=options)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_the_unpadded_unet_turns_572_pixels_into_388():
    with torch.device("meta"):
        net = build("unet", encoder="unet", classes=2, bands=1, options=replace(PAPER_UNET, padding="valid"))
        assert net.core(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
        assert net(torch.empty(1, 1, 388, 388)).shape == (1, 2, 388, 388)
    assert (net.frame.margin, net.frame.deepest) == (92, 62)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (20, 31), (60, 53)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_the_unpadded_unet_is_the_plain_computation_on_a_mirrored_image(size, kernel):
    """Convolutions, poolings and crops written out; the mirror is NumPy's."""
    options = replace(SMALL_UNET, head_kernel=kernel)
    net = build("unet", encoder="unet", classes=3, bands=2, options=options).eval()
    margin = 92 + kernel // 2
    images = torch.randn(1, 2, *size)
    rows, columns = (
        next(s for s in range(side + 2 * margin, 1000) if (s - 12) % 16 == 0) - side - margin for side in size
    )
    around = np.pad(images.numpy(), ((0, 0), (0, 0), (margin, rows), (margin, columns)), mode="reflect")
    weights = {}
    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            weights.setdefault(name.split(".")[0] + type(module).__name__, []).append(module)
    down, up = weights["encoderConv2d"], weights["decoderConv2d"]
    x, kept = torch.from_numpy(around), []
    for index, layer in enumerate(down):
        if index % 2 == 0 and index:
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = F.conv2d(x, layer.weight, layer.bias).relu()
    for index, layer in enumerate(weights["decoderConvTranspose2d"]):
        x, skip = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2), kept.pop()
        start = [(a - b) // 2 for a, b in zip(skip.shape[2:], x.shape[2:], strict=True)]
        cut = skip[:, :, start[0] : start[0] + x.shape[2], start[1] : start[1] + x.shape[3]]
        x = torch.cat([x, cut], 1)
        for convolution in up[2 * index : 2 * index + 2]:
            x = F.conv2d(x, convolution.weight, convolution.bias).relu()
    expected = F.conv2d(x, up[-1].weight, up[-1].bias)[..., : size[0], : size[1]]
    with torch.inference_mode():
        torch.testing.assert_close(net(images), expected)


def test_an_unpadded_unet_may_end_early_and_unpool():
    for options in (
        replace(SMALL_UNET, decoder_channels=(8, 8, 8)),
        replace(SMALL_UNET, upsampling="unpool"),
        replace(SMALL_UNET, upsampling="nearest", squeeze_excitation=True),
    ):
        net = build("unet", encoder="unet", classes=3, bands=2, options=options).eval()
        assert net(torch.randn(1, 2, 30, 41)).shape == (1, 3, 30, 41)


def test_a_unet_skips_the_sizes_that_the_encoder_lacks():
    net = UNet([Level(6, 4), Level(12, 16)], NetworkOptions(decoder_channels=(8, 8, 8, 8)), 3)
    inputs = [block.convolutions[0][0].in_channels for block in net.blocks]
    assert inputs == [12, 8 + 6, 8, 8]
    assert net([torch.randn(2, 6, 16, 16), torch.randn(2, 12, 4, 4)]).shape == (2, 3, 64, 64)


def test_transposed_upsampling_halves_the_channels_as_in_the_paper():
    with torch.device("meta"):
        net = build("unet", encoder="unet", options=PAPER_UNET)
    shapes = [tuple(block.upsample.enlarge.weight.shape) for block in net.decoder.blocks]
    assert shapes == [(1024, 512, 2, 2), (512, 256, 2, 2), (256, 128, 2, 2), (128, 64, 2, 2)]


def test_unpooling_ends_at_the_finest_map():
    net = UNet(LEVELS, NetworkOptions(upsampling="unpool"), 3)
    assert (len(net.blocks), net.stride) == (4, 2)
    with pytest.raises(OptionError, match="there is none"):
        UNet(LEVELS, NetworkOptions(upsampling="unpool", decoder_channels=(8,) * 5), 3)


def test_segnet_on_vgg_takes_the_switches_of_the_poolings():
    """Judged by the encoder's own poolings, asked for their indices, and max_unpool2d."""
    options = NetworkOptions(encoder_width=0.125)
    net = build("segnet", encoder="vgg16_bn", classes=3, options=options).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        x, switches = images, []
        for layer in net.encoder.features:
            if isinstance(layer, nn.MaxPool2d):
                x, indices = F.max_pool2d(x, 2, return_indices=True)
                switches.append(indices)
            else:
                x = layer(x)
        for stage in net.decoder.stages:
            x = stage.convolutions(F.max_unpool2d(x, switches.pop(), 2))
        assert torch.equal(net(images), net.decoder.head(x))
    assert [len(stage.convolutions) for stage in net.decoder.stages] == [3, 3, 3, 2, 1]


def test_segnet_mirrors_other_encoders_down_to_their_finest_map():
    net = SegNet(LEVELS, NetworkOptions(), 3)
    assert net.stride == 2
    assert [len(stage.convolutions) for stage in net.stages] == [2, 2, 2, 1]
    assert net(maps(LEVELS)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("model", [FCN32s, FCN16s, FCN8s])
@pytest.mark.parametrize("dense", [None, (16, 8)])
def test_learned_upsampling_of_an_fcn_starts_bilinear(model, dense):
    """Equal inside; at the border interpolation repeats the edge where the learned layers see nothing."""
    fixed = model(LEVELS, NetworkOptions(decoder_channels=dense), 5)
    learned = model(LEVELS, NetworkOptions(decoder_channels=dense, upsampling="transposed"), 5)
    learned.load_state_dict(fixed.state_dict(), strict=False)
    features = maps(LEVELS, 320)
    full = F.interpolate(fixed(features), size=(320, 320), mode="bilinear", align_corners=False)
    got = learned(features)
    assert got.shape == full.shape
    torch.testing.assert_close(got[..., 96:-96, 96:-96], full[..., 96:-96, 96:-96])
    assert not torch.allclose(got, full)


def test_an_fcn_takes_the_pooled_maps_of_vgg():
    vgg = [Level(2, 1, True), Level(3, 2, True), Level(4, 4, True), Level(5, 8, True), Level(6, 16, True)]
    net = FCN8s([*vgg, Level(6, 32)], NetworkOptions(decoder_channels=(4, 4)), 3).eval()
    features = maps([*vgg, Level(6, 32)])
    scores = [
        F.conv2d(features[-1], net.dense[0][0].weight, net.dense[0][0].bias, padding=3).relu(),
        F.max_pool2d(features[3], 2),
        F.max_pool2d(features[2], 2),
    ]
    scores[0] = F.conv2d(scores[0], net.dense[2][0].weight, net.dense[2][0].bias).relu()
    x = F.conv2d(scores[0], net.head.weight, net.head.bias)
    for scored, layer in zip(scores[1:], net.scores, strict=True):
        twice = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = twice + F.conv2d(scored, layer.score.weight, layer.score.bias)
    torch.testing.assert_close(net(features), x)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_rates_of_the_asymmetric_unet_are_deeplabs_at_its_stride(stride):
    levels = [v for v in LEVELS if v.stride <= stride]
    net = AsymmetricUNet(levels, NetworkOptions(), 3)
    rates = [b[0].dilation[0] for b in net.aspp.branches[1:] if isinstance(b, SeparableConv)]
    assert rates == [96 // stride, 192 // stride, 288 // stride]
    gates = sum(isinstance(m, SqueezeExcitation) for m in net.modules())
    assert gates == len(net.blocks)
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in net.blocks.modules()) == gates


def test_the_asymmetric_unet_is_light():
    with torch.device("meta"):
        light, usual = (build(name, classes=6).decoder for name in ("asymmetric_unet", "unet"))
    count = [sum(p.numel() for p in net.blocks.parameters()) for net in (light, usual)]
    assert count[0] < count[1] / 8


def test_hourglasses_are_judged_one_by_one():
    net = StackedHourglass(LEVELS, NetworkOptions(decoder_channels=(8,), stacks=3), 4).eval()
    features = [m.requires_grad_() for m in maps(LEVELS)]
    logits = net.every(features)
    assert [tuple(m.shape) for m in logits] == [(2, 4, 16, 16)] * 3
    assert torch.equal(logits[-1], net(features))
    logits[0].sum().backward()
    reached = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None}
    assert reached == {"ascent", "rounds", "early"}
    with torch.no_grad():
        net.early[0].bias += 1  # the second hourglass takes in the first prediction, and the third the second
    changed = net.every(features)
    assert all(not torch.allclose(a, b) for a, b in zip(logits, changed, strict=True))


def test_an_hourglass_is_a_recursion():
    """up(f1, f2, ...) = side(f1) + enlarge(merge(up(f2, ...))), the coarsest ending it."""
    net = StackedHourglass(LEVELS, NetworkOptions(decoder_channels=(8,)), 4).eval()
    features = maps(LEVELS)

    def up(place):
        side = net.ascent.sides[place](features[1 + place])
        if place == 3:
            return side
        lower = net.ascent.merges[place](up(place + 1))
        return side + lower.repeat_interleave(2, -1).repeat_interleave(2, -2)

    torch.testing.assert_close(net(features), net.head(net.rounds[0](up(0))))


def test_a_second_hourglass_pools_the_finest_map_and_comes_up_again():
    net = StackedHourglass(LEVELS[:3], NetworkOptions(decoder_channels=(8,), stacks=2), 4).eval()
    features = maps(LEVELS[:3])
    second = net.hourglasses[0]
    x = net.ascent(features[1:])
    rounded = net.rounds[0](x)
    x = x + net.from_round[0](rounded) + net.from_logits[0](net.early[0](rounded))
    low = second.ascent.merges[0](second.ascent.sides[1](second.down[0](F.max_pool2d(x, 2))))
    x = second.ascent.sides[0](x) + low.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(net(features), net.head(net.rounds[1](x)))
    assert len(second.down) == 1


@pytest.mark.parametrize(("model", "deepest"), [(DeepLabV3, 8), (DeepLabV3Plus, 16)])
def test_the_rates_of_deeplab_are_the_papers_unless_given(model, deepest):
    levels = [Level(4, 4), Level(6, 8), Level(8, deepest)]
    for rates in (None, (2, 3, 5, 7)):
        net = model(levels, NetworkOptions(rates=rates), 3)
        found = [branch[0].dilation[0] for branch in net.aspp.branches[1:]]
        assert found == [*(rates or (12, 24, 36))]


def test_the_patch_classifier_is_a_loop_over_windows():
    options = NetworkOptions(patch=(32, 12), encoder_width=0.125)
    net = build("patch", encoder="resnet18", classes=3, bands=2, options=options).eval()
    images = torch.randn(2, 2, 30, 41)
    around = np.pad(images.numpy(), ((0, 0), (0, 0), (10, 6 + 10), (10, 7 + 10)), mode="edge")
    with torch.inference_mode():
        logits = net.core(images)
        assert logits.shape == (2, 3, 3, 4)
        for row, column in np.ndindex(3, 4):
            window = around[:, :, 12 * row : 12 * row + 32, 12 * column : 12 * column + 32]
            mean = net.encoder(torch.from_numpy(window))[-1].mean((2, 3))
            expected = mean @ net.head.weight[:, :, 0, 0].T + net.head.bias
            torch.testing.assert_close(logits[:, :, row, column], expected)
        assert net(images).shape == (2, 3, 30, 41)


def test_chunks_of_windows_change_nothing(monkeypatch):
    net = build("patch", options=NetworkOptions(patch=(32, 8), encoder_width=0.125)).eval()
    images = torch.randn(1, 3, 40, 48)
    with torch.inference_mode():
        whole = net(images)
        monkeypatch.setattr("pixelwise.models.segmenter.WINDOWS", 7)
        torch.testing.assert_close(net(images), whole)


def test_full_resolution_is_convolutions_only():
    net = FullResolution([Level(3, 1)], NetworkOptions(), 5)
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in layers] == [64] * 8 + [5]
    assert all(m.stride == (1, 1) for m in layers)
    assert net([torch.randn(2, 3, 9, 11)]).shape == (2, 5, 9, 11)


def test_an_fcn_starts_its_interpolation_kernels_where_the_closed_form_says():
    weights = FCN32s(LEVELS, NetworkOptions(upsampling="transposed"), 3).last.weight
    assert weights.shape == (3, 3, 64, 64)
    for row, column in [(0, 0), (31, 32), (63, 5)]:
        expected = math.prod(1 - abs(p - 31.5) / 32 for p in (row, column))
        assert weights[1, 1, row, column].item() == pytest.approx(expected)
    assert weights[0, 1].abs().max() == 0
