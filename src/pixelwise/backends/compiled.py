"""torch.compile with frozen weights: Inductor folds batch normalisation and lays weights out for the processor.

Compiles for half a minute and for one size at a time; needs a C++ compiler on a processor. torch keeps what it compiled
for the first eight sizes and runs further ones as they are.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.backends.interfaces import LowResolution, Precision, translated
from pixelwise.models.segmenter import Segmenter

REMEDY = "install a C++ compiler, or choose another engine, such as openvino or eager"


class Compiled:
    """A segmenter compiled by Inductor, once for each size that it meets."""

    name = "compiled"
    footprint = 1.0

    def __init__(self, model: Segmenter, precision: Precision) -> None:
        """Prepare; the compilation itself comes with the first image of a size."""
        core = LowResolution(copy.deepcopy(model)).eval().requires_grad_(False)
        core = core.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._core, self._device = core, next(core.parameters()).device
        self._lower = precision == "bfloat16"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules of torch that it imports
            self._run: Callable[[Tensor], Tensor] = torch.compile(
                core, options={"freezing": True}, dynamic=False
            )

    def __call__(self, pixels: NDArray[Any]) -> Tensor:
        """Framed pixels [N, H, W, C] to logits [N, K, h, w].

        Raises:
            OptionError: there is no working C++ compiler, or Inductor gives up.
            MemoryError: there is no room.
        """
        lower = torch.autocast(self._device.type, torch.bfloat16) if self._lower else nullcontext()
        with torch.inference_mode(), lower, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            images = self._core.ready(pixels).contiguous(memory_format=torch.channels_last)
            with translated("torch.compile failed", remedy=REMEDY):
                return self._run(images)

    def prepare(self, dtype: str) -> None:
        """Every size is prepared when it comes."""

    def release(self) -> None:
        """Nothing is kept but the code of the sizes that were met."""
