"""What an encoder announces and what a decoder builds on; neither knows the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn


@dataclass(frozen=True)
class Level:
    """One feature map: how many channels, and how many image pixels one of its pixels spans."""

    channels: int
    stride: int


class Encoder(nn.Module):
    """Turns images [N, C, H, W] into feature maps, finest first.

    `levels` announces them; H and W are multiples of the last level's stride.
    """

    levels: tuple[Level, ...]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one map [N, level.channels, H / level.stride, W / level.stride] per level."""
        raise TypeError(f"{type(self).__name__} does not define forward")


class Decoder(nn.Module):
    """Turns an encoder's feature maps into one map from which the head makes logits.

    `level` announces that map.
    """

    level: Level

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return one map [N, level.channels, H / level.stride, W / level.stride]."""
        raise TypeError(f"{type(self).__name__} does not define forward")


@dataclass(frozen=True)
class NetworkOptions:
    """The dials of a network that are not its name.

    Attributes:
        decoder_channels: Widths of the decoder's blocks, coarse to fine; None takes the paper's. Each block
            doubles the resolution, so leaving out the last one gives logits at stride 2.
        upsampling: How a decoder block doubles its map.
        dropout: Share of decoder channels dropped before the head, 0..1.
        one_logit: Two classes only: one logit for the second class instead of two.
    """

    decoder_channels: tuple[int, ...] | None = None
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    dropout: float = 0.0
    one_logit: bool = False
