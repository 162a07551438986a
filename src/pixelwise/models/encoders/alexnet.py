"""AlexNet. Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012.

https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks

Layers carry torchvision's names, so that its published weights load strictly. Departures: the single-stream form of
Krizhevsky 2014 (https://arxiv.org/abs/1404.5997) with 64, 192, 384, 256 and 256 maps, without response
normalisation. `aligned` padding adds to the first convolution and the pools, so that sizes are H / stride.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from pixelwise.models.blocks import scaled
from pixelwise.models.encoders.rules import Shrinking, initialize, refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level

# kernel and widths of the convolutions between two pools, after the first
STAGES = ((5, (192,)), (3, (384, 256, 256)))


class AlexNet(Encoder):
    """Maps before each pooling, at strides 4, 8 and 16, and the last pooled one at stride 32.

    The pools overlap (3 x 3 windows, stride 2), so no level is `pooled`.
    """

    stem = "features.0"

    def __init__(self, bands: int, options: EncoderOptions) -> None:
        super().__init__()
        refuse_valid("alexnet", options)
        self.width = options.width
        paper = options.padding == "paper"
        shrinking = Shrinking(options.output_stride, stride=4)
        channels = scaled(64, self.width)
        layers: list[nn.Module] = [
            nn.Conv2d(bands, channels, 11, stride=4, padding=2 if paper else 4),
            nn.ReLU(inplace=True),
        ]
        levels = [Level(channels, 4)]
        for kernel, widths in STAGES:
            layers.append(_pool(shrinking, paper))
            rate = shrinking.rate
            for width in widths:
                inputs, channels = channels, scaled(width, self.width)
                around = kernel // 2 * rate
                layers.append(nn.Conv2d(inputs, channels, kernel, padding=around, dilation=rate))
                layers.append(nn.ReLU(inplace=True))
            levels.append(Level(channels, shrinking.stride))
        layers.append(_pool(shrinking, paper))
        self.features = nn.Sequential(*layers)
        self.levels = (*levels, Level(channels, shrinking.stride))
        initialize(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to four maps; H and W are multiples of 32."""
        maps = []
        x = images
        for layer in self.features:
            if isinstance(layer, (nn.MaxPool2d, nn.Sequential)):
                maps.append(x)  # before it is pooled
            x = layer(x)
        return [*maps, x]

    def paper_head(self, classes: int, size: tuple[int, int] | None = None) -> nn.Module:
        """Averages over 6 x 6 places, then dense layers of 4096, 4096 and `classes` with dropout."""
        hidden = scaled(4096, self.width)
        classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(self.levels[-1].channels * 36, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, classes),
        )
        layers = OrderedDict[str, nn.Module](
            avgpool=nn.AdaptiveAvgPool2d(6), flatten=nn.Flatten(), classifier=classifier
        )
        return nn.Sequential(layers)


def _pool(shrinking: Shrinking, paper: bool) -> nn.Module:
    if not paper:
        return shrinking.pool()
    rate = shrinking.rate
    return nn.MaxPool2d(3, shrinking.halve(), dilation=rate)
