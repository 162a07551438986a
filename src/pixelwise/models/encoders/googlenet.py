"""GoogLeNet. Szegedy, Liu, Jia, Sermanet, Reed, Anguelov et al.: Going Deeper with Convolutions, 2014.

https://arxiv.org/abs/1409.4842

Layers carry torchvision's names, so that its published weights load strictly. Departures, all torchvision's: batch
normalisation instead of response normalisation, no biases, dropout of 0.2 instead of 0.4, and the branch that
the paper draws with 5 x 5 kernels has 3 x 3 ones, an old slip that the published weights have fixed. A trap:
those weights expect images scaled to -1..1 (mean and deviation 127.5 per band in 0..255), while torchvision takes
ImageNet's normalisation and converts it inside (`transform_input`); here nothing is converted, so set the
normalisation itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

import torch
from torch import Tensor, nn

from pixelwise.models.blocks import scaled
from pixelwise.models.encoders.rules import Shrinking, centred_pool, initialize, refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level
from pixelwise.ops.norm import norm_relu

# stage after stage, the widths of figure 3: 1 x 1; 3 x 3 reduced, 3 x 3; 5 x 5 reduced, 5 x 5; pooled
INCEPTIONS = {
    3: {"a": (64, 96, 128, 16, 32, 32), "b": (128, 128, 192, 32, 96, 64)},
    4: {
        "a": (192, 96, 208, 16, 48, 64),
        "b": (160, 112, 224, 24, 64, 64),
        "c": (128, 128, 256, 24, 64, 64),
        "d": (112, 144, 288, 32, 64, 64),
        "e": (256, 160, 320, 32, 128, 128),
    },
    5: {"a": (256, 160, 320, 32, 128, 128), "b": (384, 192, 384, 48, 128, 128)},
}
LEVELS = ("conv1", "conv3", "inception3b", "inception4e", "inception5b")
AUXILIARY = ("inception4a", "inception4d")


class NormedConv(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, rate: int = 1) -> None:
        super().__init__()
        around = kernel // 2 * rate
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=around, dilation=rate, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        return norm_relu(self.bn, self.relu, self.conv(x))


class Inception(nn.Module):
    """Four branches side by side, figure 2b of the paper."""

    def __init__(self, inputs: int, widths: tuple[int, ...], rate: int) -> None:
        super().__init__()
        plain, reduced3, outputs3, reduced5, outputs5, pooled = widths
        self.branch1 = NormedConv(inputs, plain, 1)
        self.branch2 = nn.Sequential(
            NormedConv(inputs, reduced3, 1), NormedConv(reduced3, outputs3, 3, rate=rate)
        )
        self.branch3 = nn.Sequential(
            NormedConv(inputs, reduced5, 1), NormedConv(reduced5, outputs5, 3, rate=rate)
        )
        self.branch4 = nn.Sequential(centred_pool(1, rate), NormedConv(inputs, pooled, 1))
        self.channels = plain + outputs3 + outputs5 + pooled

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, channels, H, W]."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class AuxiliaryHead(nn.Module):
    """A classifier on a middle map that brings gradient there in training."""

    def __init__(self, inputs: int, classes: int, width: float) -> None:
        super().__init__()
        maps, hidden = scaled(128, width), scaled(1024, width)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = NormedConv(inputs, maps, 1)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(maps * 16, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to logits [N, classes]."""
        hidden = self.relu(self.fc1(self.flatten(self.conv(self.pool(x)))))
        logits: Tensor = self.fc2(self.dropout(hidden))
        return logits


class GoogLeNet(Encoder):
    """Maps before each of the four poolings, at strides 2 to 16, and the last one at stride 32.

    Windows of the pools begin at even pixels and end outside the image, which gives exactly H / stride; so `paper`
    and `aligned` padding are the same.
    """

    stem = "conv1.conv"

    def __init__(self, bands: int, options: EncoderOptions) -> None:
        super().__init__()
        refuse_valid("googlenet", options)
        self.width = options.width
        first, second = scaled(64, self.width), scaled(192, self.width)
        shrinking = Shrinking(options.output_stride, stride=2)
        self.conv1 = NormedConv(bands, first, 7, stride=2)
        self.maxpool1 = _pool(3, shrinking)
        self.conv2 = NormedConv(first, first, 1)
        self.conv3 = NormedConv(first, second, 3)
        strides = {"conv1": 2, "conv3": 4}
        channels = {"conv1": first, "conv3": second}
        inputs = second
        for stage, modules in INCEPTIONS.items():
            self.add_module(f"maxpool{stage - 1}", _pool(2 if stage == 5 else 3, shrinking))
            for letter, widths in modules.items():
                name = f"inception{stage}{letter}"
                module = Inception(inputs, tuple(scaled(w, self.width) for w in widths), shrinking.rate)
                self.add_module(name, module)
                inputs = channels[name] = module.channels
                strides[name] = shrinking.stride
        pooled = "inception4e" if strides["inception5b"] == 32 else None  # the only pool of 2 x 2
        self.levels = tuple(Level(channels[name], strides[name], name == pooled) for name in LEVELS)
        self.auxiliary_channels = [channels[name] for name in AUXILIARY]
        initialize(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to five maps; H and W are multiples of 32."""
        return list(self._maps(images, LEVELS).values())

    def with_auxiliary(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The maps of `forward`, and the two that the auxiliary heads judge, from one pass."""
        found = self._maps(images, (*LEVELS, *AUXILIARY))
        return [found[name] for name in LEVELS], [found[name] for name in AUXILIARY]

    def paper_head(self, classes: int, size: tuple[int, int] | None = None) -> nn.Module:
        """Global average pooling, dropout and one dense layer."""
        layers = OrderedDict[str, nn.Module](
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(0.2),
            fc=nn.Linear(self.levels[-1].channels, classes),
        )
        return nn.Sequential(layers)

    def auxiliary_heads(self, classes: int) -> nn.ModuleDict:
        """The paper's two auxiliary classifiers, `aux1` and `aux2`; their losses count 0.3 each in training."""
        heads = (AuxiliaryHead(channels, classes, self.width) for channels in self.auxiliary_channels)
        return nn.ModuleDict(dict(zip(("aux1", "aux2"), heads, strict=True)))

    def _maps(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        found = {}
        x = images
        for name, layer in self.named_children():
            x = layer(x)
            if name in names:
                found[name] = x
        return found


def _pool(kernel: int, shrinking: Shrinking) -> nn.Module:
    """Max pooling whose windows begin at each second pixel; at the limit at each, and zeros follow the edge.

    Zeros are no maximum among values that went through a ReLU.
    """
    rate = shrinking.rate
    if shrinking.halve() == 2:
        return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)
    beyond = (kernel - 1) * rate
    return nn.Sequential(nn.ZeroPad2d((0, beyond, 0, beyond)), nn.MaxPool2d(kernel, stride=1, dilation=rate))
