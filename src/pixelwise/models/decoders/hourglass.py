"""Stacked hourglass networks. Newell, Yang, Deng: Stacked Hourglass Networks for Pose Estimation, 2016.

https://arxiv.org/abs/1603.06937

The first hourglass is the encoder with residual blocks beside each of its maps, nearest upsampling and addition;
`stacks` counts it. Each further one pools the finest map down and comes up again, and takes in the prediction of
the one before. Every prediction is judged in training. Departures: the encoder may be any, and replaces the
paper's stem and first descent; classes in place of joints. As in the paper, hourglasses work at a quarter of the
image's size where the encoder has such a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pixelwise.models.blocks import ConvNormAct, SqueezeExcitation, Upsample, norm_layer
from pixelwise.models.decoders.levels import chosen_upsampling, need_halving, need_widths
from pixelwise.models.interfaces import Decoder, Level, NetworkOptions

WIDTH = 256
QUARTER = 4


class Residual(nn.Module):
    """The paper's residual module: 1 x 1, 3 x 3 and 1 x 1 convolutions, each after normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, options: NetworkOptions) -> None:
        super().__init__()
        between = max(1, outputs // 2)
        layers: list[nn.Module] = []
        for before, after, kernel in ((inputs, between, 1), (between, between, 3), (between, outputs, 1)):
            layers += [
                norm_layer(options.norm, before),
                nn.ReLU(),
                nn.Conv2d(before, after, kernel, padding=kernel // 2),
            ]
        if options.squeeze_excitation:
            layers.append(SqueezeExcitation(outputs))
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]."""
        total: Tensor = self.shortcut(x) + self.layers(x)
        return total


class Ascent(nn.Module):
    """From the coarsest map up to the finest, adding each map on the way, all at one width."""

    def __init__(self, levels: Sequence[Level], width: int, mode: str, options: NetworkOptions) -> None:
        super().__init__()
        self.sides = nn.ModuleList(Residual(level.channels, width, options) for level in levels)
        self.merges = nn.ModuleList(Residual(width, width, options) for _ in levels[1:])
        self.enlarge = nn.ModuleList(
            Upsample(mode, width, guide=width, factor=coarse.stride // fine.stride)
            for fine, coarse in pairwise(levels)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, finest first, to [N, width, H, W] at the size of the finest."""
        x: Tensor = self.sides[-1](maps[-1])
        for place in reversed(range(len(self.merges))):
            side = self.sides[place](maps[place])
            x = side + self.enlarge[place](self.merges[place](x), side)
        return x


class Hourglass(nn.Module):
    """A complete hourglass: `depth` poolings down, and up again."""

    def __init__(self, width: int, depth: int, mode: str, options: NetworkOptions) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(Residual(width, width, options) for _ in range(depth))
        self.ascent = Ascent([Level(width, 2**step) for step in range(depth + 1)], width, mode, options)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, H, W] to the same size."""
        maps = [x]
        for down in self.down:
            x = down(self.pool(x))
            maps.append(x)
        came_up: Tensor = self.ascent(maps)
        return came_up


class StackedHourglass(Decoder):
    """`stacks` hourglasses, each with its prediction."""

    dials = frozenset({"decoder_channels", "upsampling", "squeeze_excitation", "head_kernel", "stacks"})

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        super().__init__(levels, options, outputs)
        need_halving("hourglass", levels, maps=2)
        mode = chosen_upsampling("hourglass", options, "nearest", "bilinear", "transposed", "unpool")
        width = (need_widths(options, 1, 1, "of all maps of the hourglass") or (WIDTH,))[0]
        quarter = [place for place, level in enumerate(levels) if level.stride >= QUARTER]
        self.first = quarter[0] if len(quarter) > 1 else 0
        used = levels[self.first :]
        self.stride = used[0].stride
        depth = (used[-1].stride // self.stride).bit_length() - 1
        kernel = options.head_kernel or 1
        self.ascent = Ascent(used, width, mode, options)
        again = range(options.stacks - 1)
        self.hourglasses = nn.ModuleList(Hourglass(width, depth, mode, options) for _ in again)
        self.rounds = nn.ModuleList(
            ConvNormAct(width, width, kernel=1, norm=options.norm) for _ in range(options.stacks)
        )
        self.dropout = nn.Dropout2d(options.dropout)
        self.early = nn.ModuleList(nn.Conv2d(width, outputs, kernel, padding=kernel // 2) for _ in again)
        self.from_round = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in again)
        self.from_logits = nn.ModuleList(nn.Conv2d(outputs, width, 1) for _ in again)
        self.head = nn.Conv2d(width, outputs, kernel, padding=kernel // 2)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps, finest first, to the last logits [N, outputs, H / stride, W / stride]."""
        return self.every(features)[-1]

    def every(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The logits of each hourglass, first to last."""
        x: Tensor = self.ascent(features[self.first :])
        came_up, predictions = x, []
        for place, hourglass in enumerate(self.hourglasses):
            rounded = self.rounds[place](came_up)
            logits = self.early[place](self.dropout(rounded))
            predictions.append(logits)
            x = x + self.from_round[place](rounded) + self.from_logits[place](logits)
            came_up = hourglass(x)
        predictions.append(self.head(self.dropout(self.rounds[-1](came_up))))
        return predictions
