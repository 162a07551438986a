"""VGG. Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014.

https://arxiv.org/abs/1409.1556

Layers carry torchvision's names, so that its published weights load strictly. Departures: `vgg16_bn` adds batch
normalisation, which came a year later. With an output stride the last pools keep the size (3 x 3, stride 1) and
the convolutions behind them dilate, as DeepLab (Chen et al. 2015, https://arxiv.org/abs/1412.7062) did.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from pixelwise.models.blocks import scaled
from pixelwise.models.encoders.rules import Shrinking, initialize, refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level

# widths of the convolutions before each pooling: configuration D of the paper
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(Encoder):
    """Maps before each of the five poolings, at strides 1 to 16, and the last pooled one at stride 32."""

    stem = "features.0"

    def __init__(self, bands: int, options: EncoderOptions, *, normed: bool) -> None:
        super().__init__()
        refuse_valid("a VGG", options)
        self.width = options.width
        shrinking = Shrinking(options.output_stride)
        layers: list[nn.Module] = []
        levels = []
        channels = bands
        for widths in STAGES:
            rate = shrinking.rate
            for width in widths:
                inputs, channels = channels, scaled(width, self.width)
                layers.append(nn.Conv2d(inputs, channels, 3, padding=rate, dilation=rate))
                layers.extend([nn.BatchNorm2d(channels)] if normed else [])
                layers.append(nn.ReLU(inplace=True))
            stride, halves = shrinking.stride, shrinking.halve() == 2
            levels.append(Level(channels, stride, pooled=halves))
            layers.append(nn.MaxPool2d(2) if halves else nn.MaxPool2d(3, 1, padding=1))
        self.features = nn.Sequential(*layers)
        self.levels = (*levels, Level(channels, shrinking.stride))
        initialize(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to six maps; H and W are multiples of 32."""
        maps = []
        x = images
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return [*maps, x]

    def paper_head(self, classes: int, size: tuple[int, int] | None = None) -> nn.Module:
        """Averages over 7 x 7 places, then dense layers of 4096, 4096 and `classes` with dropout."""
        hidden = scaled(4096, self.width)
        classifier = nn.Sequential(
            nn.Linear(self.levels[-1].channels * 49, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, classes),
        )
        layers = OrderedDict[str, nn.Module](
            avgpool=nn.AdaptiveAvgPool2d(7), flatten=nn.Flatten(), classifier=classifier
        )
        return nn.Sequential(layers)


def vgg16(bands: int, options: EncoderOptions) -> VGG:
    """The 16-layer network of the paper."""
    return VGG(bands, options, normed=False)


def vgg16_bn(bands: int, options: EncoderOptions) -> VGG:
    """The 16-layer network with batch normalisation after every convolution."""
    return VGG(bands, options, normed=True)
