"""Encoder and decoder as one network that knows its classes and its preprocessing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.models.framing import Frame, windows
from pixelwise.models.interfaces import Decoder, Encoder, NetworkOptions
from pixelwise.models.network import Network
from pixelwise.ops.resize import resize
from pixelwise.types import ClassSpec, Normalization

WINDOWS = 256  # of a sliding classifier, at a time


class Segmenter(Network):
    """Images to per-pixel logits of the same height and width.

    Attributes:
        frame: What the network is shown around the image.
        stride: Tiles cut at multiples of it are judged as in the whole image.
    """

    task = "segment"
    options: NetworkOptions

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
        super().__init__(encoder, names=names, classes=classes, normalization=normalization)
        self.options = options
        self.decoder = decoder
        if decoder.window is not None:
            self.stride = decoder.stride
        self.frame = Frame(self.stride, decoder.margin, encoder.levels[-1].margin)

    @property
    def head(self) -> nn.Module:
        """The last layer with weights, whose outputs are classes."""
        return self.decoder.head

    @property
    def one_logit(self) -> bool:
        """Whether two classes share one logit."""
        return self.options.one_logit

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, C, H, W], any H, W >= 1, to logits [N, K, H, W]; K = 1 with `one_logit`."""
        self.check(images)
        return self.full_size(self.judged(self.frame.framed(images)), images)

    def every(self, images: Tensor) -> list[Tensor]:
        """All logits [N, K, H, W] that training judges; the last one is `forward`'s."""
        return [self.full_size(logits, images) for logits in self.every_low(images)]

    def every_low(self, images: Tensor) -> list[Tensor]:
        """The same at the decoder's own stride; they span `frame.spanned(images)`."""
        framed = self.frame.framed(images)
        if self.decoder.window is not None:
            return [self.judged(framed)]
        return self.decoder.every(self.encoder(framed))

    def core(self, images: Tensor) -> Tensor:
        """Logits [N, K, h, w] at the decoder's own stride, of images fitted at the bottom and right edges.

        With `valid` padding they lack the margin; `forward` mirrors the image around it first.
        """
        return self.judged(self.frame.fitted(images))

    def full_size(self, logits: Tensor, images: Tensor) -> Tensor:
        """Logits at any stride to the height and width of `images`."""
        return resize(logits, self.frame.spanned(images))[..., : images.shape[-2], : images.shape[-1]]

    def judged(self, images: Tensor) -> Tensor:
        """Logits [N, K, h, w] at the decoder's own stride, of images that the frame has made to fit."""
        logits: Tensor
        if self.decoder.window is None:
            logits = self.decoder(self.encoder(images))
            return logits
        view = windows(images, *self.decoder.window)
        count, rows, columns = view.shape[:3]
        if self.training:  # in one go: batch normalisation sees all windows
            logits = self.decoder(self.encoder(view.flatten(0, 2)))
        else:
            places = torch.arange(count * rows * columns, device=images.device)
            parts = [
                view[part // (rows * columns), part // columns % rows, part % columns]
                for part in torch.split(places, WINDOWS)
            ]
            logits = torch.cat([self.decoder(self.encoder(part)) for part in parts])
        return logits.view(count, rows, columns, -1).permute(0, 3, 1, 2)
