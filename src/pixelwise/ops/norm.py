"""Batch normalisation, shortcut and ReLU of a training step as one operation.

torch makes four passes over a map forward and four backward for what takes two and two; with bfloat16 products as
quick as some processors make them, these passes are half of a step. Ioffe, Szegedy: Batch Normalization, 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelwise.ops import native
from pixelwise.ops.maps import bits_of, empty_map, fits

Bits = NDArray[np.uint16]
Table = NDArray[np.float32]
Doubles = NDArray[np.float64]

_WORTH = 1 << 20  # values of a map from which the kernels are used: torch is as quick on what fits in a cache
_LANES = 256  # values side by side that make a loop long enough
_PIECE = 1 << 19  # values that a thread takes at a time: waking others costs as much as half a million
_MOST = 32  # pieces; how many depends on the map alone, so that sums are the same on any number of threads


def norm_relu(norm: nn.Module, relu: nn.Module | None, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """relu(norm(x) + shortcut): [N, C, H, W], `shortcut` of the same size.

    Where a step is trained on a processor in bfloat16 and channels last, batch normalisation, sum and ReLU are one
    operation, whose sums are made in float32 and float64; else the layers do it one after the other. Running
    statistics are those of `torch.nn.BatchNorm2d` either way.
    """
    kernels = _kernels(norm, relu, x, shortcut)
    if kernels is not None and isinstance(norm, nn.BatchNorm2d):
        given = (x, norm.weight, norm.bias, shortcut, norm, relu is not None, kernels)
        fused: Tensor = _NormRelu.apply(*given)  # type: ignore[no-untyped-call]
        return fused
    x = norm(x)
    if shortcut is not None:
        x += shortcut
    return x if relu is None else relu(x)


def _kernels(
    norm: nn.Module, relu: nn.Module | None, x: Tensor, shortcut: Tensor | None
) -> ModuleType | None:
    ordinary = type(norm) is nn.BatchNorm2d and norm.training and norm.affine and norm.momentum is not None
    ordinary = ordinary and norm.weight.dtype == torch.float32
    if not ordinary or x.numel() < _WORTH or type(relu) not in (nn.ReLU, type(None)):
        return None
    same = shortcut is None or (fits(shortcut) and shortcut.shape == x.shape)
    return native.load("norm_kernels") if same and fits(x) else None


class _Rows(NamedTuple):
    """How the pixels of a map lie in the rows that kernels take: `side` of them in each, cut into `pieces`."""

    pixels: int
    channels: int
    side: int
    pieces: int

    def of(self, x: Tensor) -> Bits:
        """The bits of a map as rows, without a copy where it is channels last."""
        return bits_of(x).reshape(-1, self.side * self.channels)

    def table(self, values: Doubles) -> Table:
        """Values per channel along a row."""
        return np.tile(values.astype(np.float32), self.side)

    def each(self, work: Callable[[int, int, int], None]) -> None:
        """Call `work(piece, start, stop)` for each piece of the rows."""
        count = self.pixels // self.side
        size = -(-count // self.pieces)
        native.share(
            lambda piece: work(piece, min(piece * size, count), min((piece + 1) * size, count)), self.pieces
        )

    def sums(self, add: Callable[[Doubles, int, int], None]) -> Doubles:
        """[2, C] of what `add(out, start, stop)` adds to `out` [2, side C] for each piece."""
        parts = np.zeros((self.pieces, 2, self.side * self.channels))
        self.each(lambda piece, start, stop: add(parts[piece], start, stop))
        total: Doubles = parts.reshape(self.pieces, 2, self.side, self.channels).sum(axis=(0, 2))
        return total


def _rows(x: Tensor) -> _Rows:
    channels = x.shape[1]
    pixels = x.numel() // channels
    side = max(1, _LANES // channels)
    while pixels % side:
        side -= 1
    return _Rows(pixels, channels, side, pieces=min(-(-x.numel() // _PIECE), _MOST))


_NOTHING = np.empty((0, 0), np.uint16)


class _NormRelu(torch.autograd.Function):
    """The kernels as an operation with a gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        shortcut: Tensor | None,
        norm: nn.BatchNorm2d,
        relu: bool,
        kernels: ModuleType,
    ) -> Tensor:
        rows = _rows(x)
        bits = rows.of(x)
        shift = _doubles(x[0, :, 0, 0])  # sums of differences from it lose no digits where the mean is large
        table = rows.table(shift)
        first, second = rows.sums(lambda out, *part: kernels.moments(bits, table, out, *part)) / rows.pixels
        variance = np.maximum(second - first**2, 0)
        mean = shift + first
        _remember(norm, mean, variance, rows.pixels)
        sharpness = 1 / np.sqrt(variance + norm.eps)
        scale = _doubles(weight) * sharpness
        offset = _doubles(bias) - mean * scale
        scales, offsets = rows.table(scale), rows.table(offset)
        other = _NOTHING if shortcut is None else rows.of(shortcut)
        y = empty_map(*x.shape)
        into = rows.of(y)
        rows.each(lambda _, *part: kernels.apply(bits, scales, offsets, other, relu, into, *part))
        joined = shortcut is not None
        gate = kernels.OPEN if not relu else kernels.OUTPUT if joined else kernels.POSITIVE
        ctx.save_for_backward(x, weight, *([y] if gate == kernels.OUTPUT else []))
        ctx.rows, ctx.kernels, ctx.gate, ctx.joined = rows, kernels, gate, joined
        ctx.mean, ctx.sharpness, ctx.tables = mean, sharpness, (scales, offsets)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, add, write = ctx.rows, ctx.kernels.SLOPES[ctx.gate], ctx.kernels.DESCEND[ctx.gate]
        x, weight, *rest = ctx.saved_tensors
        bits, above = rows.of(x), rows.of(gradient)
        seen = rows.of(rest[0]) if rest else bits
        scales, offsets = ctx.tables
        means = rows.table(ctx.mean)
        total, product = rows.sums(
            lambda out, *part: add(above, bits, seen, scales, offsets, means, out, *part)
        )
        scale = _doubles(weight) * ctx.sharpness
        slope = -scale * ctx.sharpness**2 * product / rows.pixels
        constant = -scale * total / rows.pixels - slope * ctx.mean
        turned = rows.table(slope), rows.table(constant)
        down = empty_map(*x.shape)
        beside = gradient if ctx.joined else None
        into, other = rows.of(down), _NOTHING
        if rest:
            beside = empty_map(*x.shape)
            other = rows.of(beside)
        rows.each(lambda _, *part: write(above, bits, seen, scales, offsets, *turned, into, other, *part))
        slopes = (torch.from_numpy(values.astype(np.float32)) for values in (product * ctx.sharpness, total))
        return down, *slopes, beside, None, None, None


def _doubles(values: Tensor) -> Doubles:
    found: Doubles = values.detach().float().numpy().astype(np.float64)
    return found


@torch.no_grad()
def _remember(norm: nn.BatchNorm2d, mean: Doubles, variance: Doubles, pixels: int) -> None:
    """Move the running statistics as `torch.nn.BatchNorm2d` does: the variance without bias."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    share = float(norm.momentum or 0.0)
    norm.num_batches_tracked.add_(1)
    for kept, values in ((norm.running_mean, mean), (norm.running_var, variance * (pixels / (pixels - 1)))):
        kept.lerp_(torch.from_numpy(values.astype(np.float32)), share)
