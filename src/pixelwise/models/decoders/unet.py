"""U-Net. Ronneberger, Fischer, Brox: Convolutional Networks for Biomedical Image Segmentation, 2015.

https://arxiv.org/abs/1505.04597

Departures: any encoder in place of the contracting path, same padding, batch normalisation and interpolation
instead of transposed convolution, as is customary now; with ResNet18 the layers and parameter counts equal those
of segmentation_models_pytorch's `Unet`. The paper's network is encoder `unet` with widths 512, 256, 128, 64, norm
`none`, upsampling `transposed`, a last convolution of 1 x 1, and padding `valid`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.blocks import ConvNormAct, Crop, SqueezeExcitation, Upsample, image_pool
from pixelwise.models.decoders.levels import by_stride, need_halving, need_widths
from pixelwise.models.interfaces import Decoder, Level, NetworkOptions
from pixelwise.ops.join import doubled_convolution


class UpBlock(nn.Module):
    """Double the map, join it with the encoder's map of that size, convolve.

    `skip` is the number of channels of that map, 0 where there is none, and `crop` how many of its pixels are cut
    off on every side; `pool` is what squeeze-and-excitation averages with.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        options: NetworkOptions,
        *,
        skip: int,
        crop: int = 0,
        convolutions: int = 2,
        pool: nn.Module,
    ) -> None:
        super().__init__()
        self.upsample = Upsample(options.upsampling or "nearest", inputs, outputs=outputs, guide=skip)
        self.crop = Crop(crop)
        padding = 0 if options.padding == "valid" else None
        widths = [self.upsample.channels + skip] + [outputs] * convolutions
        self.convolutions = nn.Sequential(
            *(
                ConvNormAct(before, after, norm=options.norm, padding=padding)
                for before, after in pairwise(widths)
            )
        )
        self.weigh = SqueezeExcitation(outputs, pool=pool) if options.squeeze_excitation else nn.Identity()

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """[N, inputs, H, W] and [N, skip, 2 H, 2 W] to [N, outputs, 2 H, 2 W]."""
        beside = None if skip is None else self.crop(skip)
        first, *others = self._layers()
        if self.training and self.folds:
            weights = self.convolution.weight, self.convolution.bias
            x = first.finish(doubled_convolution(x, beside, *weights))
        else:
            x = first(self.upsample(x, beside, join=True))
        for layer in others:
            x = layer(x)
        joined: Tensor = self.weigh(x)
        return joined

    def _layers(self) -> list[ConvNormAct]:
        return list(self.convolutions)  # type: ignore[arg-type]  # torch knows them as modules

    @property
    def convolution(self) -> nn.Conv2d:
        """The first one."""
        found: nn.Conv2d = self.convolutions[0][0]  # type: ignore[index]  # of a ConvNormAct
        return found

    @property
    def folds(self) -> bool:
        """Whether it can be taken together with the doubling before it."""
        same = self.convolution.kernel_size == (3, 3) and self.convolution.padding == (1, 1)
        return self.upsample.mode == "nearest" and same


class UNet(Decoder):
    """The expanding path: one block per doubling, coarse to fine, with a skip wherever the encoder has that size."""

    dials = frozenset(
        {"decoder_channels", "upsampling", "squeeze_excitation", "head_kernel", "padding", "pooling_window"}
    )
    convolutions: ClassVar[int] = 2
    widths: ClassVar[tuple[int, ...]] = (256, 128, 64, 32, 16)

    def __init__(self, levels: Sequence[Level], options: NetworkOptions, outputs: int) -> None:
        super().__init__(levels, options, outputs)
        need_halving("a U-Net", levels)
        valid = options.padding == "valid"
        if valid and not levels[0].margin:
            raise OptionError(
                "valid padding needs an encoder that pads nothing either", remedy="choose the encoder unet"
            )
        deepest = levels[-1]
        channels, stride, margin = deepest.channels, deepest.stride, deepest.margin
        places = by_stride(levels)
        self.places: list[int | None] = []
        self.blocks = nn.ModuleList()
        for width in self._widths(levels, options):
            stride //= 2
            place = places.get(stride)
            skip = Level(0, stride, margin=margin) if place is None else levels[place]
            crop = (margin - skip.margin) // stride
            self.blocks.append(
                UpBlock(
                    channels,
                    width,
                    options,
                    skip=skip.channels,
                    crop=crop,
                    convolutions=self.convolutions,
                    pool=image_pool(options.pooling_window, cell=deepest.stride, stride=stride),
                )
            )
            self.places.append(place)
            channels = width
            margin += self.convolutions * stride if valid else 0
        kernel = options.head_kernel or 3
        self.dropout = nn.Dropout2d(options.dropout)
        self.head = nn.Conv2d(channels, outputs, kernel, padding=0 if valid else kernel // 2)
        self.stride = stride
        self.margin = margin + kernel // 2 * stride if valid else 0

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's maps, finest first, to logits [N, outputs, H / stride, W / stride]."""
        x = features[-1]
        for place, block in zip(self.places, self.blocks, strict=True):
            x = block(x, None if place is None else features[place])
        logits: Tensor = self.head(self.dropout(x))
        return logits

    def _widths(self, levels: Sequence[Level], options: NetworkOptions) -> tuple[int, ...]:
        """As many as it takes to come back to stride 1 (for unpool: to the finest map), or what the options say."""
        doublings = levels[-1].stride.bit_length() - 1
        given = need_widths(options, 1, doublings, "one per doubling, coarse to fine")
        if given is not None:
            return given
        standard = (*self.widths[:1] * (doublings - len(self.widths)), *self.widths)[-doublings:]
        ends_early = levels[0].stride.bit_length() - 1 if options.upsampling == "unpool" else 0
        return standard[: doublings - ends_early]
