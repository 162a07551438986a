"""Parameter groups, the schedule of the learning rate, and the moving average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from pixelwise.models.network import Network
from pixelwise.training.muon import Muon, fits_muon
from pixelwise.training.options import OptimOptions
from pixelwise.training.transfer import Transfer


def make_optimizer(
    network: nn.Module, options: OptimOptions, transfer: Transfer | None = None
) -> torch.optim.AdamW:
    """AdamW, or Muon, that decays weights of two and more dimensions and leaves biases and norms alone.

    Each group has an `lr_scale`, by which the learning rate of a step is multiplied for it. What is frozen is in the
    groups too, so that their order does not depend on the progress: without a gradient nothing happens to it.
    """
    scales = {} if transfer is None else transfer.scales
    sorted_out: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        orthogonal = options.method == "muon" and fits_muon(name, parameter)
        kind = (scales.get(name, 1.0), parameter.ndim > 1, orthogonal)
        sorted_out.setdefault(kind, []).append(parameter)
    groups = [
        {
            "params": sorted_out[scale, decays, orthogonal],
            "weight_decay": options.weight_decay if decays else 0.0,
            "lr_scale": scale,
            "orthogonal": orthogonal,
        }
        # the quickest first, weights before biases
        for scale, decays, orthogonal in sorted(sorted_out, reverse=True)
    ]
    optimizer = Muon if options.method == "muon" else torch.optim.AdamW
    return optimizer(groups, lr=options.lr, fused=True)


def learning_rate(progress: float, options: OptimOptions) -> float:
    """The rate after `progress` (0..1) of the run.

    >>> options = OptimOptions(lr=1.0, warmup=0.25)
    >>> [round(learning_rate(p, options), 3) for p in (0.0, 0.125, 0.25, 0.625, 1.0)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    warmup = options.warmup if options.schedule == "onecycle" else 0.0
    if progress < warmup:
        return options.lr * (0.04 + 0.96 * progress / warmup)
    fall = (progress - warmup) / (1 - warmup)
    return options.lr * 0.5 * (1 + math.cos(math.pi * min(fall, 1.0)))


class WeightAverage:
    """An exponential moving average of a network's weights and statistics, as a network of its own."""

    def __init__(self, network: Network) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: Network, step: int, window: float) -> None:
        """Move towards `network`, averaging over about `window` steps; fewer at the start."""
        rate = max(1 / (window + 1), 9 / (10 + step))
        own, new = self.network.state_dict(), network.state_dict()
        floats = [name for name, tensor in own.items() if tensor.is_floating_point()]
        averages: list[Tensor] = [own[name] for name in floats]
        torch._foreach_lerp_(averages, [new[name] for name in floats], rate)
        for name, tensor in own.items():
            if not tensor.is_floating_point():
                tensor.copy_(new[name])
