"""ResNet. He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.

https://arxiv.org/abs/1512.03385

Layers carry torchvision's names, so that its published weights load strictly. Departures: ResNet50 shrinks in the
3 x 3 convolution of a block and not in the 1 x 1 before it, as torchvision's does ("v1.5"); stages that dilate
do so from their first convolution on. The classifier (`fc`) is the encoder's `paper_head`.
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.blocks import dilate, scaled
from pixelwise.models.encoders.rules import initialize, refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level
from pixelwise.ops.norm import norm_relu

Depths = tuple[int, int, int, int]


class Shortcut(nn.Sequential):
    """A 1 x 1 convolution to another size or number of channels, and its normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs))

    def forward(self, input: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        return norm_relu(self[1], None, self[0](input))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, figure 5 left of the paper."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = norm_relu(self.bn1, self.relu, self.conv1(x))
        return norm_relu(self.bn2, self.relu, self.conv2(x), shortcut)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, and a shortcut, figure 5 right of the paper."""

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = norm_relu(self.bn1, self.relu, self.conv1(x))
        x = norm_relu(self.bn2, self.relu, self.conv2(x))
        return norm_relu(self.bn3, self.relu, self.conv3(x), shortcut)


class ResNet(Encoder):
    """Feature maps of a residual network at strides 2, 4, 8, 16 and 32."""

    def __init__(
        self, bands: int, options: EncoderOptions, *, depths: Depths, bottleneck: bool = False
    ) -> None:
        super().__init__()
        refuse_valid("a ResNet", options)
        stem, *middles = (scaled(width, options.width) for width in (64, 64, 128, 256, 512))
        widths = (
            [scaled(4 * width, options.width) for width in (64, 128, 256, 512)] if bottleneck else middles
        )
        self.conv1 = nn.Conv2d(bands, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(stem, middles[0], widths[0], depths[0], stride=1, bottleneck=bottleneck)
        self.layer2 = _stage(widths[0], middles[1], widths[1], depths[1], stride=2, bottleneck=bottleneck)
        self.layer3 = _stage(widths[1], middles[2], widths[2], depths[2], stride=2, bottleneck=bottleneck)
        self.layer4 = _stage(widths[2], middles[3], widths[3], depths[3], stride=2, bottleneck=bottleneck)
        strides = [4, 8, 16, 32]
        if options.output_stride == 16:
            dilate(self.layer4, 2)
            strides = [4, 8, 16, 16]
        elif options.output_stride == 8:
            dilate(self.layer3, 2)
            dilate(self.layer4, 4)
            strides = [4, 8, 8, 8]
        self.levels = (Level(stem, 2), *(Level(w, s) for w, s in zip(widths, strides, strict=True)))
        initialize(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to five maps; H and W are multiples of 32."""
        stem = norm_relu(self.bn1, self.relu, self.conv1(images))
        c2 = self.layer1(self.maxpool(stem))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return [stem, c2, c3, c4, c5]


def resnet18(bands: int, options: EncoderOptions) -> ResNet:
    """The 18-layer network."""
    return ResNet(bands, options, depths=(2, 2, 2, 2))


def resnet34(bands: int, options: EncoderOptions) -> ResNet:
    """The 34-layer network."""
    return ResNet(bands, options, depths=(3, 4, 6, 3))


def resnet50(bands: int, options: EncoderOptions) -> ResNet:
    """The 50-layer network."""
    return ResNet(bands, options, depths=(3, 4, 6, 3), bottleneck=True)


def _stage(
    inputs: int, middle: int, outputs: int, depth: int, *, stride: int, bottleneck: bool
) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for index in range(depth):
        first, step = (inputs, stride) if index == 0 else (outputs, 1)
        block = Bottleneck(first, middle, outputs, step) if bottleneck else BasicBlock(first, outputs, step)
        blocks.append(block)
    return nn.Sequential(*blocks)


def _shortcut(inputs: int, outputs: int, stride: int) -> Shortcut | None:
    return None if stride == 1 and inputs == outputs else Shortcut(inputs, outputs, stride)
