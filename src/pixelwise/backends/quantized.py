"""Convolutions in 8-bit integers, for runtimes that are quick at them.

Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2018,
https://arxiv.org/abs/1712.05877. Weights are rounded to -127..127 times a step of each output channel, inputs to 256
values one step of the whole map apart, of which one is 0: what lies around an image is exact. What is written here is
that arithmetic in floating point; a runtime recognises the rounding and computes in integers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.ops.depthwise import DepthwiseConv

Range = tuple[float, float]  # lowest and highest value of the map that a convolution takes

_KINDS = (nn.Conv2d, nn.ConvTranspose2d, DepthwiseConv)
_RANGE = "input_range"


def quantizable(model: nn.Module, without: Collection[nn.Module] = ()) -> dict[str, nn.Module]:
    """The convolutions that `QuantizedConv` can stand for, by name, but those within `without`."""
    left_out = {part for whole in without for part in whole.modules()}
    return {name: part for name, part in model.named_modules() if part not in left_out and _quantizable(part)}


def note_ranges(model: nn.Module, ranges: Mapping[str, Range]) -> None:
    """Tell each convolution that is named in `ranges` its own."""
    for name, part in model.named_modules():
        if name in ranges:
            setattr(part, _RANGE, ranges[name])


def hand_on_range(convolution: nn.Module, *others: nn.Module | None) -> None:
    """Tell convolutions that take the place of one, and its inputs, the range of that one."""
    for other in others:
        if other is not None and hasattr(convolution, _RANGE):
            setattr(other, _RANGE, getattr(convolution, _RANGE))


def quantize_noted(model: nn.Module) -> None:
    """Put a `QuantizedConv` in place of every convolution that knows its range."""
    made: dict[nn.Module, QuantizedConv] = {}  # a convolution may have several names
    for part in list(model.modules()):
        for name, child in list(part._modules.items()):
            if (
                isinstance(child, (nn.Conv2d, nn.ConvTranspose2d))
                and hasattr(child, _RANGE)
                and _quantizable(child)
            ):
                made.setdefault(child, QuantizedConv(child, getattr(child, _RANGE)))
                setattr(part, name, made[child])


def _quantizable(part: nn.Module) -> bool:
    if type(part) not in _KINDS:  # subclasses, as timm has some, may compute something else
        return False
    if isinstance(part, nn.ConvTranspose2d) and part.groups > 1:  # no step for each output channel
        return False
    return part.padding_mode == "zeros" and isinstance(part.padding, tuple)


class QuantizedConv(nn.Module):
    """A convolution, transposed or not, of rounded inputs and rounded weights."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d, span: Range) -> None:
        super().__init__()
        self.convolution = convolution
        low, high = min(span[0], 0.0), max(span[1], 0.0)
        self.step = max(high - low, 1e-12) / 255
        self.zero = round(-low / self.step)
        self.axis = int(
            isinstance(convolution, nn.ConvTranspose2d)
        )  # whose weights are [inputs, outputs, h, w]
        weight = convolution.weight.detach()
        sides = [side for side in range(4) if side != self.axis]
        self.steps = nn.Buffer(weight.abs().amax(sides).clamp_min(1e-12) / 127)
        self.zeros = nn.Buffer(torch.zeros(len(self.steps), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """What the convolution does."""
        given = self.convolution
        x = torch.fake_quantize_per_tensor_affine(x, self.step, self.zero, 0, 255)
        weight = torch.fake_quantize_per_channel_affine(
            given.weight, self.steps, self.zeros, self.axis, -127, 127
        )
        if isinstance(given, nn.ConvTranspose2d):
            padding = cast("tuple[int, ...]", given.padding)
            return F.conv_transpose2d(
                x, weight, given.bias, given.stride, padding, given.output_padding, dilation=given.dilation
            )
        return F.conv2d(x, weight, given.bias, given.stride, given.padding, given.dilation, given.groups)
