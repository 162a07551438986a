"""Nearest-neighbour doubling of a map, with another map beside it, as one operation of a training step."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.ops import native
from pixelwise.ops.maps import bits_of, empty_map, fits, share_rows

_WORTH = 1 << 18  # values of the result from which the kernels are used


def doubled(x: Tensor, beside: Tensor | None = None) -> Tensor:
    """[N, C, h, w] to [N, C, 2 h, 2 w] by nearest neighbour, the channels of `beside` [N, D, 2 h, 2 w] after them.

    In training on a processor, in bfloat16 and channels last, kernels write the result at once, and part its
    gradient again: torch copies slices of channels value by value.
    """
    kernels = _kernels(x, beside)
    if kernels is not None:
        joined: Tensor = _Join.apply(x, beside, kernels)  # type: ignore[no-untyped-call]
        return joined
    large = F.interpolate(x, scale_factor=2, mode="nearest")
    return large if beside is None else torch.cat([large, beside], dim=1)


def _kernels(x: Tensor, beside: Tensor | None) -> ModuleType | None:
    trained = x.requires_grad and torch.is_grad_enabled()
    if not trained or 4 * x.numel() < _WORTH or not fits(x, *([] if beside is None else [beside])):
        return None
    size = (x.shape[0], 2 * x.shape[2], 2 * x.shape[3])
    if beside is not None and (beside.shape[0], *beside.shape[2:]) != size:
        return None  # which torch refuses in its own words
    return native.load("join_kernels")


class _Join(torch.autograd.Function):
    """The kernels as an operation with a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beside: Tensor | None, kernels: ModuleType) -> Tensor:
        count, channels, height, width = x.shape
        further = 0 if beside is None else beside.shape[1]
        ctx.shape, ctx.further, ctx.kernels = x.shape, further, kernels
        out = empty_map(count, channels + further, 2 * height, 2 * width)
        low, into = bits_of(x), bits_of(out)
        other = into[..., :0].copy() if beside is None else bits_of(beside)
        share_rows(count * 2 * height, lambda *rows: kernels.join(low, other, into, *rows))
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        count, channels, height, width = ctx.shape
        down = empty_map(count, channels, height, width)
        beside = empty_map(count, ctx.further, 2 * height, 2 * width)
        above, low, other = bits_of(gradient), bits_of(down), bits_of(beside)
        share_rows(count * height, lambda *rows: ctx.kernels.part(above, low, other, *rows))
        return down, beside if ctx.further else None, None
