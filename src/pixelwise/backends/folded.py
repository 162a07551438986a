"""Layers of a network in evaluation mode taken together: batch normalisation, and a U-Net's doublings."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pixelwise.backends.quantized import hand_on_range
from pixelwise.models.decoders.unet import UpBlock
from pixelwise.models.graph import record
from pixelwise.ops.join import spread


def fold_norms(model: nn.Module, image: Tensor) -> int:
    """Take every batch normalisation that follows a convolution into its weights, in place; returns how many.

    Args:
        model: In evaluation mode, of images [N, C, H, W].
        image: On the meta device, of a size that the model takes.
    """
    operations = record(model, lambda ghost, x: ghost(x), image).operations
    readers = Counter(source.operation for operation in operations for source in operation.sources)
    calls = Counter(operation.module for operation in operations if operation.name in _FOLDED)
    folded = 0
    for operation in operations:
        if operation.name != "native_batch_norm" or len(operation.sources) != 1:
            continue
        before = operations[operation.sources[0].operation]
        alone = (
            readers[operation.sources[0].operation] == calls[before.module] == calls[operation.module] == 1
        )
        if before.name == "convolution" and alone:
            _fold(model, before.module, operation.module)
            folded += 1
    return folded


_FOLDED = ("convolution", "native_batch_norm")


def _fold(model: nn.Module, first: str, second: str) -> None:
    convolution, norm = model.get_submodule(first), model.get_submodule(second)
    if not isinstance(norm, nn.BatchNorm2d) or not isinstance(convolution, (nn.Conv2d, nn.ConvTranspose2d)):
        return
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias,
        transpose=isinstance(convolution, nn.ConvTranspose2d),
    )  # fmt: skip
    parent, _, name = second.rpartition(".")
    setattr(model.get_submodule(parent), name, nn.Identity())


def fold_doublings(model: nn.Module) -> None:
    """Replace every block of a U-Net that allows it, in place."""
    for part in list(model.modules()):
        for name, child in part.named_children():
            if isinstance(child, UpBlock) and child.folds and not child.crop.pixels:
                setattr(part, name, FoldedUpBlock(child))


class FoldedUpBlock(nn.Module):
    """An `UpBlock` for prediction that never makes the doubled map nor joins it with the encoder's.

    A 3 x 3 convolution after doubling by nearest neighbour sees each value of the small map through one or two of its
    rows and columns, and is a transposed convolution of 4 x 4 and stride 2 with 4/9 of the multiply-adds. What it sees
    of the encoder's map is a convolution of its own; the two are added up. Same function, other rounding.
    """

    def __init__(self, block: UpBlock) -> None:
        super().__init__()
        first, *others = block.convolutions.children()
        convolution = block.convolution
        _, *norm, self.relu = first.children()
        self.norm = norm[0] if norm else nn.Identity()
        inputs, weight = block.upsample.channels, convolution.weight.detach()
        outputs, skip = len(weight), weight.shape[1] - inputs
        self.enlarge = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.beside = nn.Conv2d(skip, outputs, 3, padding=1, bias=False) if skip else None
        bias = torch.zeros(outputs) if convolution.bias is None else convolution.bias.detach()
        self.enlarge.weight = _fixed(spread(weight[:, :inputs]))
        self.enlarge.bias = _fixed(bias)
        if self.beside is not None:
            self.beside.weight = _fixed(weight[:, inputs:])
        hand_on_range(convolution, self.enlarge, self.beside)
        self.others = nn.Sequential(*others)
        self.weigh = block.weigh

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """[N, inputs, H, W] and [N, skip, 2 H, 2 W] to [N, outputs, 2 H, 2 W]."""
        x = self.enlarge(x)
        if self.beside is not None:
            x = x + self.beside(skip)
        weighed: Tensor = self.weigh(self.others(self.relu(self.norm(x))))
        return weighed


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.contiguous(), requires_grad=False)
