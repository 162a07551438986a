"""U-Net. Ronneberger, Fischer, Brox: Convolutional Networks for Biomedical Image Segmentation, 2015.

https://arxiv.org/abs/1505.04597

Departures: same padding instead of valid, batch normalisation, interpolation instead of transposed
convolution, and any encoder in place of the contracting path, as is customary now; with ResNet18 the layers
and parameter counts equal those of segmentation_models_pytorch's `Unet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.blocks import ConvNormAct, Upsample
from pixelwise.models.interfaces import Decoder, Level, NetworkOptions

WIDTHS = (256, 128, 64, 32, 16)


class UpBlock(nn.Module):
    """Double the map, join it with the encoder's map of that size, convolve twice."""

    def __init__(self, inputs: int, skip: int, outputs: int, upsampling: str) -> None:
        super().__init__()
        self.upsample = Upsample(upsampling)
        self.conv1 = ConvNormAct(inputs + skip, outputs)
        self.conv2 = ConvNormAct(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """[N, inputs, H, W] and [N, skip, 2 H, 2 W] to [N, outputs, 2 H, 2 W]."""
        x = self.upsample(x)
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        joined: Tensor = self.conv2(self.conv1(x))
        return joined


class UNet(Decoder):
    """The expanding path: one block per halving of the encoder, coarse to fine."""

    def __init__(self, levels: Sequence[Level], options: NetworkOptions) -> None:
        super().__init__()
        widths = _widths(levels, options)
        deepest, *others = reversed(levels)
        skips = [level.channels for level in others] + [0]
        channels = deepest.channels
        blocks = []
        for skip, width in zip(skips, widths, strict=False):
            blocks.append(UpBlock(channels, skip, width, options.upsampling))
            channels = width
        self.blocks = nn.ModuleList(blocks)
        self.level = Level(channels, deepest.stride // 2 ** len(widths))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps, finest first, to one map [N, width, H / stride, W / stride]."""
        x, *skips = reversed(features)
        for index, block in enumerate(self.blocks):
            x = block(x, skips[index] if index < len(skips) else None)
        return x


def _widths(levels: Sequence[Level], options: NetworkOptions) -> tuple[int, ...]:
    """The blocks' widths; as many as it takes to come back to stride 1, unless the options say fewer."""
    doublings = levels[-1].stride.bit_length() - 1
    halves = [b.stride == 2 * a.stride for a, b in pairwise(levels)]
    if not all(halves) or levels[0].stride not in (1, 2):
        strides = [level.stride for level in levels]
        raise OptionError(
            f"unet needs an encoder whose levels halve the size one after the other, got strides {strides}",
            remedy="choose another encoder; `pixelwise models` lists them",
        )
    if options.decoder_channels is None:
        return WIDTHS[-doublings:]
    if not 1 <= len(options.decoder_channels) <= doublings or min(options.decoder_channels) < 1:
        raise OptionError(
            f"decoder_channels has {len(options.decoder_channels)} entries {options.decoder_channels}",
            remedy=f"give 1 to {doublings} positive widths, coarse to fine",
        )
    return options.decoder_channels
