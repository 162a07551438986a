"""DeepLab v3 and v3+. Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution, 2017; with Zhu, 2018.

https://arxiv.org/abs/1706.05587 and https://arxiv.org/abs/1802.02611

The encoder stops shrinking at stride 8 (v3) or 16 (v3+) and dilates instead; atrous spatial pyramid pooling looks
at its deepest map at several scales. v3+ then enlarges to stride 4 and joins the low-level features found there,
with separable convolutions. Departures, shared with segmentation_models_pytorch, whose layers and parameter counts
these equal on ResNet18: a 3 x 3 convolution after the pyramid, in v3+ one after the join in place of two, and no
multi-grid. From it we differ in interpolation (align_corners=False, as everywhere here) and in dropout, which is
an option, before the last convolution and off by default.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.blocks import ASPP, ConvNormAct, SeparableConv, SqueezeExcitation, Upsample, image_pool
from pixelwise.models.decoders.levels import by_stride, chosen_upsampling, need_strides, need_widths
from pixelwise.models.interfaces import Decoder, Level, NetworkOptions

RATES = (12, 24, 36)
WIDTH = 256
LOW_WIDTH = 48
LOW_STRIDE = 4


class DeepLabV3(Decoder):
    """Pyramid, convolution, classes; logits at the encoder's output stride."""

    output_stride = 8
    dials = frozenset(
        {"decoder_channels", "upsampling", "squeeze_excitation", "head_kernel", "rates", "pooling_window"}
    )

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        super().__init__(levels, options, outputs)
        self.stride = _stopped("deeplabv3", levels, options.output_stride or self.output_stride)
        chosen_upsampling("deeplabv3", options, "bilinear")
        width = (need_widths(options, 1, 1, "of the pyramid") or (WIDTH,))[0]
        pool = image_pool(options.pooling_window, cell=self.stride, stride=self.stride)
        self.aspp = ASPP(levels[-1].channels, width, options.rates or RATES, norm=options.norm, pool=pool)
        self.convolution = ConvNormAct(width, width, norm=options.norm)
        self.weigh = (
            SqueezeExcitation(
                width, pool=image_pool(options.pooling_window, cell=self.stride, stride=self.stride)
            )
            if options.squeeze_excitation
            else nn.Identity()
        )
        self.dropout = nn.Dropout2d(options.dropout)
        kernel = options.head_kernel or 1
        self.head = nn.Conv2d(width, outputs, kernel, padding=kernel // 2)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps, finest first, to logits [N, outputs, H / stride, W / stride]."""
        x = self.weigh(self.convolution(self.aspp(features[-1])))
        logits: Tensor = self.head(self.dropout(x))
        return logits


class DeepLabV3Plus(Decoder):
    """The pyramid's map enlarged to stride 4 and joined with the encoder's map there."""

    output_stride = 16
    dials = frozenset(
        {"decoder_channels", "upsampling", "squeeze_excitation", "head_kernel", "rates", "pooling_window"}
    )

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        super().__init__(levels, options, outputs)
        deepest = _stopped("deeplabv3plus", levels, options.output_stride or self.output_stride)
        need_strides("deeplabv3plus", levels, (LOW_STRIDE,))
        mode = chosen_upsampling("deeplabv3plus", options, "bilinear", "nearest", "transposed")
        given = need_widths(options, 1, 2, "of the pyramid, and of the low-level features")
        width, low = (*(given or (WIDTH,)), LOW_WIDTH)[:2]
        norm, rates = options.norm, options.rates or RATES
        self.place = by_stride(levels)[LOW_STRIDE]
        window = options.pooling_window
        pool = image_pool(window, cell=deepest, stride=deepest)
        self.aspp = ASPP(levels[-1].channels, width, rates, separable=True, norm=norm, pool=pool)
        self.convolution = SeparableConv(width, width, norm=norm)
        self.enlarge = Upsample(mode, width, factor=deepest // LOW_STRIDE)
        self.reduce = ConvNormAct(levels[self.place].channels, low, kernel=1, norm=norm)
        self.join = SeparableConv(width + low, width, norm=norm)
        fine = image_pool(window, cell=deepest, stride=LOW_STRIDE)
        self.weigh = SqueezeExcitation(width, pool=fine) if options.squeeze_excitation else nn.Identity()
        self.dropout = nn.Dropout2d(options.dropout)
        kernel = options.head_kernel or 1
        self.head = nn.Conv2d(width, outputs, kernel, padding=kernel // 2)
        self.stride = LOW_STRIDE

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps, finest first, to logits [N, outputs, H / 4, W / 4]."""
        wide = self.enlarge(self.convolution(self.aspp(features[-1])))
        low = self.reduce(features[self.place])
        x = self.weigh(self.join(torch.cat([wide, low], dim=1)))
        logits: Tensor = self.head(self.dropout(x))
        return logits


def _stopped(model: str, levels: Sequence[Level], wanted: int) -> int:
    """The stride of the deepest map, which must be the wanted one."""
    deepest = levels[-1].stride
    if deepest != wanted:
        raise OptionError(
            f"{model} needs an encoder that stops at stride {wanted}, this one goes to {deepest}",
            remedy="choose an encoder that can dilate, such as resnet18, or another output_stride",
        )
    return deepest
