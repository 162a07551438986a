"""The sums of a loss from low-resolution logits, and their gradient, without logits at full size."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.ops.full_loss import Judgement, results_of
from pixelwise.ops.head_grid import Grid, Size, folded, grid_of, planes_of, share_bands


def low_sums(logits: Tensor, judge: Judgement, span: Size) -> tuple[Tensor, ...]:
    """As `PixelSums`, from float32 logits [N, K, h, w] that cover `span`, from the labels' first pixel on."""
    differentiated = logits.requires_grad and torch.is_grad_enabled()
    way = _Entropy if differentiated and not judge.overlaps else _Sums
    sums: tuple[Tensor, ...] = way.apply(logits, judge, span)  # type: ignore[no-untyped-call]
    return sums


class _Sums(torch.autograd.Function):
    """A pass for the sums, and another for their gradient: that of overlaps depends on what the sums came to."""

    @staticmethod
    def forward(ctx: Any, low: Tensor, judge: Judgement, span: Size) -> tuple[Tensor, ...]:
        grid = _grid(low, judge, span)
        planes, parts = planes_of(low, grid), _parts(low, grid)
        lse = np.empty((len(low), judge.labels.shape[1], len(grid.places), judge.kernels.TILE), np.float32)

        def work(image: int, start: int, stop: int) -> None:
            judge.kernels.sums(
                planes[image], judge.labels[image], *grid.tables, judge.weights, judge.smoothing, judge.overlaps,
                lse[image], parts[image, grid.bands.index((start, stop))], start, stop,
            )  # fmt: skip

        share_bands(grid, len(low), work)
        ctx.judge, ctx.grid, ctx.planes, ctx.lse = judge, grid, planes, lse
        return results_of(ctx, parts)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        judge, grid, planes = ctx.judge, ctx.grid, ctx.planes
        weights = judge.weights * upstream[0].numpy()
        slopes = torch.stack([upstream[2], upstream[3]]).float().contiguous().numpy()
        into, unused = np.zeros_like(planes), np.zeros((4, planes.shape[1]))

        def work(image: int, start: int, stop: int) -> None:
            judge.kernels.gradient(
                planes[image], judge.labels[image], *grid.tables, weights, judge.smoothing, judge.overlaps,
                ctx.lse[image], slopes, into[image], False, unused, start, stop,
            )  # fmt: skip

        share_bands(grid, len(planes), work, apart=True)
        return folded(into, grid).contiguous(), None, None


class _Entropy(torch.autograd.Function):
    """Cross-entropy alone: but for a factor its gradient is known with the sums, so that one pass makes both."""

    @staticmethod
    def forward(ctx: Any, low: Tensor, judge: Judgement, span: Size) -> tuple[Tensor, ...]:
        grid = _grid(low, judge, span)
        planes, parts = planes_of(low, grid), _parts(low, grid)
        into, slopes = np.zeros_like(planes), np.zeros((2, low.shape[1]), np.float32)
        lse = np.empty((0, 0, judge.kernels.TILE), np.float32)

        def work(image: int, start: int, stop: int) -> None:
            judge.kernels.gradient(
                planes[image], judge.labels[image], *grid.tables, judge.weights, judge.smoothing, False,
                lse, slopes, into[image], True, parts[image, grid.bands.index((start, stop))], start, stop,
            )  # fmt: skip

        share_bands(grid, len(low), work, apart=True)
        ctx.save_for_backward(folded(into, grid))
        return results_of(ctx, parts)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0], None, None


def _grid(low: Tensor, judge: Judgement, span: Size) -> Grid:
    return grid_of(low.shape[-2:], span, judge.labels.shape[-2:], judge.kernels.TILE)


def _parts(low: Tensor, grid: Grid) -> NDArray[np.float64]:
    """Of each image and band what its pixels add up to: summed in a fixed order, on any number of threads."""
    return np.zeros((len(low), len(grid.bands), 4, low.shape[1]))
