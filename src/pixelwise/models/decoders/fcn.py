"""Fully convolutional networks. Long, Shelhamer, Darrell: FCN for Semantic Segmentation, 2015.

https://arxiv.org/abs/1411.4038

FCN-32s, FCN-16s and FCN-8s: scores from 1 x 1 convolutions at strides 32, 16 and 8, the coarser ones enlarged
and added. Departures: same padding in place of 100 pixels around the image and cropping; the score layers start
from small random weights in place of zeros; all scores learn together and at one rate, unscaled; dropout is an
option. Encoders that end in pooling, such as VGG16, get the two dense layers of their classifier as convolutions,
as in the paper; on encoders that end in global pooling, such as ResNet, the deepest map is scored as it is, unless
`decoder_channels` gives the two widths. Upsampling is fixed and bilinear, or learned (`transposed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from pixelwise.models.blocks import ConvNormAct, Upsample
from pixelwise.models.decoders.levels import by_stride, chosen_upsampling, need_strides, need_widths
from pixelwise.models.interfaces import Decoder, Level, NetworkOptions

DENSE = (4096, 4096)


class Score(nn.Module):
    """Scores of one of the encoder's maps, max-pooled first where the paper takes the pooled one."""

    def __init__(self, levels: Sequence[Level], stride: int, outputs: int) -> None:
        super().__init__()
        places = by_stride(levels)
        finer = places.get(stride // 2)
        self.pool: nn.Module = nn.Identity()
        self.place = places[stride]
        if finer is not None and levels[finer].pooled:
            self.pool, self.place = nn.MaxPool2d(2), finer
        self.score = nn.Conv2d(levels[self.place].channels, outputs, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps to scores [N, outputs, H / stride, W / stride]."""
        scores: Tensor = self.score(self.pool(features[self.place]))
        return scores


class FCN(Decoder):
    """Scores at stride 32 down to `finest`; learned upsampling goes on to stride 1."""

    dials = frozenset({"decoder_channels", "upsampling"})
    finest: ClassVar[int]

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        super().__init__(levels, options, outputs)
        need_strides(f"fcn{self.finest}s", levels, [s for s in (8, 16, 32) if s >= self.finest])
        mode = chosen_upsampling("an FCN", options, "bilinear", "nearest", "transposed")
        self.place = by_stride(levels)[32]
        widths = need_widths(options, 2, 2, "of the two dense layers made convolutions")
        if widths is None and len(levels) > 1 and levels[-2].pooled:
            widths = DENSE
        channels = levels[self.place].channels
        dense: list[nn.Module] = []
        for width, kernel in zip(widths or (), (7, 1), strict=False):
            dense += [ConvNormAct(channels, width, kernel=kernel, norm="none"), nn.Dropout2d(options.dropout)]
            channels = width
        self.dense = nn.Sequential(*(dense or [nn.Dropout2d(options.dropout)]))
        self.head = nn.Conv2d(channels, outputs, 1)
        finer = [stride for stride in (16, 8) if stride >= self.finest]
        self.scores = nn.ModuleList(Score(levels, stride, outputs) for stride in finer)
        self.enlarge = nn.ModuleList(_enlarge(mode, outputs, 2) for _ in finer)
        learned = mode == "transposed"
        self.last = _enlarge(mode, outputs, self.finest) if learned else nn.Identity()
        self.stride = 1 if learned else self.finest

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps, finest first, to logits [N, outputs, H / stride, W / stride]."""
        x = self.head(self.dense(features[self.place]))
        for enlarge, score in zip(self.enlarge, self.scores, strict=True):
            x = enlarge(x) + score(features)
        logits: Tensor = self.last(x)
        return logits


class FCN32s(FCN):
    """The deepest map alone."""

    finest = 32


class FCN16s(FCN):
    """The two deepest maps."""

    finest = 16


class FCN8s(FCN):
    """The three deepest maps."""

    finest = 8


def _enlarge(mode: str, channels: int, factor: int) -> nn.Module:
    if mode != "transposed":
        return Upsample(mode, channels, factor=factor)
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)
    with torch.no_grad():  # bilinear interpolation of each channel by itself
        line = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
        layer.weight.copy_(torch.eye(channels)[:, :, None, None] * line[:, None] * line)
    return layer
