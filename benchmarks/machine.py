"""What this machine can do at best, measured beside every benchmark that names a share of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def peak(dtype: torch.dtype) -> float:
    """Matrix products of 2048 x 2048, in TFLOP/s."""
    a = torch.randn(2048, 2048).to(dtype)
    return round(2 * 2048**3 / _least(lambda: a @ a) / 1e12, 3)


def copy_speed() -> float:
    """Bytes read and written by copies of 256 MiB on torch's threads, in GB/s."""
    source, target = torch.ones(2**26), torch.empty(2**26)
    return round(2 * source.nbytes / _least(lambda: target.copy_(source)) / 1e9, 1)


def _least(work: Callable[[], object]) -> float:
    """Seconds of the quickest of eight calls."""
    seconds = []
    for _ in range(8):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
