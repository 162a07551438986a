"""A batch from its views: kernels write them into it in one pass, with light, colour and normalisation.

Where there are no kernels, or for few pixels, views are cut, normalised and recoloured by torch, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.data.transforms import ColorChange, View, cut
from pixelwise.ops import native
from pixelwise.ops.standardize import mean_and_scale, standardize
from pixelwise.types import Image, Labels, Normalization

Pair = tuple[Image, Labels]

_WORTH = 1 << 19  # values of a batch from which the kernels are used: loading them takes up to a second
_ROWS = 64  # of a view that a thread takes at a time
_TYPES = ("uint8", "uint16", "float32")


def assemble(
    pairs: Sequence[Pair],
    views: Sequence[View],
    size: tuple[int, int],
    normalization: Normalization,
    change: ColorChange,
) -> tuple[Tensor, Tensor]:
    """Normalised images float32 [N, C, *size], channels last in memory, and labels uint8 [N, *size].

    Args:
        pairs: Images [H, W, C] and labels [H, W], contiguous; all of the same bands.
        views: One for each.
        size: Rows and columns.
        normalization: Per band.
        change: Light and colour of each image.
    """
    bands = pairs[0][0].shape[2]
    kernels = None
    if len(pairs) * size[0] * size[1] * bands >= _WORTH and all(
        image.dtype.name in _TYPES for image, _ in pairs
    ):
        kernels = native.load("view_kernels")
    if kernels is None:
        return _plain(pairs, views, size, normalization, change)
    images: NDArray[np.float32] = np.empty((len(pairs), *size, bands), np.float32)
    labels: Labels = np.empty((len(pairs), *size), np.uint8)
    mean, scale = (np.asarray(tensor.flatten()) for tensor in mean_and_scale(normalization))
    works = [
        _work(kernels, pair, view, _colors(mean, scale, *one), (image, truth))
        for pair, view, one, image, truth in zip(
            pairs, views, zip(change.gain, change.shift, strict=True), images, labels, strict=True
        )
    ]
    starts = range(0, size[0], _ROWS)

    def work(piece: int) -> None:
        image, start = piece // len(starts), starts[piece % len(starts)]
        kernel, arguments = works[image]
        kernel(*arguments, start, min(start + _ROWS, size[0]))

    native.share(work, len(works) * len(starts))
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def _plain(
    pairs: Sequence[Pair],
    views: Sequence[View],
    size: tuple[int, int],
    normalization: Normalization,
    change: ColorChange,
) -> tuple[Tensor, Tensor]:
    """The same by torch."""
    fill = torch.tensor(normalization.mean, dtype=torch.float32)  # 0 once normalised
    cuts = [cut(*pair, view, size, fill) for pair, view in zip(pairs, views, strict=True)]
    images = standardize(torch.stack([image for image, _ in cuts]), *mean_and_scale(normalization))
    images = change.apply(images).contiguous(memory_format=torch.channels_last)
    return images, torch.stack([truth for _, truth in cuts])


def _colors(
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    gain: NDArray[np.float32],
    shift: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Factor, summand and outside value of each band: (value - mean) * scale * gain + shift."""
    return np.stack([scale * gain, shift - mean * scale * gain, shift + 0 * mean]).astype(np.float32)


def _work(
    kernels: ModuleType, pair: Pair, view: View, colors: NDArray[np.float32], into: tuple[Any, Any]
) -> tuple[Any, tuple[Any, ...]]:
    """The kernel for a view, and what it takes."""
    (a, b), (c, d) = view.matrix
    rows, columns = into[1].shape
    image, labels = pair
    if b == c == 0:
        tables = (
            *_neighbours(a, view.center[0], rows, image.shape[0]),
            *_neighbours(d, view.center[1], columns, image.shape[1]),
        )
        return kernels.upright, (image, labels, *tables, colors, *into)
    y = view.center[0] - 0.5 - a * (rows - 1) / 2 - b * (columns - 1) / 2
    x = view.center[1] - 0.5 - c * (rows - 1) / 2 - d * (columns - 1) / 2
    return kernels.turned, (image, labels, np.array([a, b, c, d, y, x], np.float32), colors, *into)


def _neighbours(
    step: float, center: float, count: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The two pixels beside each position along one axis, -1 outside of the image, and the share of the second."""
    at = step * (np.arange(count) - (count - 1) / 2) + (center - 0.5)
    outside = (at < -0.5) | (at > limit - 0.5)
    at = np.clip(at, 0, limit - 1)
    first = at.astype(np.int64)
    shares = (at - first).astype(np.float32)
    return np.where(outside, -1, np.stack([first, np.minimum(first + 1, limit - 1)])), shares
