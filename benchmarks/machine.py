"""What this machine can do at best, measured beside every benchmark that names a share of it.

python benchmarks/machine.py --out machine.json
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def peak(dtype: torch.dtype) -> float:
    """Matrix products of 2048 x 2048, in TFLOP/s."""
    a = torch.randn(2048, 2048).to(dtype)
    return round(2 * 2048**3 / _least(lambda: a @ a) / 1e12, 3)


def copy_speed() -> float:
    """Bytes read and written by copies of 256 MiB on torch's threads, in GB/s."""
    source, target = torch.ones(2**26), torch.empty(2**26)
    return round(2 * source.nbytes / _least(lambda: target.copy_(source)) / 1e9, 1)


def peak_memory() -> float:
    """GiB that this process held at most; `getrusage` counts from what the process that started it held."""
    return _status("VmHWM")


def memory_now() -> float:
    """GiB that this process holds."""
    return _status("VmRSS")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (kilobytes,) = (int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return kilobytes / 2**20


def store(path: Path | None, result: Any) -> None:
    """Write a result as JSON, if there is a place for it."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _least(work: Callable[[], object]) -> float:
    """Seconds of the quickest of eight calls."""
    seconds = []
    for _ in range(8):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    result = {
        "load_before": os.getloadavg()[0],
        "float32_tflops": peak(torch.float32),
        "bfloat16_tflops": peak(torch.bfloat16),
        "copy_gb_per_s": copy_speed(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    print(json.dumps(result, indent=1))
    store(given.out, result)


if __name__ == "__main__":
    main()
