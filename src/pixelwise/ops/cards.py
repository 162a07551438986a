"""The one door to Triton, whose kernels do on accelerators what numba's do on processors (`native`).

Triton compiles when it launches: without a C compiler, or on a card that it does not know, it is only there that it
fails. So kernels are tried on a few values first, once in a process, and torch does their work where that fails.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from pixelwise.errors import OptionError

CARDS = ("cuda",)  # types of devices that kernels are tried on
_WARM = 3  # runs before a recording


@cache
def load(name: str) -> ModuleType | None:
    """The kernels of `pixelwise.ops.<name>`, or None where Triton is not installed."""
    try:
        return importlib.import_module(f"pixelwise.ops.{name}")
    except ImportError:
        return None


def kernels(name: str) -> Any:
    """The same, to be launched."""
    found = load(name)
    if found is None:
        raise RuntimeError("Triton is not installed")
    return found


def where(tensor: Tensor) -> AbstractContextManager[None]:
    """In the body kernels are launched on the card that the tensor is on; Triton takes the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def warm_up(work: Callable[[], object], stream: Any) -> None:
    """Run on `stream` what is to be recorded as a CUDA graph, so that libraries have chosen and taken their memory."""
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM):
            work()
    torch.cuda.current_stream().wait_stream(stream)


def works(device: torch.device, trial: Callable[[], None]) -> bool:
    """Whether `trial` succeeds on the device; a warning says why not."""
    try:
        trial()
    except torch.OutOfMemoryError:
        raise  # torch's own way takes more
    except Exception as error:  # whatever a compiler or a driver may raise: there is another way
        warnings.warn(
            f"Triton's kernels cannot be used on {device}, the slower way is taken: {error}",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True


def parts(count: int, size: int) -> int:
    """How many blocks of `size` hold `count`."""
    return -(-count // size)


def pick_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, if there is one.

    Raises:
        OptionError: there is no such device, or it is neither a processor nor a CUDA device.
    """
    try:
        device = torch.device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    except RuntimeError as error:
        raise OptionError(f"no device is called {name!r}", remedy="give auto, cpu or cuda") from error
    if device.type not in ("cpu", *CARDS):
        raise OptionError(
            f"device {name!r} is of a kind that is not supported", remedy="give auto, cpu or cuda"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"device {name!r} is not there", remedy="give --device cpu")
    return device
