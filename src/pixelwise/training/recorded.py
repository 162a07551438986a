"""Forward, loss and backward recorded once and replayed: a CUDA graph, which the processor starts with one call.

On a fast card the several hundred kernels of a step are done sooner than the processor can start them one by one.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.ops.cards import warm_up

Compute = Callable[[Tensor, Tensor], Tensor]


class Recordings:
    """One recording for each size of batch; where one cannot be made, `compute` runs as it is from then on.

    Whatever a recording reads and writes stays where it was: the weights must be changed in place, and get the
    same gradients again and again, which the next replay overwrites.
    """

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        """Prepare.

        Args:
            network: Whose parameters and statistics `compute` uses.
            compute: Images and labels to a loss. It asks for the value of no tensor.
        """
        self.network, self.compute = network, compute
        self._made: dict[tuple[torch.Size, torch.Size], _Recording] = {}
        self._failed = False
        self._place: _Place | None = None

    def run(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss, with the gradients of the parameters set anew."""
        key = images.shape, labels.shape
        if key not in self._made and not self._failed:
            try:
                self._place = self._place or _Place(images.device)
                self._made[key] = _Recording(self.network, self.compute, (images, labels), self._place)
            except Exception as error:  # whatever a driver or an operation may raise: there is another way
                self._failed = True
                self._made.clear()
                warnings.warn(
                    f"a step cannot be recorded, the slower way is taken: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
        if self._failed:
            return stepped(self.network, self.compute, images, labels).detach()
        return self._made[key].replay(images, labels)


class _Place:
    """What all recordings of a network have in common: the stream they are made on, and the memory they use in turn."""

    def __init__(self, device: torch.device) -> None:
        with torch.cuda.device(device):
            self.stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self.pool: Any = torch.cuda.graph_pool_handle()


class _Recording:
    """The graph of one size."""

    def __init__(
        self, network: nn.Module, compute: Compute, batch: tuple[Tensor, Tensor], place: _Place
    ) -> None:
        self._images, self._labels = (tensor.clone() for tensor in batch)
        self._parameters = [one for one in network.parameters() if one.requires_grad]
        statistics = list(network.buffers())
        before = [one.clone() for one in statistics]
        device = self._images.device
        try:
            # random numbers are drawn again by the first replay: the step is that of a run that had recorded before
            with torch.cuda.device(device), torch.random.fork_rng([device]):
                batch = self._images, self._labels
                warm_up(lambda: stepped(network, compute, *batch), place.stream)
                network.zero_grad(
                    set_to_none=True
                )  # while recording, no memory from outside of it is given back
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph, pool=place.pool, stream=place.stream):
                    # kept, for tables that its operations read belong to it
                    self._loss = stepped(network, compute, *batch)
        finally:
            put_back(statistics, before)
        self._gradients = [one.grad for one in self._parameters]

    def replay(self, images: Tensor, labels: Tensor) -> Tensor:
        self._images.copy_(images)
        self._labels.copy_(labels)
        with torch.cuda.device(self._images.device):
            self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._loss.detach()


def stepped(network: nn.Module, compute: Compute, images: Tensor, labels: Tensor) -> Tensor:
    """The loss, its gradients written anew and not added to those that are there."""
    network.zero_grad(set_to_none=True)
    loss = compute(images, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss


def put_back(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Give tensors the values they had."""
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
