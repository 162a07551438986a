"""One label per image: an encoder and a dense head."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.interfaces import Encoder
from pixelwise.models.network import Network
from pixelwise.ops.resize import pad_to_multiple, resize
from pixelwise.types import ClassSpec, Normalization


@dataclass(frozen=True)
class ClassifierOptions:
    """The dials of a classifier.

    Attributes:
        head: `pool` averages the deepest map over the image and adds one dense layer; `flatten` gives every place
            of the map its own weights; `paper` is the head its encoder was published with.
        size: Height and width of the images; others are resampled to it. `flatten` needs it, and so do the dense
            layers of LeNet; None takes images as they are.
        auxiliary: Train the classifiers on middle maps too that the encoder's paper has (GoogLeNet); with head `paper`.
        dropout: Share of the head's inputs dropped, 0..1.
        encoder_width: Multiplies every width of the encoder; 1 is the paper's.
    """

    head: Literal["pool", "flatten", "paper"] = "pool"
    size: tuple[int, int] | None = None
    auxiliary: bool = False
    dropout: float = 0.0
    encoder_width: float = 1.0

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise OptionError(f"size is {self.size}", remedy="give a positive height and width")
        if self.auxiliary and self.head != "paper":
            raise OptionError(
                f"auxiliary classifiers with the head {self.head!r}", remedy="choose the head `paper`"
            )
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout is {self.dropout}", remedy="give a number in 0..1, below 1")
        if not 0 < self.encoder_width <= 8:
            raise OptionError(
                f"encoder_width is {self.encoder_width}", remedy="give a number in 0..8, above 0"
            )


class Classifier(Network):
    """Images to one logit per class."""

    task = "classify"
    options: ClassifierOptions

    def __init__(
        self,
        encoder: Encoder,
        *,
        encoder_name: str,
        classes: tuple[ClassSpec, ...],
        normalization: Normalization,
        options: ClassifierOptions,
    ) -> None:
        names = (f"{options.head} head", encoder_name)
        super().__init__(encoder, names=names, classes=classes, normalization=normalization)
        self.options = options
        self.head = self._head(encoder, len(classes))
        self.auxiliary = encoder.auxiliary_heads(len(classes)) if options.auxiliary else nn.ModuleDict()
        if options.auxiliary and not len(self.auxiliary):
            raise OptionError(
                f"{encoder_name} has no auxiliary classifiers", remedy="leave them out, or choose googlenet"
            )

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, C, H, W] to logits [N, K]."""
        self.check(images)
        logits: Tensor = self.head(self.encoder(self.fitted(images))[-1])
        return logits

    def every(self, images: Tensor) -> list[Tensor]:
        """All logits that training judges: those of `forward`, then those of the auxiliary classifiers."""
        maps, middle = self.encoder.with_auxiliary(self.fitted(images))
        heads = zip(self.auxiliary.values(), middle, strict=True) if len(self.auxiliary) else ()
        return [self.head(maps[-1]), *(head(part) for head, part in heads)]

    def fitted(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in the size that the encoder takes; papers take them without padding."""
        if self.options.size is not None:
            images = resize(images, self.options.size)
        as_published = self.options.head == "paper" and not self.encoder.counts_places
        as_published &= min(images.shape[-2:]) >= 2 * self.stride
        return images if as_published else pad_to_multiple(images, self.stride)

    def _head(self, encoder: Encoder, classes: int) -> nn.Module:
        options = self.options
        if options.head == "paper":
            return encoder.paper_head(classes, options.size)
        dropout = nn.Dropout(options.dropout)
        if options.head == "pool":
            channels = encoder.levels[-1].channels
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), dropout, nn.Linear(channels, classes))
        if options.size is None:
            raise OptionError(
                "a flattened head has one weight per place and needs the size of the images",
                remedy="give classifier.size, or choose the head `pool`",
            )
        return nn.Sequential(nn.Flatten(), dropout, nn.Linear(_values(encoder, self, options.size), classes))


def _values(encoder: Encoder, network: Network, size: tuple[int, int]) -> int:
    """How many values the deepest map has for images of `size`, from a run without memory."""
    shapes = copy.deepcopy(encoder).to("meta").eval()
    image = torch.empty(1, network.bands, *size, device="meta")
    return int(shapes(pad_to_multiple(image, network.stride))[-1].numel())
