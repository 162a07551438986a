"""Full resolution. Jain and others: Supervised Learning of Image Restoration with Convolutional Networks, 2007.

https://doi.org/10.1109/ICCV.2007.4408909

Convolutions of 3 x 3 one after the other at the size of the image, without any pooling: nothing is lost, every
layer costs the full size, and the receptive field grows by two pixels per layer. Departures: 3 x 3 kernels,
rectifiers, normalisation and same padding, and the widths of today.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.blocks import ConvNormAct, SqueezeExcitation
from pixelwise.models.interfaces import Decoder, Level, NetworkOptions

WIDTHS = (64,) * 8


class FullResolution(Decoder):
    """A stack of 3 x 3 convolutions; `decoder_channels` gives their widths, first to last."""

    encoder = "image"
    dials = frozenset({"decoder_channels", "squeeze_excitation", "head_kernel"})
    stride = 1

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        super().__init__(levels, options, outputs)
        strides = [level.stride for level in levels]
        if strides != [1]:
            raise OptionError(
                f"fullres works on the image itself, got an encoder with strides {strides}",
                remedy="choose the encoder image",
            )
        layers: list[nn.Module] = []
        for before, after in pairwise([levels[0].channels, *(options.decoder_channels or WIDTHS)]):
            layers.append(ConvNormAct(before, after, norm=options.norm))
            if options.squeeze_excitation:
                layers.append(SqueezeExcitation(after))
            channels = after
        kernel = options.head_kernel or 1
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout2d(options.dropout)
        self.head = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The image's map to logits [N, outputs, H, W]."""
        logits: Tensor = self.head(self.dropout(self.layers(features[0])))
        return logits
