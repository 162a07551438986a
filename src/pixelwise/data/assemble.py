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
    # (value - mean) * scale * gain + shift, as factor and summand; the outside is the mean
    summand = change.shift - mean * scale * change.gain
    colors = np.stack([scale * change.gain, summand, change.shift], axis=1)
    works = [_work(kernels, *one) for one in zip(pairs, views, colors, images, labels, strict=True)]
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


def _work(
    kernels: ModuleType, pair: Pair, view: View, colors: NDArray[np.float32], image: Image, truth: Labels
) -> tuple[Any, tuple[Any, ...]]:
    """The kernel for a view, and what it takes."""
    (a, b), (c, d) = view.matrix
    row, column = view.center
    if b == c == 0:
        return kernels.upright, (*pair, np.array([a, row, d, column]), colors, image, truth)
    affine = np.array(view.affine((truth.shape[0], truth.shape[1])), np.float32)
    return kernels.turned, (*pair, affine, colors, image, truth)
