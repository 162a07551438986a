"""Labels and loss sums from low-resolution logits on accelerators, by Triton; no tensor [N, K, H, W] is made.

What `head` does with numba on processors: the same tables of neighbours, the same sums. A value of the gradient is one
thread's, which gathers it, so results repeat to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pixelwise.ops import cards
from pixelwise.ops.cards import parts
from pixelwise.ops.head_grid import Size, neighbours

KERNELS = "triton_kernels"
BLOCK = 256  # pixels of a program
_CLASSES = 16  # of a program that gathers gradients, for an eighth as many low-resolution pixels


@cache
def usable(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels run there on logits of that type, by trying each on a few pixels, once in a process."""
    return cards.load(KERNELS) is not None and cards.works(device, lambda: _try(device, dtype))


def _try(device: torch.device, dtype: torch.dtype) -> None:
    """Run every kernel: class 1 of two is the more probable one, of both pixels."""
    with torch.inference_mode(False), torch.enable_grad():
        low = torch.tensor([0.0, 1.0], device=device, dtype=dtype).reshape(1, 2, 1, 1).requires_grad_()
        found, _ = confident_labels(low.detach(), (1, 2), (1, 2), None)
        truth = Truth(labels(low.detach(), (1, 2), (1, 2)), torch.ones(256, device=device), 0.0, True)
        entropy, _, predicted, hits, _ = sums(low, truth, (1, 2))
        (slope,) = torch.autograd.grad(entropy + predicted.sum() + hits.sum(), low)
    if found.tolist() != [[[1, 1]]] or not bool(torch.isfinite(slope).all()):
        raise RuntimeError("their answers are wrong")


class _Axis(NamedTuple):
    """Of one axis: neighbours int32 [2, count], share of the second [count], reach int32 [2, low], the longest one."""

    neighbours: Tensor
    shares: Tensor
    reach: Tensor
    far: int


class _Axes(NamedTuple):
    """Where output pixels lie between low-resolution ones, on the logits' device."""

    rows: _Axis
    columns: _Axis
    size: Size

    @property
    def tables(self) -> tuple[Tensor, ...]:
        """What every kernel takes."""
        return self.rows.neighbours, self.rows.shares, self.columns.neighbours, self.columns.shares


class Truth(NamedTuple):
    """What logits are judged by: labels uint8 [N, H, W], class weights float32 [256] on the logits' device, and how."""

    labels: Tensor
    weights: Tensor
    smoothing: float
    overlaps: bool


def labels(low: Tensor, size: Size, span: Size) -> Tensor:
    """uint8 [N, H, W] from logits [N, K, h, w], K at least 2."""
    return _labels(low, size, span, None)[0]


def confident_labels(
    low: Tensor, size: Size, span: Size, temperatures: Sequence[float] | None
) -> tuple[Tensor, Tensor]:
    """The labels, and the softmax probability of each, float32 [N, H, W]."""
    return _labels(low, size, span, temperatures or [1.0] * low.shape[1])


def _labels(
    low: Tensor, size: Size, span: Size, temperatures: Sequence[float] | None
) -> tuple[Tensor, Tensor]:
    axes = _axes(low, span, size)
    out = torch.empty((len(low), *size), dtype=torch.uint8, device=low.device)
    confidence = torch.empty(out.shape if temperatures else (0,), device=low.device)
    sharpness = _sharpness(tuple(temperatures or [1.0]), str(low.device))
    with cards.where(low):
        cards.kernels(KERNELS).labels[_pixels(out)](
            low, *low.stride(), *axes.tables, sharpness, out, confidence, low.shape[1], *size,
            CONFIDENT=temperatures is not None, BLOCK=BLOCK,
        )  # fmt: skip
    return out, confidence


def sums(low: Tensor, truth: Truth, span: Size) -> tuple[Tensor, ...]:
    """As `PixelSums`, from logits [N, K, h, w], K at least 2, that cover `span` from the labels' first pixel on."""
    found: tuple[Tensor, ...] = _Sums.apply(low, truth, span)  # type: ignore[no-untyped-call]
    return found


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, low: Tensor, truth: Truth, span: Size) -> tuple[Tensor, ...]:
        size, classes = (truth.labels.shape[1], truth.labels.shape[2]), low.shape[1]
        axes = _axes(low, span, size)
        lse = torch.empty(truth.labels.shape, device=low.device)
        programs = _pixels(lse)
        pieces = torch.zeros((*reversed(programs), 2 + 3 * classes), device=low.device)
        with cards.where(low):
            cards.kernels(KERNELS).sums[programs](
                low, *low.stride(), *axes.tables, truth.labels, truth.weights, truth.smoothing, lse, pieces, classes,
                *size, OVERLAPS=truth.overlaps, BLOCK=BLOCK,
            )  # fmt: skip
        ctx.save_for_backward(low, lse)
        ctx.truth, ctx.axes = truth, axes
        total = pieces.double().sum((0, 1)).float()
        entropy, weight = total[0], total[1]
        predicted, hits, pixels = total[2:].reshape(3, classes)
        ctx.mark_non_differentiable(weight, pixels)
        return entropy, weight, predicted, hits, pixels

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        low, lse = ctx.saved_tensors
        truth, axes = ctx.truth, ctx.axes
        classes = low.shape[1]
        slopes = torch.stack([upstream[2], upstream[3]]).float().contiguous()
        mean = torch.empty_like(lse if truth.overlaps else lse[:0])
        out = torch.empty(low.shape, device=low.device)
        block = BLOCK // 8
        programs = (parts(low.shape[2] * low.shape[3], block), parts(classes, _CLASSES), len(low))
        with cards.where(low):
            if truth.overlaps:
                cards.kernels(KERNELS).means[_pixels(lse)](
                    low, *low.stride(), *axes.tables, truth.labels, lse, slopes, mean, classes, *axes.size, BLOCK=BLOCK
                )  # fmt: skip
            cards.kernels(KERNELS).gradient[programs](
                low, *low.stride(), *axes.tables, axes.rows.reach, axes.columns.reach, axes.rows.far,
                axes.columns.far, truth.labels, truth.weights * upstream[0], truth.smoothing, lse, slopes, mean, out,
                classes, *low.shape[2:], *axes.size, OVERLAPS=truth.overlaps, BLOCK=block, CLASSES=_CLASSES,
            )  # fmt: skip
        return out.to(low.dtype), None, None


def _pixels(maps: Tensor) -> tuple[int, int]:
    return parts(maps.shape[1] * maps.shape[2], BLOCK), len(maps)


def _axes(low: Tensor, span: Size, size: Size) -> _Axes:
    rows, columns = (_axis(low.shape[2 + axis], span[axis], size[axis], str(low.device)) for axis in (0, 1))
    return _Axes(rows, columns, size)


@lru_cache(maxsize=16)
def _sharpness(temperatures: tuple[float, ...], device: str) -> Tensor:
    return (1 / torch.tensor(temperatures)).to(device)


@lru_cache(maxsize=128)
def _axis(low: int, span: int, count: int, device: str) -> _Axis:
    near, shares = neighbours(low, span, count)
    places = np.arange(low)
    # both rows of neighbours rise, so what has a share in a place is a range
    reach = np.stack([np.searchsorted(near[1], places), np.searchsorted(near[0], places, side="right")])
    return _Axis(
        torch.from_numpy(near).to(device),
        torch.from_numpy(shares).to(device),
        torch.from_numpy(reach.astype(np.int32)).to(device),
        int((reach[1] - reach[0]).max()),
    )
