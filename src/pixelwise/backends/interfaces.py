"""What a backend is: fitted, normalised images in, logits at the decoder's stride out."""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Tensor, nn

from pixelwise.models.segmenter import Segmenter

Precision = Literal["float32", "bfloat16"]


class Backend(Protocol):
    """A segmenter's arithmetic, prepared once.

    Attributes:
        name: As `--engine` has it.
        seconds: How long preparing it took.
    """

    name: str
    seconds: float

    def __call__(self, images: Tensor) -> Tensor:
        """Normalised float32 images [N, C, H, W], sizes as the model's frame fits them, to logits [N, K, h, w]."""
        ...


class LowResolution(nn.Module):
    """The part of a segmenter between its frame and its full-size logits, as a module of its own."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Fitted images [N, C, H, W] to logits [N, K, h, w]."""
        return self.model.low(images)
