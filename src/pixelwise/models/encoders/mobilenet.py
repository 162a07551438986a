"""MobileNet. Howard, Zhu, Chen, Kalenichenko et al.: MobileNets: Efficient CNNs for Mobile Vision Applications, 2017.

https://arxiv.org/abs/1704.04861

Layers carry the names of Keras and TensorFlow.js (`conv_dw_1`, `conv_pw_1_bn`), inside `features`, and `width` is the
paper's width multiplier. Departures, as in the published weights: ReLU stops at 6, batch normalisation adds
1e-3 to variances, and convolutions of stride 2 have their padding at the bottom and right only, which for even sizes
gives exactly H / stride; so `paper` and `aligned` padding are the same. Those weights expect images scaled to
-1..1 (mean and deviation 127.5 per band in 0..255).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from pixelwise.models.blocks import scaled
from pixelwise.models.encoders.rules import Shrinking, initialize, refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level
from pixelwise.ops.depthwise import DepthwiseConv

# width of the thirteen separable convolutions, table 1 of the paper
WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
HALVING = (2, 4, 6, 12)


class MobileNetV1(Encoder):
    """Maps before each halving, at strides 2 to 16, and the last one at stride 32."""

    stem = "features.conv1"

    def __init__(self, bands: int, options: EncoderOptions) -> None:
        super().__init__()
        refuse_valid("mobilenet_v1", options)
        shrinking = Shrinking(options.output_stride)
        channels = scaled(32, options.width)
        layers = _unit("conv1", bands, channels, shrinking, halves=True)
        levels = OrderedDict[str, Level]()
        for number, width in enumerate(WIDTHS, 1):
            if number in HALVING:
                levels[f"conv_pw_{number - 1}_relu"] = Level(channels, shrinking.stride)
            inputs, channels = channels, scaled(width, options.width)
            halves = number in HALVING
            layers |= _unit(f"conv_dw_{number}", inputs, inputs, shrinking, halves=halves, groups=inputs)
            layers |= _unit(f"conv_pw_{number}", inputs, channels, shrinking, kernel=1)
        levels["conv_pw_13_relu"] = Level(channels, shrinking.stride)
        self.features = nn.Sequential(layers)
        self.levels = tuple(levels.values())
        self._taps = tuple(levels)
        initialize(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to five maps; H and W are multiples of 32."""
        maps = []
        x = images
        for name, layer in self.features.named_children():
            x = layer(x)
            if name in self._taps:
                maps.append(x)
        return maps

    def paper_head(self, classes: int, size: tuple[int, int] | None = None) -> nn.Module:
        """Global average pooling, dropout of 0.001 and one dense layer."""
        layers = OrderedDict[str, nn.Module](
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(0.001),
            conv_preds=nn.Linear(self.levels[-1].channels, classes),
        )
        return nn.Sequential(layers)


def _unit(
    name: str,
    inputs: int,
    outputs: int,
    shrinking: Shrinking,
    *,
    kernel: int = 3,
    halves: bool = False,
    groups: int = 1,
) -> OrderedDict[str, nn.Module]:
    """Convolution, normalisation and activation, with padding after the edge where the convolution halves."""
    rate = shrinking.rate
    stride = shrinking.halve() if halves else 1
    layers = OrderedDict[str, nn.Module]()
    around = kernel // 2 * rate
    if halves:
        # a window that begins at an even pixel ends outside by one, and by two with stride 1
        beyond = 1 if stride == 2 else 2 * rate
        layers[f"{name}_pad"] = nn.ZeroPad2d((0, beyond, 0, beyond))
        around = 0
    convolution = DepthwiseConv if groups > 1 else nn.Conv2d
    layers[name] = convolution(
        inputs, outputs, kernel, stride=stride, padding=around, dilation=rate, groups=groups, bias=False
    )
    layers[f"{name}_bn"] = nn.BatchNorm2d(outputs, eps=1e-3)
    layers[f"{name}_relu"] = nn.ReLU6(inplace=True)
    return layers
