"""Nanoseconds per pixel of counting a confusion matrix, against torchmetrics, bincount and the memory.

Real label maps (CamVid's masks, tiled; the prediction is the truth shifted by a few pixels, with every 50th column
given to another class) and random ones. All contenders count the same arrays in one process, alternately; medians
over the rounds; the counts are compared first. The peers take int64, which is made beforehand and not timed; they
count a part of 16 million pixels, and their time is multiplied. The limit is the time to read both arrays on as
many threads.

    python benchmarks/confusion.py --data CAMVID --out benchmarks/results/confusion.json

torchmetrics is installed beside the package (benchmarks/requirements.txt).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numba
import numpy as np
import PIL.Image
import torch
from machine import store
from numpy.typing import NDArray

from pixelwise.ops import native
from pixelwise.ops.confusion import _pairs_plain, confusion

PART = 1 << 24
Maps = NDArray[np.uint8]


def main() -> None:
    """Count real and random maps in every way and write the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CamVid's folder with masks/")
    parser.add_argument("--pixels", type=int, default=1 << 28)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    began = time.perf_counter()
    native.load("confusion_kernels")
    loading = time.perf_counter() - began
    result: dict[str, object] = {
        "pixels": given.pixels,
        "rounds": given.rounds,
        "seconds_to_load_kernels": round(loading, 2),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "load_before": load,
    }
    for name, (truth, prediction, classes) in {
        "real, 12 classes": real(given.data, given.pixels),
        **{f"random, {k} classes": random(given.pixels, k) for k in (11, 19, 150)},
    }.items():
        result[name] = compare(truth, prediction, classes, given.rounds)
        print(name, json.dumps(result[name]), flush=True)
    print(json.dumps(result, indent=2))
    store(given.out, result)


def real(folder: Path, pixels: int) -> tuple[Maps, Maps, int]:
    """CamVid's training masks one after the other, again and again, and a prediction that is nearly right."""
    files = sorted((folder / "masks" / "train").glob("*.png"))
    masks = np.stack([np.asarray(PIL.Image.open(file)) for file in files])
    guess = np.roll(masks, (2, 3), (1, 2))
    guess[:, :, ::50] = (guess[:, :, ::50] + 1) % 12
    return np.resize(masks, pixels), np.resize(guess, pixels), 12


def random(pixels: int, classes: int) -> tuple[Maps, Maps, int]:
    """Every pixel on its own."""
    rng = np.random.default_rng(0)
    truth, prediction = (rng.integers(0, classes, pixels, dtype=np.uint8) for _ in range(2))
    return truth, prediction, classes


def compare(truth: Maps, prediction: Maps, classes: int, rounds: int) -> dict[str, float]:
    """Median nanoseconds per pixel of each way, and the ratios that count."""
    # The peers count one part as often as there are parts: 256 million int64 would need 4 GiB.
    parts = max(1, truth.size // PART)
    part = slice(0, min(PART, truth.size))
    wide = [torch.from_numpy(array[part].astype(np.int64)) for array in (truth, prediction)]
    wide_numpy = [tensor.numpy() for tensor in wide]
    metric = peer(classes)

    def torchmetrics_way() -> NDArray[np.int64]:
        metric.reset()
        metric.update(wide[1], wide[0])
        counts: NDArray[np.int64] = metric.compute().numpy()
        return counts

    def bincount_way() -> NDArray[np.int64]:
        pairs = wide_numpy[0] * classes + wide_numpy[1]
        return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)

    def torch_bincount_way() -> NDArray[np.int64]:
        pairs = wide[0] * classes + wide[1]
        counts: NDArray[np.int64] = torch.bincount(pairs, minlength=classes * classes).numpy()
        return counts.reshape(classes, classes)

    expected = confusion(truth[part], prediction[part], classes)
    for way in (torchmetrics_way, bincount_way, torch_bincount_way):
        np.testing.assert_array_equal(way(), expected)
    plain = _pairs_plain(truth[part], prediction[part]).reshape(256, 256)[:classes, :classes]
    np.testing.assert_array_equal(plain, expected)
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "pixelwise": (lambda: confusion(truth, prediction, classes), 1),
        "pixelwise without numba": (lambda: _pairs_plain(truth[part], prediction[part]), parts),
        "numpy bincount int64": (bincount_way, parts),
        "torch bincount int64": (torch_bincount_way, parts),
        "torchmetrics": (torchmetrics_way, parts),
        "reading both arrays": (lambda: read(truth, prediction), 1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (way, times) in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append((time.perf_counter() - began) * times)
    found = {name: round(median(values) / truth.size * 1e9, 4) for name, values in seconds.items()}
    ours, reading = found["pixelwise"], found["reading both arrays"]
    return {
        **found,
        "GB/s read": round(2 / reading, 2),
        "GB/s pixelwise": round(2 / ours, 2),
        "share of read bandwidth": round(reading / ours, 3),
        "times torchmetrics": round(found["torchmetrics"] / ours, 1),
        "times numpy bincount": round(found["numpy bincount int64"] / ours, 1),
        "times torch bincount": round(found["torch bincount int64"] / ours, 1),
    }


def peer(classes: int):  # type: ignore[no-untyped-def]
    """The peer's metric."""
    import torchvision_shim

    torchvision_shim.install()
    from torchmetrics.classification import MulticlassConfusionMatrix

    return MulticlassConfusionMatrix(num_classes=classes, validate_args=False)


@numba.njit("u8(u8[::1], u8[::1])", nogil=True)
def _sum(a, b):  # type: ignore[no-untyped-def]
    total = np.uint64(0)
    for index in range(a.size):
        total += a[index] ^ b[index]
    return total


def read(truth: Maps, prediction: Maps) -> None:
    """Look at every byte of both arrays once, as many threads as the kernel has, and do next to nothing."""
    words = [array[: array.size // 8 * 8].view(np.uint64) for array in (truth, prediction)]
    pieces = native.threads()
    bounds = [words[0].size * piece // pieces for piece in range(pieces + 1)]
    native.share(lambda k: _sum(*(word[bounds[k] : bounds[k + 1]] for word in words)), pieces)


if __name__ == "__main__":
    main()
