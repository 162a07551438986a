"""An autoencoder: an encoder, a code, and a way back to the image without any shortcut around the code.

Hinton, Salakhutdinov: Reducing the Dimensionality of Data with Neural Networks, 2006
(https://doi.org/10.1126/science.1127647); denoising: Vincent et al.: Extracting and Composing Robust Features with
Denoising Autoencoders, 2008 (https://doi.org/10.1145/1390156.1390294). Departures: convolutions throughout, trained
in one go.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.blocks import ConvNormAct, Upsample
from pixelwise.models.interfaces import Encoder, Upsampling
from pixelwise.models.network import Network
from pixelwise.ops.resize import pad_to_multiple
from pixelwise.types import ClassSpec, Normalization


@dataclass(frozen=True)
class AutoencoderOptions:
    """The dials of an autoencoder.

    Attributes:
        code: Channels of the code, which has one pixel per stride of the encoder. Fewer values than the image has
            make it undercomplete: it must leave something out. More make it overcomplete: it could copy.
        noise: Standard deviation, in standard deviations of the data, of the noise added to the input in training;
            the target stays clean. 0 is a plain autoencoder.
        width: Channels of the last block on the way back; each coarser one has twice as many, at most 256.
        upsampling: How a block doubles its map; `unpool` would carry switches around the code and is refused.
        encoder_width: Multiplies every width of the encoder; 1 is the paper's.
    """

    code: int = 64
    noise: float = 0.0
    width: int = 32
    upsampling: Upsampling = "nearest"
    encoder_width: float = 1.0

    def __post_init__(self) -> None:
        if self.code < 1 or self.width < 1:
            raise OptionError(f"code is {self.code}, width is {self.width}", remedy="give 1 or more")
        if not 0 <= self.noise <= 10:
            raise OptionError(f"noise is {self.noise}", remedy="give a number in 0..10")
        if self.upsampling == "unpool":
            raise OptionError(
                "unpool would carry positions around the code", remedy="give nearest, bilinear or transposed"
            )
        if not 0 < self.encoder_width <= 8:
            raise OptionError(
                f"encoder_width is {self.encoder_width}", remedy="give a number in 0..8, above 0"
            )


class Autoencoder(Network):
    """Images to images of the same size, through a code."""

    task = "reconstruct"
    options: AutoencoderOptions

    def __init__(
        self,
        encoder: Encoder,
        *,
        encoder_name: str,
        classes: tuple[ClassSpec, ...],
        normalization: Normalization,
        options: AutoencoderOptions,
    ) -> None:
        super().__init__(
            encoder, names=("autoencoder", encoder_name), classes=classes, normalization=normalization
        )
        self.options = options
        self.code = nn.Conv2d(encoder.levels[-1].channels, options.code, 1)
        doublings = self.stride.bit_length() - 1
        widths = [min(256, options.width * 2**power) for power in reversed(range(max(1, doublings)))]
        layers: list[nn.Module] = []
        channels = options.code
        for width in widths:
            if doublings:
                upsample = Upsample(options.upsampling, channels, outputs=width)
                layers.append(upsample)
                channels = upsample.channels
            layers.append(ConvNormAct(channels, width))
            channels = width
        self.decoder = nn.Sequential(*layers)
        self.head = nn.Conv2d(channels, self.bands, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, C, H, W] to their reconstruction [N, C, H, W], normalised too."""
        self.check(images)
        restored: Tensor = self.head(self.decoder(self.encode(images)))
        return restored[..., : images.shape[-2], : images.shape[-1]]

    def encode(self, images: Tensor) -> Tensor:
        """The code [N, code, H / stride, W / stride], H and W rounded up to multiples of the stride."""
        code: Tensor = self.code(self.encoder(pad_to_multiple(images, self.stride))[-1])
        return code

    def restore(self, images: Tensor) -> Tensor:
        """`forward` in the units of the image files: values [N, C, H, W] in, values out."""
        normalised = self(self.prepare(images))
        return torch.addcmul(self.mean.view(1, -1, 1, 1), normalised, 1 / self.scale.view(1, -1, 1, 1))

    @property
    def code_share(self) -> Fraction:
        """Values in the code for each value in the image; below 1 is undercomplete."""
        return Fraction(self.options.code, self.bands * self.stride**2)
