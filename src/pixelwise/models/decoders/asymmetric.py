"""Asymmetric U-Net with ASPP and squeeze-and-excitation, after Ronneberger 2015, Chen 2017 and Hu 2018.

https://arxiv.org/abs/1505.04597, https://arxiv.org/abs/1706.05587 and https://arxiv.org/abs/1709.01507

A deep encoder and a light decoder: few channels and one convolution per block; atrous spatial pyramid pooling,
with separable convolutions, where encoder and decoder meet; squeeze-and-excitation in every block. No paper has
exactly this assembly. The rates are DeepLab's for the encoder's deepest stride: 12, 24, 36 at stride 8, and 3, 6,
9 at stride 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from pixelwise.models.blocks import ASPP, image_pool
from pixelwise.models.decoders.unet import UNet
from pixelwise.models.interfaces import Level, NetworkOptions

BRIDGE = 128
REACH = 96  # rate times stride of the narrowest branch


class AsymmetricUNet(UNet):
    """A U-Net's expanding path made light, on a pyramid."""

    dials = frozenset(
        {"decoder_channels", "upsampling", "squeeze_excitation", "head_kernel", "rates", "pooling_window"}
    )
    convolutions = 1
    widths = (64, 48, 32, 24, 16)

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        deepest = levels[-1]
        if options.squeeze_excitation is None:
            options = replace(options, squeeze_excitation=True)
        super().__init__([*levels[:-1], replace(deepest, channels=BRIDGE)], options, outputs)
        rates = options.rates or tuple(max(1, REACH * branch // deepest.stride) for branch in (1, 2, 3))
        pool = image_pool(options.pooling_window, cell=deepest.stride, stride=deepest.stride)
        self.aspp = ASPP(deepest.channels, BRIDGE, rates, separable=True, norm=options.norm, pool=pool)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps, finest first, to logits [N, outputs, H / stride, W / stride]."""
        return super().forward([*features[:-1], self.aspp(features[-1])])
