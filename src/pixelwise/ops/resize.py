"""The one interpolation convention, bilinear with align_corners=False; and padding."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample float maps [N, C, h, w] to [N, C, *size], bilinear, pixel centres aligned to the borders."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of [N, C, H, W] until H and W are multiples of `multiple`.

    Bottom and right only: coordinates never move, and cropping to H, W undoes it.

    >>> import torch
    >>> pad_to_multiple(torch.zeros(1, 3, 33, 1), 32).shape
    torch.Size([1, 3, 64, 32])
    """
    height, width = images.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if not below and not right:
        return images
    return F.pad(images, (0, right, 0, below), mode="replicate")
