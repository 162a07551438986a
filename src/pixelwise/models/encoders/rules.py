"""What all encoders keep to: how they stop shrinking, what they refuse, how their weights start."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from pixelwise.errors import OptionError
from pixelwise.models.interfaces import EncoderOptions


@dataclass
class Shrinking:
    """Follows the stride while an encoder is built, and turns strides into dilations at the limit.

    Where a layer gives up its stride of 2, every later kernel has to step over the pixels that stay in between, so
    that it still sees what its weights were made for (the algorithme a trous: Chen et al. 2015,
    https://arxiv.org/abs/1412.7062).

    Attributes:
        limit: The options' `output_stride`; None never stops.
        stride: Image pixels per pixel of the map so far.
        rate: Dilation of the kernels to come.

    >>> shrinking = Shrinking(8, stride=4)
    >>> shrinking.halve(), shrinking.halve(), shrinking.halve(), shrinking.stride, shrinking.rate
    (2, 1, 1, 8, 4)
    """

    limit: int | None
    stride: int = 1
    rate: int = 1

    def halve(self) -> int:
        """The stride of a layer that halves the map in the paper: 2, or 1 at the limit."""
        if self.limit is not None and self.stride >= self.limit:
            self.rate *= 2
            return 1
        self.stride *= 2
        return 2

    def pool(self) -> nn.Module:
        """Overlapping 3 x 3 max pooling that halves, centred, as AlexNet and Xception have it."""
        rate = self.rate
        return centred_pool(self.halve(), rate)


def centred_pool(stride: int, rate: int) -> nn.Module:
    """3 x 3 max pooling, each window centred on a pixel, with `rate` pixels from one of its columns to the next."""
    if rate == 1:
        return nn.MaxPool2d(3, stride, padding=1)
    # torch's own padding stops at half the kernel, dilated or not
    around = nn.ConstantPad2d(rate, -math.inf)
    return nn.Sequential(around, nn.MaxPool2d(3, stride, dilation=rate))


def refuse_valid(name: str, options: EncoderOptions) -> None:
    """Say that `name` cannot go without padding.

    Raises:
        OptionError: the options ask for it.
    """
    if options.padding == "valid":
        raise OptionError(
            f"{name} has no form without padding, only the encoder unet has",
            remedy="choose the encoder unet, or leave padding at same",
        )


def initialize(network: nn.Module) -> None:
    """Draw the kernels as He et al. 2015 (https://arxiv.org/abs/1502.01852) do for ReLU, and clear the biases.

    The variance is 2 / (values that one input pixel reaches), so that gradients neither grow nor vanish.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                reached = module.out_channels // module.groups * math.prod(module.kernel_size)
                module.weight.normal_(0, math.sqrt(2) / math.sqrt(reached))
                if module.bias is not None:
                    module.bias.zero_()
