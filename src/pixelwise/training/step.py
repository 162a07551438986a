"""One step of training, and how long steps take."""

from __future__ import annotations

import copy
import math
from functools import partial

import torch
from torch import Tensor

from pixelwise.data.loader import Batch
from pixelwise.losses import LossOptions
from pixelwise.models.network import Network
from pixelwise.training.clock import CLOCKS
from pixelwise.training.optim import make_optimizer
from pixelwise.training.options import TrainOptions
from pixelwise.training.plan import Precision
from pixelwise.training.recorded import Recordings
from pixelwise.training.tasks import Task
from pixelwise.training.transfer import Transfer


class Stepper:
    """Forward, backward, update.

    The batch goes through the network in `accumulate` parts, one after the other, whose gradients are added: memory
    of a part, the update of the whole but for batch normalisation and means over labelled pixels, which see a part
    at a time.

    Attributes:
        recordings: By which steps are made on a card; None where they are not recorded.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        optimizer: torch.optim.Optimizer,
        *,
        precision: Precision,
        loss: LossOptions,
        weights: Tensor | None,
        transfer: Transfer | None = None,
        accumulate: int = 1,
    ) -> None:
        self.network = network
        self.task = task
        self.optimizer = optimizer
        self.precision = precision
        self.loss = loss
        self.device = next(network.parameters()).device
        self.weights = None if weights is None else weights.to(self.device)
        self.transfer = transfer
        self.accumulate = accumulate
        # what is frozen changes during a transfer, and a recording does not
        recordable = self.device.type == "cuda" and task.recordable and transfer is None and accumulate == 1
        self._compute = partial(_loss, network, task, precision, loss, self.weights)
        self.recordings = Recordings(network, self._compute) if recordable else None

    def run(self, batch: Batch, *, lr: float, progress: float = 0.0) -> float:
        """One update of the weights; returns the loss, which the caller checks to be finite.

        Args:
            batch: What to learn from.
            lr: Learning rate, which the groups of the optimizer scale.
            progress: How much of the run lies behind, 0..1, on which it depends what is frozen.
        """
        if self.transfer is not None:
            self.transfer.apply(progress)
        images = batch.images.to(self.device, non_blocking=True)
        labels = batch.labels.to(self.device, non_blocking=True)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        value = self._backward(images, labels)
        if math.isfinite(value):  # a broken loss must not reach the weights
            with _arithmetic(self.device, self.precision):
                self.optimizer.step()
        return value

    def _backward(self, images: Tensor, labels: Tensor) -> float:
        """The loss, with the gradients of the parameters set; they mean nothing where it is not finite."""
        if self.recordings is not None:
            return float(self.recordings.run(images, labels))
        self.optimizer.zero_grad(set_to_none=True)
        value = 0.0
        for part, truth in zip(
            images.tensor_split(self.accumulate), labels.tensor_split(self.accumulate), strict=True
        ):
            loss = self._compute(part, truth) * (len(part) / len(images))
            value += float(loss.detach())
            if not math.isfinite(value):
                break
            loss.backward()  # type: ignore[no-untyped-call]
        return value


def time_steps(
    network: Network,
    task: Task,
    batch: Batch,
    options: TrainOptions,
    *,
    precision: Precision,
    repeats: int = 2,
    accumulate: int = 1,
) -> float:
    """Seconds of the quickest of some steps on a throw-away copy of the network, after one to warm up.

    What the options say of transfer counts in so far as steps are not recorded then.
    """
    twin = copy.deepcopy(network).train()
    optimizer = make_optimizer(twin, options.optim)
    stepper = Stepper(
        twin, task, optimizer, precision=precision, loss=options.loss, weights=None, accumulate=accumulate
    )
    if options.transfer.encoder_weights is not None:
        stepper.recordings = None
    clock = CLOCKS[options.clock]
    seconds = []
    for _ in range(repeats + 1):
        start = clock()
        stepper.run(batch, lr=1e-6)
        seconds.append(clock() - start)
    return min(seconds[1:])


def _loss(
    network: Network,
    task: Task,
    precision: Precision,
    options: LossOptions,
    weights: Tensor | None,
    images: Tensor,
    labels: Tensor,
) -> Tensor:
    """What a step minimises; no method of the stepper, so that a recording of it does not keep the stepper alive."""
    with _arithmetic(images.device, precision):
        outputs = task.forward(network, images)
    return task.loss(outputs, images, labels, options, weights)


def _arithmetic(device: torch.device, precision: Precision) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
