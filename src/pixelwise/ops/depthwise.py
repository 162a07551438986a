"""Dilated depthwise convolutions of a training step, for which torch takes ten to thirty times as long."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.ops import native
from pixelwise.ops.maps import bits_of, empty_map, fits, share_rows

_WORTH = 1 << 16  # values of a map from which the kernels are used
_PIECES = 8  # whose sums are added in a fixed order, so that they are the same on any number of threads


class DepthwiseConv(nn.Conv2d):
    """`torch.nn.Conv2d` with a kernel per channel: the same weights and the same result, sooner in training.

    Where a step runs on a processor in bfloat16 and channels last, dilated kernels of 3 x 3 whose padding keeps the
    size are computed by our own code, from weights in float32; everything else is the layer's, which is quick then.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, H', W']."""
        kernels = self._kernels(input)
        if kernels is None:
            return super().forward(input)
        result: Tensor = _Depthwise.apply(input, self.weight, self.dilation[0], kernels)  # type: ignore[no-untyped-call]
        return result

    def _kernels(self, x: Tensor) -> ModuleType | None:
        rate = self.dilation[0]
        plain = self.bias is None and self.kernel_size == (3, 3) and self.stride == (1, 1) and rate > 1
        kept = self.padding == self.dilation == (rate, rate) and self.padding_mode == "zeros"
        single = self.groups == self.in_channels == self.out_channels
        if not (plain and kept and single and self.training and x.numel() >= _WORTH and fits(x)):
            return None
        return native.load("depthwise_kernels")


class _Depthwise(torch.autograd.Function):
    """The kernels as an operation with a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rate: int, kernels: ModuleType) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rate, ctx.kernels = rate, kernels
        return _convolved(kernels, x, _taps(weight), rate)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        down = None
        if ctx.needs_input_grad[0]:  # each pixel sends back through the taps in reverse
            down = _convolved(ctx.kernels, gradient, np.ascontiguousarray(_taps(weight)[::-1]), ctx.rate)
        seen, above = bits_of(x), bits_of(gradient)
        rows = x.shape[0] * x.shape[2]
        sums = np.zeros((_PIECES, 9, x.shape[1]))
        size = -(-rows // _PIECES)

        def work(piece: int) -> None:
            start = min(piece * size, rows)
            ctx.kernels.correlate(seen, above, ctx.rate, sums[piece], start, min(start + size, rows))

        native.share(work, _PIECES)
        slope = torch.from_numpy(np.ascontiguousarray(sums.sum(axis=0).T)).reshape(weight.shape)
        return down, slope.to(weight.dtype), None, None


def _convolved(kernels: ModuleType, x: Tensor, taps: Any, rate: int) -> Tensor:
    out = empty_map(*x.shape)
    source, into = bits_of(x), bits_of(out)
    share_rows(x.shape[0] * x.shape[2], lambda *rows: kernels.convolve(source, taps, rate, into, *rows))
    return out


def _taps(weight: Tensor) -> Any:
    """[9, C] float32, row by row."""
    return np.ascontiguousarray(weight.detach().float().flatten(1).numpy().T)
