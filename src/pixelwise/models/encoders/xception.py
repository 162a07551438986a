"""Xception. Chollet: Xception: Deep Learning with Depthwise Separable Convolutions, 2016.

https://arxiv.org/abs/1610.02357

Layers carry the names of timm's `legacy_xception`, so that its published weights load strictly. Departures: none with
`paper` padding, where the two first convolutions have no padding; with `aligned` they have, so that sizes are
H / stride. The published weights expect images scaled to -1..1 (mean and deviation 127.5 per band in 0..255).
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.blocks import scaled
from pixelwise.models.encoders.rules import Shrinking, initialize, refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level
from pixelwise.ops.depthwise import DepthwiseConv

BLOCKS = (
    (128, 128),
    (256, 256),
    (728, 728),
    *((728, 728, 728),) * 8,
    (728, 1024),
)
HALVING = (1, 2, 3, 12)


class SeparableConv(nn.Module):
    """A 3 x 3 convolution of each map by itself, then a 1 x 1 convolution across maps."""

    def __init__(self, inputs: int, outputs: int, rate: int) -> None:
        super().__init__()
        self.conv1 = DepthwiseConv(inputs, inputs, 3, padding=rate, dilation=rate, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]."""
        mixed: Tensor = self.pointwise(self.conv1(x))
        return mixed


class Block(nn.Module):
    """Separable convolutions with ReLU before each, max pooling where it halves, and a shortcut."""

    def __init__(
        self,
        inputs: int,
        widths: tuple[int, ...],
        shrinking: Shrinking,
        *,
        halves: bool = False,
        relu_first: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = inputs
        for index, width in enumerate(widths):
            if index > 0 or relu_first:
                layers.append(nn.ReLU(inplace=index > 0))  # the shortcut needs the block's input as it is
            layers += [SeparableConv(channels, width, shrinking.rate), nn.BatchNorm2d(width)]
            channels = width
        before = shrinking.stride
        if halves:
            layers.append(shrinking.pool())
        self.rep = nn.Sequential(*layers)
        self.skip: nn.Module | None = None
        self.skipbn: nn.Module | None = None
        if halves or inputs != channels:
            self.skip = nn.Conv2d(inputs, channels, 1, stride=shrinking.stride // before, bias=False)
            self.skipbn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, widths[-1], H, W], or half of H and W."""
        shortcut = x
        if self.skip is not None and self.skipbn is not None:
            shortcut = self.skipbn(self.skip(x))
        total: Tensor = self.rep(x)
        total += shortcut
        return total


class Xception(Encoder):
    """Entry flow at strides 2, 4 and 8, middle flow at 16, exit flow at 32."""

    def __init__(self, bands: int, options: EncoderOptions) -> None:
        super().__init__()
        refuse_valid("xception", options)
        around = 0 if options.padding == "paper" else 1
        stem, channels, third, last = (scaled(width, options.width) for width in (32, 64, 1536, 2048))
        shrinking = Shrinking(options.output_stride, stride=2)
        self.conv1 = nn.Conv2d(bands, stem, 3, stride=2, padding=around, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(stem, channels, 3, padding=around, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)
        levels = [Level(channels, 2)]
        for number, widths in enumerate(BLOCKS, 1):
            scaled_widths = tuple(scaled(width, options.width) for width in widths)
            halves, relu_first = number in HALVING, number > 1
            block = Block(channels, scaled_widths, shrinking, halves=halves, relu_first=relu_first)
            self.add_module(f"block{number}", block)
            channels = scaled_widths[-1]
            if number in (1, 2, 11):
                levels.append(Level(channels, shrinking.stride))
        self.conv3 = SeparableConv(channels, third, shrinking.rate)
        self.bn3 = nn.BatchNorm2d(third)
        self.act3 = nn.ReLU(inplace=True)
        self.conv4 = SeparableConv(third, last, shrinking.rate)
        self.bn4 = nn.BatchNorm2d(last)
        self.act4 = nn.ReLU(inplace=True)
        self.levels = (*levels, Level(last, shrinking.stride))
        initialize(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to five maps; H and W are multiples of 32."""
        maps = []
        x = images
        for name, layer in self.named_children():
            x = layer(x)
            if name in ("act2", "block1", "block2", "block11", "act4"):
                maps.append(x)
        return maps
