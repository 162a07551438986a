"""The published weights that can be asked for by name: where they lie, whose they are, under which licence.

Addresses and the beginnings of the SHA-256 are those of the publishers, who write the hash into the file's name.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pixelwise.models.zoo import IMAGENET
from pixelwise.types import Normalization

HALF = Normalization((127.5,) * 3, (127.5,) * 3)
TERMS = (
    "trained on ImageNet, whose own terms are for research; whether a use is allowed is the user's to judge"
)


@dataclass(frozen=True)
class Published:
    """Weights that can be had by name.

    Attributes:
        encoder: Whose they are.
        url: Where they lie.
        sha256: Beginning of the file's SHA-256, as its publisher writes it into the name.
        megabytes: Rough size, to know before it is fetched.
        licence: As its publisher states it.
        normalization: Of the images they were trained on, uint8.
    """

    encoder: str
    url: str
    sha256: str
    megabytes: int
    licence: str
    normalization: Normalization

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def _torchvision(
    encoder: str, file: str, megabytes: int, normalization: Normalization = IMAGENET
) -> Published:
    url = f"https://download.pytorch.org/models/{file}"
    sha256 = file.removesuffix(".pth").rpartition("-")[2]
    return Published(encoder, url, sha256, megabytes, "BSD-3-Clause (torchvision)", normalization)


PUBLISHED: dict[str, Published] = {
    "alexnet": _torchvision("alexnet", "alexnet-owt-7be5be79.pth", 233),
    "vgg16": _torchvision("vgg16", "vgg16-397923af.pth", 528),
    "vgg16_bn": _torchvision("vgg16_bn", "vgg16_bn-6c64b313.pth", 528),
    # torchvision re-scales its input to (v - 127.5) / 127.5 inside the network, for weights from TensorFlow
    "googlenet": _torchvision("googlenet", "googlenet-1378be20.pth", 50, HALF),
    "resnet18": _torchvision("resnet18", "resnet18-f37072fd.pth", 45),
    "resnet34": _torchvision("resnet34", "resnet34-b627a593.pth", 83),
    "resnet50": _torchvision("resnet50", "resnet50-0676ba61.pth", 98),
    "xception": Published(
        "xception",
        "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/xception-43020ad28.pth",
        "43020ad28",
        92,
        "Apache-2.0 (timm)",
        HALF,
    ),
}
