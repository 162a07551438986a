"""Training from weights that another task has learnt: what stays as it is, what follows slowly, and from when on.

The parts of an encoder are its stages: what its second map needs and its first does not is the second stage, and so
on, the finest first. What is frozen at a step depends on the options and the progress of the run alone, so a
resumed run goes on as if it had never stopped. Gradual unfreezing and rates that fall from stage to stage: Howard,
Ruder: Universal Language Model Fine-tuning for Text Classification, 2018 (https://arxiv.org/abs/1801.06146);
departures: all stages thaw at once, and the rate halves from one stage to the next finer one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from pixelwise.errors import OptionError
from pixelwise.models.network import Network

Strategy = Literal["full", "last", "partial", "staged"]
STAGE_DECAY = 0.5  # of the learning rate, from one stage to the next finer one, where the strategy is staged


@dataclass(frozen=True)
class TransferOptions:
    """Where the encoder's weights come from and how they are treated.

    Attributes:
        encoder_weights: A run or bundle of any task, a .safetensors or .pth file, or `hub:NAME`; None trains from
            scratch.
        strategy: `full` trains everything; `last` only what is on the encoder; `partial` the deepest stages of the
            encoder too; `staged` first only what is on the encoder, later everything, finer stages more slowly.
        layers: For `partial`: how many of the deepest stages train along.
        unfreeze: For `staged`: share of the run, 0..1, after which the encoder trains along.
        encoder_lr: Learning rate of the encoder as a share of that of the new layers.
        batch_norm: `frozen` keeps statistics, weights and biases of batch norms as loaded while their stage is
            frozen; `train` lets them follow the new images even there. Where a stage trains, so do they.
        normalization: `weights` normalises images as the weights expect, where that is known and fits the data;
            `data` by the statistics of the new images.
    """

    encoder_weights: str | None = None
    strategy: Strategy = "full"
    layers: int = 1
    unfreeze: float = 0.3
    encoder_lr: float = 0.1
    batch_norm: Literal["train", "frozen"] = "frozen"
    normalization: Literal["weights", "data"] = "weights"

    def __post_init__(self) -> None:
        if self.strategy != "full" and self.encoder_weights is None:
            raise OptionError(
                f"strategy {self.strategy} would freeze an encoder that has learnt nothing",
                remedy="give --encoder-weights, or leave out --strategy",
            )
        if self.layers < 1:
            raise OptionError(f"transfer.layers is {self.layers}", remedy="give 1 or more")
        if not 0 <= self.unfreeze <= 1:
            raise OptionError(
                f"transfer.unfreeze is {self.unfreeze}", remedy="give a share of the run, 0 to 1"
            )
        if not 0 < self.encoder_lr <= 100:
            raise OptionError(
                f"transfer.encoder_lr is {self.encoder_lr}", remedy="give a factor above 0, at most 100"
            )


class Transfer:
    """Which parts of one network train at which point of a run, and how fast.

    Attributes:
        stages: Names of the network's parameters in each stage of its encoder, finest first.
        scales: Factor of the learning rate by name of parameter; 1 for those not listed.
    """

    def __init__(self, network: Network, options: TransferOptions) -> None:
        self.stages = encoder_stages(network)
        if options.strategy == "partial" and options.layers > len(self.stages):
            raise OptionError(
                f"transfer.layers is {options.layers}, {network.encoder_name} has {len(self.stages)} stages",
                remedy=f"give at most {len(self.stages)}",
            )
        self.options = options
        self.scales = {name: self._scale(index) for index, stage in enumerate(self.stages) for name in stage}
        norms = {name: part for name, part in network.named_modules() if isinstance(part, _BatchNorm)}
        self._norms = [
            [part for name, part in norms.items() if _owns(name, stage)] for stage in map(set, self.stages)
        ]
        parameters = dict(network.named_parameters())
        self._parameters = [[parameters[name] for name in stage] for stage in self.stages]
        self._frozen: int | None = None

    def frozen(self, progress: float) -> int:
        """How many stages, counted from the finest, do not train after `progress` (0..1) of the run."""
        strategy, count = self.options.strategy, len(self.stages)
        if strategy == "last" or (strategy == "staged" and progress < self.options.unfreeze):
            return count
        return count - self.options.layers if strategy == "partial" else 0

    def apply(self, progress: float) -> None:
        """Freeze and thaw for the step that begins after `progress` of the run."""
        frozen = self.frozen(progress)
        if frozen != self._frozen:
            for index, stage in enumerate(self._parameters):
                for parameter in stage:
                    parameter.requires_grad_(index >= frozen)
            self._frozen = frozen
        follow = self.options.batch_norm == "train"
        for index, norms in enumerate(self._norms):
            for norm in norms:  # at every step: others may have put the whole network into training mode
                norm.train(index >= frozen or follow)
                norm.requires_grad_(index >= frozen or follow)

    def lines(self) -> list[str]:
        """For a reader."""
        options, count = self.options, len(self.stages)
        slow = f"at {options.encoder_lr:g} of the learning rate"
        if options.strategy == "full":
            text = f"full: the whole encoder trains, {slow}"
        elif options.strategy == "last":
            text = "last: the encoder stays as it is, only what is on it trains"
        elif options.strategy == "partial":
            text = f"partial: the {options.layers} deepest of {count} stages of the encoder train, {slow}"
        else:
            text = (
                f"staged: the encoder stays as it is for {options.unfreeze:.0%} of the run, then trains {slow}, "
                f"halved from stage to finer stage"
            )
        follow = "follow the new images" if options.batch_norm == "train" else "stay as loaded"
        return [text, *([f"batch norms of frozen stages {follow}"] if self.frozen(0.0) else [])]

    def _scale(self, stage: int) -> float:
        depth = len(self.stages) - 1 - stage if self.options.strategy == "staged" else 0
        return self.options.encoder_lr * STAGE_DECAY**depth


def encoder_stages(network: Network) -> tuple[tuple[str, ...], ...]:
    """Names of the parameters of `network` by stage of its encoder, finest first, from a run without memory.

    A parameter belongs to the first map whose gradient reaches it; maps that need no parameter of their own, such
    as a pooled one, make no stage.

    >>> from pixelwise.models.zoo import build
    >>> [len(stage) for stage in encoder_stages(build("unet", encoder="vgg16"))]
    [4, 4, 6, 6, 6]
    """
    encoder = copy.deepcopy(network.encoder).to("meta").eval().requires_grad_(True)
    edge = 4 * encoder.multiple + 2 * max(level.margin for level in encoder.levels)
    maps = encoder(torch.empty(1, network.bands, edge, edge, device="meta"))
    left = dict(encoder.named_parameters(prefix="encoder"))
    stages: list[tuple[str, ...]] = []
    for features in maps:
        if not left or not features.requires_grad:
            continue
        reached = torch.autograd.grad(features.sum(), [*left.values()], retain_graph=True, allow_unused=True)
        names = tuple(name for name, found in zip([*left], reached, strict=True) if found is not None)
        left = {name: parameter for name, parameter in left.items() if name not in names}
        stages += [names] if names else []
    if left and stages:  # what no map needs
        stages[-1] += tuple(left)
    return tuple(stages)


def _owns(module: str, stage: set[str]) -> bool:
    return f"{module}.weight" in stage
