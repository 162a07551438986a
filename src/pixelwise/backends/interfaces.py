"""What a backend is: pixels as in the image files in, logits at the decoder's stride out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pixelwise.errors import OptionError, PixelwiseError
from pixelwise.models.blocks import Unpool
from pixelwise.models.segmenter import Segmenter

Precision = Literal["float32", "bfloat16"]


class Backend(Protocol):
    """A segmenter's arithmetic, prepared once.

    Attributes:
        name: As `--engine` has it.
        footprint: Memory of its activations, as a share of what torch holds in float32.
    """

    name: str
    footprint: float

    def __call__(self, pixels: NDArray[Any]) -> Tensor:
        """Pixels [N, H, W, C] with the values of their files, framed by the model, to logits [N, K, h, w].

        Raises:
            OptionError: the backend cannot run this network.
            MemoryError: it finds no room.
        """
        ...

    def prepare(self, dtype: str) -> None:
        """Do what the first pixels of a type would wait for, whatever their size."""
        ...

    def release(self) -> None:
        """Give back the memory that is kept from one call to the next."""
        ...


@contextmanager
def translated(
    found: str, *, line: int = 0, remedy: str = "choose another engine, such as eager"
) -> Iterator[None]:
    """Whatever a library raises as one typed error, in which `found` and one line of the library's words are joined.

    Args:
        found: What cannot be done.
        line: Which line of the library's message says why.
        remedy: What to do.

    Raises:
        OptionError: the library failed.
        MemoryError: it found no room.
    """
    try:
        yield
    except PixelwiseError:
        raise
    except Exception as error:  # exporters and compilers raise anything, with no root in common
        if out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise OptionError(f"{found}: {_reason(error, line)}", remedy=remedy) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocator gave up; several of them say so in words alone."""
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or any(words in str(error) for words in ("not enough memory", "allocate memory"))


def _reason(error: BaseException, line: int) -> str:
    """One line of what began it; the errors raised from it tell how to debug the library."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[line]


class PlainUnpool(nn.Module):
    """`Unpool` by comparing the four pixels of a window: runtimes beside torch have no unpooling."""

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """[N, C, H, W] and `guide` [N, C, 2 H, 2 W] to [N, C, 2 H, 2 W]."""
        count, channels, height, width = x.shape
        windows = guide.reshape(count, channels, height, 2, width, 2).transpose(3, 4).flatten(4)
        largest = functional.one_hot(windows.argmax(dim=4), 4).to(x.dtype)
        placed = (x.unsqueeze(4) * largest).reshape(count, channels, height, width, 2, 2)
        return placed.transpose(3, 4).reshape(count, channels, 2 * height, 2 * width)


class LowResolution(nn.Module):
    """The part of a segmenter between its frame and its full-size logits, as a module of its own."""

    def __init__(self, model: Segmenter, *, plain: bool = False) -> None:
        """Wrap the model, or with `plain` a copy whose operations other runtimes know."""
        super().__init__()
        self.model = copy.deepcopy(model) if plain else model
        if plain:
            for part in list(self.model.modules()):
                for name, child in part.named_children():
                    if isinstance(child, Unpool):
                        setattr(part, name, PlainUnpool())

    def forward(self, images: Tensor) -> Tensor:
        """Fitted images [N, C, H, W] to logits [N, K, h, w]."""
        return self.model.judged(images)

    def ready(self, pixels: NDArray[Any]) -> Tensor:
        """Framed pixels [N, H, W, C] to normalised images [N, C, H, W], on the model's device."""
        device = next(self.model.parameters()).device
        return self.model.prepare(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device))
