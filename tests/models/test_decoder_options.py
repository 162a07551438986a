"""What decoders are asked for, they do; what they cannot do, they refuse."""

import pytest
import torch
from torch import nn

from pixelwise.errors import OptionError
from pixelwise.models.blocks import SqueezeExcitation, Upsample
from pixelwise.models.decoders.asymmetric import AsymmetricUNet
from pixelwise.models.decoders.deeplab import DeepLabV3, DeepLabV3Plus
from pixelwise.models.decoders.fcn import FCN8s, FCN16s
from pixelwise.models.decoders.fullres import FullResolution
from pixelwise.models.decoders.hourglass import StackedHourglass
from pixelwise.models.decoders.patch import PatchClassifier
from pixelwise.models.decoders.segnet import SegNet
from pixelwise.models.decoders.unet import UNet
from pixelwise.models.interfaces import Level, NetworkOptions
from pixelwise.models.zoo import build

LEVELS = [Level(4, 2), Level(6, 4), Level(8, 8), Level(10, 16), Level(12, 32)]


def maps(levels, size=64, count=2):
    return [torch.randn(count, v.channels, size // v.stride, size // v.stride) for v in levels]


GATED = [
    (UNet, {}),
    (SegNet, {}),
    (StackedHourglass, {}),
    (FullResolution, {"levels": [Level(4, 1)]}),
    (AsymmetricUNet, {}),
    (DeepLabV3, {"levels": [Level(4, 4), Level(6, 8), Level(8, 8)]}),
    (DeepLabV3Plus, {"levels": [Level(4, 4), Level(6, 8), Level(8, 16)]}),
]


@pytest.mark.parametrize(("model", "given"), GATED)
@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_norm_and_gates_are_as_asked(model, given, norm):
    kinds = {"batch": nn.BatchNorm2d, "group": nn.GroupNorm, "instance": nn.GroupNorm, "none": ()}
    levels = given.get("levels", LEVELS)
    net = model(levels, NetworkOptions(norm=norm, squeeze_excitation=True), 3)
    found = [m for m in net.modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm))]
    assert all(isinstance(m, kinds[norm]) for m in found)
    assert bool(found) == (norm != "none")
    if norm == "instance":
        assert all(m.num_groups == m.num_channels for m in found)
    assert any(isinstance(m, SqueezeExcitation) for m in net.modules())
    without = model(levels, NetworkOptions(norm=norm, squeeze_excitation=False), 3)
    assert not any(isinstance(m, SqueezeExcitation) for m in without.modules())
    assert net(maps(levels)).isfinite().all()


@pytest.mark.parametrize("model", [UNet, SegNet, StackedHourglass, AsymmetricUNet])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "transposed", "unpool"])
def test_upsampling_is_as_asked(model, mode):
    net = model(LEVELS, NetworkOptions(upsampling=mode), 3)
    assert {m.mode for m in net.modules() if isinstance(m, Upsample)} == {mode}
    assert net(maps(LEVELS)).shape == (2, 3, 64 // net.stride, 64 // net.stride)


DILATED = [Level(4, 2), Level(6, 4), Level(8, 8), Level(10, 8)]


@pytest.mark.parametrize(
    ("model", "levels", "options", "found", "remedy"),
    [
        (UNet, DILATED, {}, "strides [2, 4, 8, 8]", "another encoder"),
        (UNet, [Level(3, 3), Level(4, 6)], {}, "strides [3, 6]", "another encoder"),
        (UNet, [Level(3, 1)], {}, "strides [1]", "another encoder"),
        (UNet, LEVELS, {"decoder_channels": (8,) * 6}, "6 entries", "1 to 5 positive widths"),
        (UNet, LEVELS, {"padding": "valid"}, "pads nothing either", "encoder unet"),
        (UNet, LEVELS, {"rates": (1, 2)}, "UNet has no such option", "leave it out"),
        (UNet, LEVELS, {"stacks": 2}, "stacks is 2", "leave it out"),
        (UNet, LEVELS, {"pooling_window": 64}, "nothing is averaged", "set squeeze_excitation"),
        (FCN8s, LEVELS, {"pooling_window": 64}, "no such option", "leave it out"),
        (AsymmetricUNet, LEVELS, {"pooling_window": 0}, "pooling_window is 0", "such as 512"),
        (SegNet, LEVELS, {"padding": "valid"}, "padding is 'valid'", "leave it out"),
        (SegNet, [Level(3, 4)], {}, "strides [4]", "another encoder"),
        (SegNet, [Level(3, 4), Level(4, 16)], {}, "unpool needs a map", "another upsampling"),
        (FCN8s, DILATED, {}, "strides [8, 16, 32]", "another encoder"),
        (FCN16s, LEVELS[:4], {}, "strides [16, 32]", "another encoder"),
        (FCN8s, LEVELS, {"decoder_channels": (8,)}, "1 entries", "2 positive widths"),
        (FCN8s, LEVELS, {"upsampling": "unpool"}, "which an FCN cannot do", "bilinear or nearest"),
        (FCN8s, LEVELS, {"squeeze_excitation": True}, "no such option", "leave it out"),
        (DeepLabV3, LEVELS, {}, "stops at stride 8", "can dilate"),
        (DeepLabV3, DILATED, {"output_stride": 16}, "stops at stride 16", "can dilate"),
        (DeepLabV3, DILATED, {"upsampling": "unpool"}, "cannot do", "give bilinear"),
        (DeepLabV3Plus, LEVELS, {}, "stops at stride 16", "can dilate"),
        (DeepLabV3Plus, [Level(3, 8), Level(4, 16)], {}, "strides [4]", "another encoder"),
        (DeepLabV3Plus, LEVELS[:4], {"upsampling": "unpool"}, "cannot do", "bilinear or nearest"),
        (StackedHourglass, DILATED, {}, "strides [2, 4, 8, 8]", "another encoder"),
        (StackedHourglass, LEVELS, {"decoder_channels": (8, 8)}, "2 entries", "1 positive widths"),
        (FullResolution, LEVELS, {}, "strides [2, 4, 8, 16, 32]", "encoder image"),
        (FullResolution, [Level(3, 1)], {"upsampling": "nearest"}, "no such option", "leave it out"),
        (PatchClassifier, LEVELS, {"patch": (40, 8)}, "40 pixels", "multiple of 32"),
        (PatchClassifier, LEVELS, {"decoder_channels": (8,)}, "no such option", "it has: patch"),
    ],
)
def test_what_cannot_be_joined_says_why(model, levels, options, found, remedy):
    with pytest.raises(OptionError) as caught:
        model(levels, NetworkOptions(**options), 3)
    assert found in caught.value.found
    assert remedy in caught.value.remedy


def test_valid_padding_is_refused_by_encoders_that_pad():
    with pytest.raises(OptionError):
        build("unet", encoder="resnet18", options=NetworkOptions(padding="valid"))
