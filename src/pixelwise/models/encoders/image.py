"""The image itself. Farabet, Couprie, Najman, LeCun: Learning Hierarchical Features for Scene Labeling, 2013.

https://doi.org/10.1109/TPAMI.2012.231

No layer at all: for decoders that work at full resolution from the first layer on, as the first networks for
segmentation did. Departures: nothing of the paper is here but that idea.
"""

from __future__ import annotations

from torch import Tensor

from pixelwise.models.encoders.rules import refuse_valid
from pixelwise.models.interfaces import Encoder, EncoderOptions, Level


class ImageEncoder(Encoder):
    """One level, the image; neither width nor output stride changes anything, and there is no `stem`."""

    stem = ""

    def __init__(self, bands: int, options: EncoderOptions) -> None:
        super().__init__()
        refuse_valid("the encoder image", options)
        self.levels = (Level(bands, 1),)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, bands, H, W] as the only map."""
        return [images]
