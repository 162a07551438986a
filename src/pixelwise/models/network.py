"""What every network of a task knows: its classes, its bands, and how its images are normalised."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from pixelwise.errors import DataError
from pixelwise.models.interfaces import Encoder
from pixelwise.ops.resize import pad_to_multiple
from pixelwise.ops.standardize import mean_and_scale, standardize
from pixelwise.types import ClassSpec, Normalization

TaskName = Literal["segment", "classify", "reconstruct", "localize"]


class Network(nn.Module):
    """An encoder and what a task puts on it.

    Attributes:
        task: What it answers: `segment` a class per pixel, `classify` one per image, `reconstruct` the image
            itself, `localize` one class and one box.
        name: The part on the encoder, such as `unet`.
        encoder_name: Such as `resnet18`.
        classes: Names and colours; the index of a class is its position.
        bands: Bands of the images it takes.
        normalization: Applied by `prepare`.
        options: How it was built.
        digest: SHA-256 in the bundle that it was loaded from; empty otherwise.
    """

    task: ClassVar[TaskName]
    options: Any
    digest: str = ""
    facts: object | None = None  # what its bundle says beyond the network: split, precision, training

    def __init__(
        self,
        encoder: Encoder,
        *,
        names: tuple[str, str],
        classes: tuple[ClassSpec, ...],
        normalization: Normalization,
    ) -> None:
        super().__init__()
        self.name, self.encoder_name = names
        self.classes = classes
        self.bands = normalization.bands
        self.normalization = normalization
        self.stride = encoder.multiple
        self.encoder = encoder
        mean, scale = mean_and_scale(normalization)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.mean: Tensor
        self.scale: Tensor

    def prepare(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in the units of their files to normalised float32, channels last in memory.

        Raises:
            DataError: other bands than the network's, or no pixel.
        """
        self.check(images)
        return standardize(images, self.mean, self.scale)

    def check(self, images: Tensor) -> None:
        """Refuse what is no batch of images [N, C, H, W] of this network's bands: it would fail deep inside, or not.

        Raises:
            DataError: with what was given and what is taken.
        """
        if images.ndim != 4 or images.shape[1] != self.bands or 0 in images.shape[2:]:
            raise DataError(
                f"images of shape {tuple(images.shape)}",
                remedy=f"this network takes [N, {self.bands}, H, W]: {self.bands} bands, H and W of 1 or more",
            )

    def deepest(self, images: Tensor) -> Tensor:
        """The encoder's last map [N, C, h, w] of images padded to a multiple of its stride."""
        maps: list[Tensor] = self.encoder(pad_to_multiple(images, self.stride))
        return maps[-1]
