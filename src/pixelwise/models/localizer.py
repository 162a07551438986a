"""One class and one box per image: the small step from classification towards detection.

Sermanet et al.: OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks, 2013
(https://arxiv.org/abs/1312.6229). Departures: one box for the image, from one dense layer on the deepest map.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pixelwise.errors import OptionError
from pixelwise.models.interfaces import Encoder
from pixelwise.models.network import Network
from pixelwise.types import ClassSpec, Normalization

PLACES = 4  # rows and columns of the averaged map: a plain average would forget where things are


@dataclass(frozen=True)
class LocalizerOptions:
    """The dials of a localizer.

    Attributes:
        background: Index of the class that is no object; None if every class is one.
        dropout: Share of the head's inputs dropped, 0..1.
        encoder_width: Multiplies every width of the encoder; 1 is the paper's.
    """

    background: int | None = 0
    dropout: float = 0.0
    encoder_width: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout is {self.dropout}", remedy="give a number in 0..1, below 1")
        if not 0 < self.encoder_width <= 8:
            raise OptionError(
                f"encoder_width is {self.encoder_width}", remedy="give a number in 0..8, above 0"
            )


class Localizer(Network):
    """Images to one logit per class, and the box of the object as fractions of the image."""

    task = "localize"
    options: LocalizerOptions

    def __init__(
        self,
        encoder: Encoder,
        *,
        encoder_name: str,
        classes: tuple[ClassSpec, ...],
        normalization: Normalization,
        options: LocalizerOptions,
    ) -> None:
        names = ("class and box head", encoder_name)
        super().__init__(encoder, names=names, classes=classes, normalization=normalization)
        self.options = options
        values = encoder.levels[-1].channels * PLACES**2
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(PLACES), nn.Flatten(), nn.Dropout(options.dropout))
        self.head = nn.Linear(values, len(classes))
        # no sigmoid: of so many inputs it saturates in one step and learns no more
        self.box = nn.Linear(values, 4)
        nn.init.zeros_(self.box.weight)
        nn.init.constant_(self.box.bias, 0.5)  # the middle half of the image

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images [N, C, H, W] to logits [N, K] and boxes [N, 4].

        A box is (centre row, centre column, height, width), each in 0..1 of the image, but for a network that errs.
        """
        self.check(images)
        values = self.pool(self.deepest(images))
        return self.head(values), self.box(values)
