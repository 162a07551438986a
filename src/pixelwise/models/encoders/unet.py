"""U-Net, contracting path. Ronneberger, Fischer, Brox: Convolutional Networks for Biomedical Image Segmentation, 2015.

https://arxiv.org/abs/1505.04597

Departures: same padding unless the options say `valid`, the normalisation of the options (the paper has none, and
then convolutions have biases), and no dropout at the end of the path.
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.blocks import ConvNormAct, scaled
from pixelwise.models.encoders.rules import Shrinking, initialize
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level

WIDTHS = (64, 128, 256, 512, 1024)


class UNetEncoder(Encoder):
    """Twice a 3 x 3 convolution at strides 1, 2, 4, 8 and 16, max pooling in between.

    With `valid` padding each convolution takes a row and a column from every side, so that maps are smaller than
    H / stride: an image of 572 x 572 gives 568, 280, 136, 64 and 28, and sizes must be 12 more than a
    multiple of 16 for every pooled map to be even.
    """

    stem = "stages.0.0.0"

    def __init__(self, bands: int, options: EncoderOptions) -> None:
        super().__init__()
        valid = options.padding == "valid"
        shrinking = Shrinking(options.output_stride)
        stages: list[nn.Module] = []
        pools: list[nn.Module] = []
        levels: list[Level] = []
        channels = bands
        margin = 0  # what two convolutions without padding take from every side, stage after stage
        for width in WIDTHS:
            if stages:
                stride, halves = shrinking.stride, shrinking.halve() == 2
                if valid and not halves:
                    raise OptionError(
                        "the encoder unet cannot dilate without padding",
                        remedy="leave out output_stride, or choose padding same",
                    )
                levels.append(Level(channels, stride, pooled=halves, margin=margin))
                pools.append(nn.MaxPool2d(2) if halves else nn.MaxPool2d(3, 1, padding=1))
            inputs, channels = channels, scaled(width, options.width)
            margin += 2 * shrinking.stride if valid else 0
            stages.append(_twice(inputs, channels, shrinking.rate, options))
        self.stages = nn.ModuleList(stages)
        self.pools = nn.ModuleList(pools)
        self.levels = (*levels, Level(channels, shrinking.stride, margin=margin))
        initialize(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] to five maps; H and W are multiples of 16."""
        maps = [self.stages[0](images)]
        for pool, stage in zip(self.pools, self.stages[1:], strict=True):
            maps.append(stage(pool(maps[-1])))
        return maps


def _twice(inputs: int, outputs: int, rate: int, options: EncoderOptions) -> nn.Sequential:
    padding = 0 if options.padding == "valid" else None
    first = ConvNormAct(inputs, outputs, dilation=rate, padding=padding, norm=options.norm)
    second = ConvNormAct(outputs, outputs, dilation=rate, padding=padding, norm=options.norm)
    return nn.Sequential(first, second)
