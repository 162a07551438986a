"""The machine that a run finds itself on: its device and its memory."""

from __future__ import annotations

import ctypes

import torch

from pixelwise.errors import OptionError


def keep_memory() -> None:
    """Let glibc keep freed blocks instead of giving them back to the system after every step.

    Activations of some hundred MB are freed and asked for again each step; returning them costs a page fault
    per 4 KiB, a fifth of the time of a step at 360 x 480 where it was measured. Elsewhere this does nothing.
    """
    no_mapped_blocks, no_trim = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(no_mapped_blocks, 0)
        libc.mallopt(no_trim, 2**31 - 1)
    except (OSError, AttributeError):
        return


def pick_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"no device is called {name!r}", remedy="give auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"device {name!r} is not there", remedy="give --device cpu")
    return device
