"""The network on a card, prepared once and recorded for each size of image as a CUDA graph.

Batch normalisation is folded, weights are kept in the precision of the arithmetic and channels last, pixels are sent
as they are stored and normalised there. The processor starts the whole network with one call: what a single image
waits for otherwise is the start of its hundred kernels.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.backends.folded import fold_norms
from pixelwise.backends.interfaces import LowResolution, Precision
from pixelwise.errors import OptionError
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.cards import warm_up

MOST = 8  # sizes that are kept recorded, the last ones
Key = tuple[tuple[int, ...], str]


class Recorded:
    """A segmenter recorded once for each size that it meets a second time."""

    name = "recorded"
    footprint = 1.0

    def __init__(self, model: Segmenter, precision: Precision) -> None:
        """Prepare; a recording itself comes with the second image of a size.

        Raises:
            OptionError: the model is not on a CUDA device.
        """
        device = next(model.parameters()).device
        if device.type != "cuda":
            raise OptionError(
                f"the engine recorded needs a CUDA device, and the model is on {device.type}",
                remedy="give --device cuda on a machine that has one, or another engine",
            )
        self._network = Prepared(model, precision)
        self._sizes: set[Key] = set()
        self._made: OrderedDict[Key, _Recording] = OrderedDict()
        self._pool: Any = None  # of memory, which recordings use in turn
        self._able = True

    def __call__(self, pixels: NDArray[Any]) -> Tensor:
        """Framed pixels [N, H, W, C] to logits [N, K, h, w], which the next call of the same size overwrites."""
        key = pixels.shape, pixels.dtype.name
        with torch.inference_mode():
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key].replay(pixels)
            if key in self._sizes and self._able:
                return self._record(key, pixels)
            self._sizes.add(key)
            return self._plain(pixels)

    def prepare(self, dtype: str) -> None:
        """Every size is prepared when it comes."""

    def release(self) -> None:
        """Give up the recordings and the memory that they hold."""
        self._made.clear()
        self._sizes.clear()

    def _plain(self, pixels: NDArray[Any]) -> Tensor:
        """As it is; where there is no room, without the memory of the recordings."""
        try:
            return self._network.plain(pixels)
        except torch.OutOfMemoryError:
            if not self._made:
                raise
        self.release()
        torch.cuda.empty_cache()
        return self._network.plain(pixels)

    def _record(self, key: Key, pixels: NDArray[Any]) -> Tensor:
        if len(self._made) == MOST:
            self._made.popitem(last=False)
        try:
            with torch.cuda.device(self._network.device):
                self._pool = self._pool or torch.cuda.graph_pool_handle()
                self._made[key] = _Recording(self._network, pixels, self._pool)
        except torch.OutOfMemoryError:
            return self._plain(pixels)
        except Exception as error:  # whatever a driver or an operation may raise: there is another way
            self._able = False
            warnings.warn(
                f"the network cannot be recorded, it runs as it is: {error}", RuntimeWarning, stacklevel=3
            )
            return self._plain(pixels)
        return self._made[key].replay(pixels)


class Prepared(torch.nn.Module):
    """A copy of a segmenter for prediction alone: normalisation folded, weights in the precision of the arithmetic."""

    def __init__(self, model: Segmenter, precision: Precision) -> None:
        super().__init__()
        twin = copy.deepcopy(model).eval().requires_grad_(False)
        self.core = LowResolution(twin)
        edge = 2 * model.stride
        fold_norms(self.core, twin.frame.framed(torch.empty(1, model.bands, edge, edge, device="meta")))
        mean, scale = twin.mean, twin.scale
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self.core.to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        twin.mean, twin.scale = mean, scale  # values of 16 bits do not fit into bfloat16
        self.device = mean.device

    def forward(self, pixels: Tensor) -> Tensor:
        """Framed pixels [N, H, W, C] on the device to logits [N, K, h, w]."""
        images = self.core.model.prepare(pixels.permute(0, 3, 1, 2)).to(self.dtype)
        logits: Tensor = self.core(images.contiguous(memory_format=torch.channels_last))
        return logits

    def plain(self, pixels: NDArray[Any]) -> Tensor:
        """The same for pixels that are not there yet."""
        logits: Tensor = self(torch.from_numpy(pixels).to(self.device))
        return logits


class _Recording:
    """The graph of one size."""

    def __init__(self, network: Prepared, pixels: NDArray[Any], pool: Any) -> None:
        self._sent = torch.from_numpy(pixels).clone().pin_memory()
        self._pixels = self._sent.to(network.device)
        warm_up(lambda: network(self._pixels), torch.cuda.Stream())  # type: ignore[no-untyped-call]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._logits: Tensor = network(self._pixels)

    def replay(self, pixels: NDArray[Any]) -> Tensor:
        """The answer for pixels of this size, once those before are done with."""
        with torch.cuda.device(self._pixels.device):
            torch.cuda.current_stream().synchronize()  # what was sent may still be on its way
            self._sent.copy_(torch.from_numpy(pixels))  # by all threads, which an assignment in NumPy is not
            self._pixels.copy_(self._sent, non_blocking=True)
            self._graph.replay()
        return self._logits
