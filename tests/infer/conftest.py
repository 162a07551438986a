"""What tests of prediction share: a model whose classes all win somewhere, and the image that it was balanced on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build
from pixelwise.types import Image


@pytest.fixture(scope="session")
def picture() -> Callable[[int, int], Image]:
    """Random images of blocks of 8 x 8 pixels, for one size always the same."""

    def blocks(height: int, width: int) -> Image:
        shape = (-(-height // 8), -(-width // 8), 3)
        small = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return np.kron(small, np.ones((8, 8, 1), np.uint8))[:height, :width]

    return blocks


@pytest.fixture
def model(picture: Callable[[int, int], Image]) -> Segmenter:
    torch.manual_seed(0)
    net = build("unet", classes=3, options=NetworkOptions(decoder_channels=(8, 8))).eval()
    image = torch.from_numpy(picture(96, 96)).permute(2, 0, 1)[None]
    with torch.no_grad():
        std, mean = torch.std_mean(net(net.prepare(image)), dim=(0, 2, 3))
        net.head.weight *= 2 / std[:, None, None, None]
        net.head.bias.copy_((net.head.bias - mean) * 2 / std)
    return net
