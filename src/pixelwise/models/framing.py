"""What a network is shown around an image: mirrored margins, and windows cut at a step.

Unpadded convolutions lose a margin on every side, which is mirrored around the image first; a classifier that is
slid over the image sees windows that reach beyond it, where its edge is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.ops.resize import pad_to_multiple


@dataclass(frozen=True)
class Frame:
    """Which sizes a network takes and what its logits span.

    Attributes:
        multiple: Height and width, less twice `deepest`, must be a multiple of it.
        margin: Image pixels that the logits lack on every side.
        deepest: Image pixels that the encoder's deepest map lacks on every side.
    """

    multiple: int
    margin: int = 0
    deepest: int = 0

    def fitted(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] made as large as the network wants them, at the bottom and right edges."""
        if not self.margin:
            return pad_to_multiple(images, self.multiple)
        height, width = images.shape[-2:]
        return mirrored(images, (0, self._size(height) - height), (0, self._size(width) - width))

    def framed(self, images: Tensor) -> Tensor:
        """Images fitted so that the logits span all of them: with mirrored margins where logits lack them."""
        if not self.margin:
            return self.fitted(images)
        return mirrored(images, *self.around(*images.shape[-2:]))

    def around(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels (before, after) that `framed` adds to the rows and to the columns of an image."""
        rows, columns = (
            (self.margin, self._size(side + 2 * self.margin) - side - self.margin) for side in (height, width)
        )
        return rows, columns

    def framed_pixels(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """What `framed` does, for arrays [N, H, W, C] of any type."""
        rows, columns = self.around(*pixels.shape[1:3])
        if not any((*rows, *columns)):
            return pixels
        return np.pad(pixels, ((0, 0), rows, columns, (0, 0)), mode="reflect" if self.margin else "edge")

    def spanned(self, images: Tensor) -> tuple[int, int]:
        """Height and width in image pixels of the logits of `framed(images)`, from the image's first pixel on."""
        height, width = (self._size(side + 2 * self.margin) - 2 * self.margin for side in images.shape[-2:])
        return height, width

    def _size(self, side: int) -> int:
        """The next size from `side` on that the network can take."""
        side = max(side, 2 * self.margin + 1)
        return side + (2 * self.deepest - side) % self.multiple


def mirrored(images: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Reflect images [N, C, H, W] at their edge pixels, (before, after) as many pixels, again and again if need be.

    >>> mirrored(torch.tensor([[[[1, 2, 3]]]]), (0, 0), (5, 1)).tolist()
    [[[[2, 1, 2, 3, 2, 1, 2, 3, 2]]]]
    """
    images = images.index_select(-2, _reflection(images.shape[-2], *rows, images.device))
    return images.index_select(-1, _reflection(images.shape[-1], *columns, images.device))


def _reflection(size: int, before: int, after: int, device: torch.device) -> Tensor:
    """Which of `size` pixels is seen at each position from -before to size + after."""
    period = max(1, 2 * (size - 1))
    places = torch.arange(-before, size + after, device=device) % period
    return torch.minimum(places, period - places) if size > 1 else places


def windows(images: Tensor, size: int, step: int) -> Tensor:
    """Windows of `size` pixels around each block of `step` pixels, as a view [N, rows, columns, C, size, size].

    Height and width of `images` [N, C, H, W] are multiples of `step`; beyond the image its edge is repeated.
    """
    before = (size - step) // 2
    for axis in (-2, -1):
        side = images.shape[axis]
        places = torch.arange(-before, side + size - step - before, device=images.device)
        images = images.index_select(axis, places.clamp(0, side - 1))
    return images.unfold(2, size, step).unfold(3, size, step).permute(0, 2, 3, 1, 4, 5)
