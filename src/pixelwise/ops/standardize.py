"""From the values of image files to what networks take."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.types import Normalization


def standardize(images: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """(images - mean) * scale per band: [N, C, H, W] of any type to float32, channels last in memory."""
    images = images.to(dtype=torch.float32, memory_format=torch.channels_last)
    return (images - mean) * scale


def mean_and_scale(normalization: Normalization) -> tuple[Tensor, Tensor]:
    """Mean and 1 / std as [1, C, 1, 1].

    >>> [t.flatten().tolist() for t in mean_and_scale(Normalization((3.0,), (2.0,)))]
    [[3.0], [0.5]]
    """
    mean = torch.tensor(normalization.mean, dtype=torch.float32).reshape(1, -1, 1, 1)
    std = torch.tensor(normalization.std, dtype=torch.float32).reshape(1, -1, 1, 1)
    return mean, 1 / std
