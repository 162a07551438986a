"""Encoder, decoder and head as one network that knows its classes and its preprocessing."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.interfaces import Decoder, Encoder, NetworkOptions
from pixelwise.ops.resize import pad_to_multiple, resize
from pixelwise.ops.standardize import mean_and_scale, standardize
from pixelwise.types import ClassSpec, Normalization


class Segmenter(nn.Module):
    """Images to per-pixel logits of the same height and width.

    Attributes:
        name: Decoder and network name, such as `unet`.
        encoder_name: Such as `resnet18`.
        classes: Names and colours; the index of a class is its position.
        bands: Bands of the images it takes.
        normalization: Applied by `prepare`.
        options: How it was built.
    """

    facts: object | None = None  # what its bundle says beyond the network: split, precision, training

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        *,
        names: tuple[str, str],
        classes: tuple[ClassSpec, ...],
        normalization: Normalization,
        options: NetworkOptions,
    ) -> None:
        super().__init__()
        self.name, self.encoder_name = names
        self.classes = classes
        self.bands = normalization.bands
        self.normalization = normalization
        self.options = options
        self.stride = encoder.levels[-1].stride
        self.encoder = encoder
        self.decoder = decoder
        self.dropout = nn.Dropout2d(options.dropout)
        self.head = nn.Conv2d(decoder.level.channels, 1 if options.one_logit else len(classes), 3, padding=1)
        mean, scale = mean_and_scale(normalization)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.mean: Tensor
        self.scale: Tensor

    @property
    def one_logit(self) -> bool:
        """Whether two classes share one logit."""
        return self.options.one_logit

    def prepare(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in the units of their files to normalised float32, channels last in memory."""
        return standardize(images, self.mean, self.scale)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, C, H, W], any H, W >= 1, to logits [N, K, H, W]; K = 1 with `one_logit`."""
        return resize(self.core(images), self.padded(images))[..., : images.shape[-2], : images.shape[-1]]

    def core(self, images: Tensor) -> Tensor:
        """Logits [N, K, h, w] at the decoder's own stride, of the image padded to a multiple of the stride."""
        features = self.encoder(pad_to_multiple(images, self.stride))
        logits: Tensor = self.head(self.dropout(self.decoder(features)))
        return logits

    def padded(self, images: Tensor) -> tuple[int, int]:
        """Height and width after padding to a multiple of the encoder's stride."""
        height, width = images.shape[-2:]
        return height + -height % self.stride, width + -width % self.stride
