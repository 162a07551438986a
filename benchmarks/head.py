"""Milliseconds and memory of the full-resolution head, against torch: eager and compiled.

Logits at stride 4 to labels, and to cross-entropy with its gradient, 512 x 512, 11, 19 and 150 classes. The peers are
`interpolate` then `argmax` or `cross_entropy`, in the quicker of torch's two memory layouts, and the same under
`torch.compile`. All contenders alternate in one process; ours are compared with eager float64 first. In each round a
contender is called once, right after another one, which finds caches cold and threads asleep (`single`), and five
times in a row; medians over all rounds. Logits are smooth noise, as networks give; labels also for white noise, where
no class can be left out. Extra memory is what each contender adds at its peak: torch's own count, and NumPy's for the
kernels.

    python benchmarks/head.py --out benchmarks/results/head.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numba
import torch
from machine import copy_speed, store
from torch import Tensor
from torch.nn import functional as F

from pixelwise.losses import LossOptions, cross_entropy, overlap_loss, segmentation_loss
from pixelwise.ops import native
from pixelwise.ops.head import confident_labels_from_low, cross_entropy_from_low, labels_from_low

LOW, SIZE = (128, 128), (512, 512)
IN_A_ROW = 5


def main() -> None:
    """Time every head and write the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=[11, 19, 150])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true", help="where there is no C++ compiler")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    began = time.perf_counter()
    native.load("head_kernels"), native.load("loss_kernels")
    result: dict[str, object] = {
        "rounds": given.rounds,
        "seconds_to_load_kernels": round(time.perf_counter() - began, 2),
        "copy_GB_per_s": copy_speed(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "load_before": load,
    }
    for classes in given.classes:
        result[f"{classes} classes"] = measure(classes, given.rounds, compiled=not given.no_compile)
        print(classes, json.dumps(result[f"{classes} classes"], indent=1), flush=True)
    store(given.out, result)


def full(low: Tensor) -> Tensor:
    """Logits at full size."""
    return F.interpolate(low, size=SIZE, mode="bilinear", align_corners=False)


def eager_labels(low: Tensor) -> Tensor:
    """Interpolate, then argmax."""
    return full(low).argmax(dim=1)


def eager_loss(low: Tensor, labels: Tensor) -> Tensor:
    """Interpolate, then cross-entropy."""
    return F.cross_entropy(full(low), labels, ignore_index=255)


def eager_dice_loss(low: Tensor, labels: Tensor) -> Tensor:
    """Interpolate, then the training loss: cross-entropy and soft Dice."""
    return segmentation_loss(full(low), labels, LossOptions())


def exact_dice_loss(low: Tensor, labels: Tensor) -> Tensor:
    """The same in the arithmetic of `low`; `segmentation_loss` is in float32 always."""
    log_p = F.log_softmax(full(low), dim=1)
    overlap = overlap_loss(log_p.exp(), labels, kind="dice")
    return cross_entropy(log_p, labels) + LossOptions().overlap_weight * overlap


def with_gradient(loss: Callable[[Tensor, Tensor], Tensor], low: Tensor, labels: Tensor) -> Callable[[], Any]:
    """Forward and backward; returns the loss and the gradient."""
    leaf = low.detach().clone(memory_format=torch.preserve_format).requires_grad_()

    def step() -> tuple[Tensor, Tensor]:
        value = loss(leaf, labels)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return step


def measure(classes: int, rounds: int, *, compiled: bool) -> dict[str, object]:
    """All heads for one number of classes."""
    torch.manual_seed(0)
    noise = torch.randn(1, classes, *LOW) * 3
    smooth = F.interpolate(torch.randn(1, classes, 9, 9) * 5, size=LOW, mode="bicubic") + noise / 30
    labels = torch.randint(0, classes, (1, 32, 32)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    labels[torch.rand(labels.shape) < 0.02] = 255
    narrow = labels.to(torch.uint8)
    last = smooth.contiguous(memory_format=torch.channels_last)
    noise_last = noise.contiguous(memory_format=torch.channels_last)
    ways: dict[str, Callable[[], Any]] = {
        "labels: pixelwise": lambda: labels_from_low(smooth, SIZE),
        "labels: eager": lambda: eager_labels(smooth),
        "labels: eager channels_last": lambda: eager_labels(last),
        "labels of noise: pixelwise": lambda: labels_from_low(noise, SIZE),
        "labels of noise: eager": lambda: eager_labels(noise),
        "labels of noise: eager channels_last": lambda: eager_labels(noise_last),
        "labels and confidence: pixelwise": lambda: confident_labels_from_low(smooth, SIZE),
        "labels and confidence: eager": lambda: full(smooth).softmax(dim=1).max(dim=1),
        "loss: pixelwise": with_gradient(cross_entropy_from_low, smooth, narrow),
        "loss: eager": with_gradient(eager_loss, smooth, labels),
        "loss: eager channels_last": with_gradient(eager_loss, last, labels),
        "loss with Dice: pixelwise": with_gradient(low_dice_loss, smooth, narrow),
        "loss with Dice: eager": with_gradient(eager_dice_loss, smooth, labels),
    }
    if compiled:
        torch._dynamo.reset()
        fast_labels = torch.compile(eager_labels, dynamic=False)
        ways["labels: compiled"] = lambda: fast_labels(smooth)
        ways["labels of noise: compiled"] = lambda: fast_labels(noise)
        ways["loss: compiled"] = with_gradient(torch.compile(eager_loss, dynamic=False), smooth, labels)
        ways["loss with Dice: compiled"] = with_gradient(
            torch.compile(eager_dice_loss, dynamic=False), smooth, labels
        )
    exact = smooth.double()
    agreement = compare(
        ways,
        {
            "labels": lambda: eager_labels(exact),
            "labels of noise": lambda: eager_labels(noise.double()),
            "loss": with_gradient(eager_loss, exact, labels),
            "loss with Dice": with_gradient(exact_dice_loss, exact, labels),
        },
    )
    single, repeated = timed(ways, rounds)
    memory = {
        name: extra(ways[name])
        for name in ways
        if name.split(": ")[1] in ("pixelwise", "eager") and "noise" not in name
    }
    shares = {
        f"{head}: share of eager's memory": round(memory[f"{head}: pixelwise"] / memory[f"{head}: eager"], 3)
        for head in ("labels", "labels and confidence", "loss", "loss with Dice")
    }
    return {
        "milliseconds": {name: round(value, 2) for name, value in repeated.items()},
        "ratios": ratios(repeated),
        "milliseconds of single calls": {name: round(value, 2) for name, value in single.items()},
        "ratios of single calls": ratios(single),
        "extra_MB": {name: round(value / 1e6, 1) for name, value in memory.items()},
        "shares": shares,
        **agreement,
    }


def timed(ways: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of each way: of a call by itself, and of one of several in a row; medians."""
    single: dict[str, list[float]] = {name: [] for name in ways}
    repeated: dict[str, list[float]] = {name: [] for name in ways}
    with torch.enable_grad():
        for _ in range(rounds):
            for name, way in ways.items():
                for seconds in (single, *[repeated] * IN_A_ROW):
                    began = time.perf_counter()
                    way()
                    seconds[name].append(time.perf_counter() - began)
    return milliseconds(single), milliseconds(repeated)


def milliseconds(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Medians."""
    return {name: median(values) * 1e3 for name, values in seconds.items()}


def ratios(times: dict[str, float]) -> dict[str, float]:
    """How many times as long the quickest eager peer and the compiled one take."""
    found = {}
    for head in ("labels", "labels of noise", "labels and confidence", "loss", "loss with Dice"):
        ours = times[f"{head}: pixelwise"]
        eager = min(value for name, value in times.items() if name.startswith(f"{head}: eager"))
        found[f"{head}: times eager"] = round(eager / ours, 1)
        if f"{head}: compiled" in times:
            found[f"{head}: times compiled"] = round(times[f"{head}: compiled"] / ours, 1)
    return found


def low_dice_loss(low: Tensor, labels: Tensor) -> Tensor:
    """The training loss from low-resolution logits."""
    return segmentation_loss(low, labels, LossOptions(), span=SIZE)


def compare(ways: dict[str, Callable[[], Any]], judges: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Run everything once, which compiles it, and compare ours with float64; raises where they differ."""
    results = {name: way() for name, way in ways.items()}
    found = {}
    for head in ("labels", "labels of noise"):
        differ = (results[f"{head}: pixelwise"].long() != judges[head]()).double().mean()
        found[f"{head}: share of pixels that differ"] = float(differ)
        if differ > 1e-4:
            raise SystemExit(f"{head} differ in {float(differ)} of the pixels")
    for head in ("loss", "loss with Dice"):
        value, gradient = results[f"{head}: pixelwise"]
        other, right = judges[head]()
        off = float((gradient - right).abs().max() / right.abs().max())
        found[f"{head}: largest error of the gradient"] = off
        if abs(float(value - other)) > 1e-4 * abs(float(other)) or off > 1e-3:
            raise SystemExit(f"{head} differs: {float(value)} and {float(other)}, gradient {off}")
    return found


def extra(way: Callable[[], Any]) -> int:
    """Bytes that a call adds at its peak."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True):
        way()  # the profiler's own, which comes with its first use
    tracemalloc.start()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        way()
    arrays = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    now = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak + arrays


if __name__ == "__main__":
    main()
