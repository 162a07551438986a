"""Nearest-neighbour doubling of a map, with another map beside it, and the convolution behind, in a training step."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.ops import native
from pixelwise.ops.maps import bits_of, empty_map, fits, share_rows

_WORTH = 1 << 18  # values of the result from which the kernels are used
_WORTH_SPREADING = 512  # pixels of the small map from which its convolution is folded: weights take time too
_LAST = torch.channels_last


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


def doubled_convolution(
    x: Tensor, beside: Tensor | None, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """The convolution of `doubled(x, beside)` with weights [K, C + D, 3, 3] and padding 1: [N, K, 2 h, 2 w].

    On a processor `x` is not doubled nor joined where that pays: it is seen through a transposed convolution with 4/9
    of the multiply-adds (`spread`), `beside` through one of its own. Each is rounded before the two are added up.
    """
    count, inputs, height, width = x.shape
    size = (2 * height, 2 * width)
    joins = beside is None or tuple(beside.shape[2:]) == size  # torch refuses others in its own words
    if x.device.type != "cpu" or count * height * width < _WORTH_SPREADING or not joins:
        return F.conv2d(doubled(x, beside), weight, bias, padding=1)
    enlarging = spread(weight[:, :inputs]).contiguous(memory_format=_LAST)
    large = F.conv_transpose2d(x, enlarging, bias, stride=2, padding=1)
    if beside is not None:
        large.add_(F.conv2d(beside, weight[:, inputs:].contiguous(memory_format=_LAST), padding=1))
    return large


def spread(weight: Tensor) -> Tensor:
    """Weights [K, C, 3, 3] of a convolution after doubling as [C, K, 4, 4] of one that is transposed, of stride 2.

    Through doubled pixels a value is seen by one or two of three weights along each axis.
    """
    return _spread(_spread(weight, 2), 3).transpose(0, 1)


def _spread(weight: Tensor, axis: int) -> Tensor:
    """Along one axis: the three weights of a convolution as the four of a transposed one over the undoubled map."""
    before, here, after = weight.unbind(axis)
    return torch.stack([after, here + after, before + here, before], axis)


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
