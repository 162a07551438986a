"""The memory of the machine that a run finds itself on."""

from __future__ import annotations

import ctypes


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
