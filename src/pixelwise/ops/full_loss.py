"""The sums of a loss from bfloat16 logits at full size, in one pass over them and one for their gradient."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.ops import native
from pixelwise.ops.maps import bits_of, empty_map

_PIECES = 16  # per image, whose sums are added in a fixed order: the same on any number of threads


class Judgement(NamedTuple):
    """What logits are judged by: labels [N, H, W], class weights [256] and how."""

    kernels: ModuleType
    labels: NDArray[np.uint8]
    weights: NDArray[np.float32]
    smoothing: float
    overlaps: bool


class _FullSums(torch.autograd.Function):
    """The kernels as an operation with a gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, judge: Judgement) -> tuple[Tensor, ...]:
        count, classes = logits.shape[:2]
        bits = bits_of(logits).reshape(count, logits.shape[2], -1)
        _, height, width = judge.labels.shape
        tile = judge.kernels.TILE
        lse = np.empty((count, height, -(-width // tile) * tile), np.float32)
        parts = np.zeros((count, _PIECES, 4, classes))

        def work(piece: int) -> None:
            image, place = divmod(piece, _PIECES)
            judge.kernels.sums(
                bits[image], classes, judge.labels[image], judge.weights, judge.smoothing, judge.overlaps,
                lse[image], parts[image, place], *_rows(place, height),
            )  # fmt: skip

        native.share(work, count * _PIECES)
        ctx.save_for_backward(logits)
        ctx.judge, ctx.lse = judge, lse
        return results_of(ctx, parts)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        judge = ctx.judge
        (logits,) = ctx.saved_tensors
        count, classes, height = logits.shape[:3]
        down = empty_map(*logits.shape)
        bits, into = (bits_of(one).reshape(count, height, -1) for one in (logits, down))
        weights = judge.weights * upstream[0].numpy()
        slopes = torch.stack([upstream[2], upstream[3]]).float().contiguous().numpy()

        def work(piece: int) -> None:
            image, place = divmod(piece, _PIECES)
            judge.kernels.gradient(
                bits[image], classes, judge.labels[image], weights, judge.smoothing, judge.overlaps,
                ctx.lse[image], slopes, into[image], *_rows(place, height),
            )  # fmt: skip

        native.share(work, count * _PIECES)
        return down, None


def results_of(ctx: Any, parts: NDArray[np.float64]) -> tuple[Tensor, ...]:
    """The fields of `PixelSums` from what kernels have added up in parts [N, pieces, 4, K]."""
    out = torch.from_numpy(parts.sum(axis=(0, 1))).float()
    results = (out[3, 0].clone(), out[3, 1].clone(), *(row.clone() for row in out[:3]))
    ctx.mark_non_differentiable(results[1], results[4])
    return results


def full_sums(logits: Tensor, judge: Judgement) -> tuple[Tensor, ...]:
    """Logits [N, K, H', W'], channels last, that begin where the labels do and may go beyond: as `PixelSums`."""
    sums: tuple[Tensor, ...] = _FullSums.apply(logits, judge)  # type: ignore[no-untyped-call]
    return sums


def _rows(place: int, height: int) -> tuple[int, int]:
    return place * height // _PIECES, (place + 1) * height // _PIECES
