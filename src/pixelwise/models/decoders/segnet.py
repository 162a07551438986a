"""SegNet. Badrinarayanan, Kendall, Cipolla: A Deep Convolutional Encoder-Decoder Architecture, 2015.

https://arxiv.org/abs/1511.00561

The decoder mirrors the encoder: unpooling with the encoder's switches, then convolutions, with biases and batch
normalisation after all but the last, which gives the classes. On `vgg16_bn` it is the paper's. Departures: the
encoder may be any; one that does not pool 2 x 2 has no switches of its own, and takes the places of the maxima of
its map. Three convolutions mirror a map that is pooled, at stride 4 and above, as VGG16 has them, and two every
other map. The decoder ends at the encoder's finest map, which is at full size for VGG16.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pixelwise.models.blocks import ConvNormAct, SqueezeExcitation, Upsample, image_pool
from pixelwise.models.decoders.levels import chosen_upsampling, need_halving, need_widths
from pixelwise.models.interfaces import Decoder, Level, NetworkOptions


class Stage(nn.Module):
    """Enlarge to the size of the encoder's map, then convolve to each of `widths` in turn."""

    def __init__(
        self, upsample: Upsample, widths: Sequence[int], options: NetworkOptions, pool: nn.Module
    ) -> None:
        super().__init__()
        self.upsample = upsample
        layers = [
            ConvNormAct(before, after, norm=options.norm, bias=True)
            for before, after in pairwise([upsample.channels, *widths])
        ]
        self.convolutions = nn.Sequential(*layers)
        self.weigh = SqueezeExcitation(widths[-1], pool=pool) if options.squeeze_excitation else nn.Identity()

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """[N, C, H, W] and the encoder's map [N, G, 2 H, 2 W] to [N, widths[-1], 2 H, 2 W]."""
        mirrored: Tensor = self.weigh(self.convolutions(self.upsample(x, guide)))
        return mirrored


class SegNet(Decoder):
    """One stage per map of the encoder, coarse to fine."""

    dials = frozenset(
        {"decoder_channels", "upsampling", "squeeze_excitation", "head_kernel", "pooling_window"}
    )

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        super().__init__(levels, options, outputs)
        need_halving("segnet", levels, maps=2)
        mode = chosen_upsampling("segnet", options, "unpool", "nearest", "bilinear", "transposed")
        most = len(levels) - 1
        given = need_widths(options, 1, most, "one per stage, coarse to fine")
        stages = most if given is None else len(given)
        channels, stride = levels[-1].channels, levels[-1].stride
        self.stages = nn.ModuleList()
        for step in range(stages):
            place = most - 1 - step
            level = levels[place]
            convolutions = 3 if level.pooled and level.stride >= 4 else 2
            inner = level.channels if given is None else given[step]
            after = levels[place - 1].channels if given is None else given[step]
            last = step == stages - 1
            widths = [inner] * (convolutions - 1) + ([] if last else [after])
            factor = stride // level.stride
            upsample = Upsample(mode, channels, guide=level.channels, factor=factor)
            pool = image_pool(options.pooling_window, cell=levels[-1].stride, stride=level.stride)
            self.stages.append(Stage(upsample, widths, options, pool))
            channels, stride = widths[-1], level.stride
        kernel = options.head_kernel or 3
        self.dropout = nn.Dropout2d(options.dropout)
        self.head = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2)
        self.stride = stride

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps, finest first, to logits [N, outputs, H / stride, W / stride]."""
        x = features[-1]
        for step, stage in enumerate(self.stages):
            x = stage(x, features[-2 - step])
        logits: Tensor = self.head(self.dropout(x))
        return logits
