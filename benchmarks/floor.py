"""What a network takes at least on this machine, layer by layer, and the share of it that ours reach.

The floor of a layer is the longer of two times: its multiply-adds at the best speed measured for a single bfloat16
convolution of its type (7 x 7, 1 x 1, depthwise, 3 x 3 by width), and its bytes at the speed of a copy. Counted
generously: normalisation, ReLU and addition ride on the convolution before them in prediction, nearest upsampling and
concatenation cost nothing, every map is written and read once in bfloat16. Training: three times the multiply-adds
and bytes, and seven passes over the output of each batch normalisation. The floor is their sum; the share is
floor / measured. The stricter floor takes the speed of the quickest convolution of all for every layer
(`share_at_peak`). Each convolution is also timed by itself, so that the table shows where time is lost, and how
much of it outside of convolutions.

    python benchmarks/floor.py --out benchmarks/results/floor.json
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import copy_speed, peak, store
from torch.nn import functional as F

import pixelwise as pw
from pixelwise.models.graph import IMAGE, Operation, record

CLASSES, BYTES = 11, 2  # bfloat16
MODELS = ("unet", "deeplabv3plus")
ENGINE = "openvino"  # of prediction
WIDTHS = (16, 32, 64, 128, 256, 512)
FREE = {"cat", "upsample_nearest2d", "relu", "native_batch_norm", "slice", "expand", "constant_pad_nd"}
FREE |= {"replication_pad2d", "view", "alias", "detach", "clone", "add", "mul"}
Shape = tuple[int, ...]  # inputs, outputs, rows, columns, kernel, stride, dilation, groups


@dataclass(frozen=True)
class Layer:
    """One layer for one image: what it computes and moves; `shape` of a convolution, for timing it alone."""

    name: str
    kind: str
    multiply_adds: int
    read: int  # values
    written: int
    weights: int
    normalised: bool = False
    shape: Shape | None = None


def layers(model: str, size: tuple[int, int]) -> list[Layer]:
    """The layers of a network on ResNet18 that cost something."""
    net = pw.build(model, encoder="resnet18", classes=CLASSES)
    image = torch.empty(1, 3, *size, device="meta")
    traced = record(net, lambda ghost, x: ghost.judged(ghost.frame.framed(x)), image)
    operations = traced.operations
    normed = {s.operation for op in operations if op.name == "native_batch_norm" for s in op.sources}
    found = []
    for place, op in enumerate(operations):
        read = sum(_values(operations, source.operation, source.shape) for source in op.sources)
        written = math.prod(op.shape)
        if op.name == "convolution":
            found.append(_convolution(op, read, written, normalised=place in normed))
        elif op.name == "add" and len(op.sources) == 2:
            found.append(Layer(op.module, "add", 0, math.prod(op.sources[0].shape), 0, 0))
        elif op.name not in FREE:
            found.append(Layer(f"{op.module} {op.name}", op.name, 0, read, written, 0))
    last = operations[traced.results[-1]].shape
    found.append(Layer("labels or loss", "head", 0, math.prod(last), size[0] * size[1] // 2, 0))
    return found


def _values(operations: tuple[Operation, ...], place: int, shape: Shape) -> int:
    """How many values are read of a result, through what need not be written down."""
    if place == IMAGE or operations[place].name not in {"cat", "upsample_nearest2d"}:
        return math.prod(shape)
    return sum(_values(operations, source.operation, source.shape) for source in operations[place].sources)


def _convolution(op: Operation, read: int, written: int, *, normalised: bool) -> Layer:
    weight = op.arguments["weight"]
    given = op.arguments
    shape = (
        op.sources[0].shape[1],
        *op.shape[1:2],
        *op.sources[0].shape[2:],
        weight.shape[2],
        given["stride"][0],
        given["dilation"][0],
        given["groups"],
    )
    count = math.prod(op.shape[2:]) * weight.numel()
    return Layer(op.module, _kind(shape), count, read, written, weight.numel(), normalised, shape)


def _kind(shape: Shape) -> str:
    inputs, outputs, _, _, kernel, _, _, groups = shape
    if groups > 1:
        return "depthwise"
    if kernel != 3:
        return f"{kernel} x {kernel}"
    narrow = min(inputs, outputs)
    return f"3 x 3, {max((w for w in WIDTHS if w <= narrow), default=WIDTHS[0])}"


def timed(shape: Shape, batch: int, *, training: bool = False, repeats: int = 6) -> float:
    """Seconds of one convolution by itself, bfloat16 and channels last; the least of some calls."""
    inputs, outputs, rows, columns, kernel, stride, dilation, groups = shape
    last = torch.channels_last
    x = torch.randn(batch, inputs, rows, columns).to(torch.bfloat16).contiguous(memory_format=last)
    w = (
        torch.randn(outputs, inputs // groups, kernel, kernel)
        .to(torch.bfloat16)
        .contiguous(memory_format=last)
    )
    padding = dilation * (kernel // 2)

    def forward() -> torch.Tensor:
        return F.conv2d(x, w, None, stride, padding, dilation, groups)

    def step() -> None:
        forward().backward(gradient)

    work: Callable[[], object] = forward
    if training:
        x.requires_grad_(inputs != 3)  # images want no gradient
        w.requires_grad_()
        gradient = torch.ones_like(forward())
        work = step
    least = math.inf
    with torch.set_grad_enabled(training):
        for _ in range(repeats):
            began = time.perf_counter()
            work()
            least = min(least, time.perf_counter() - began)
    return least


def peaks() -> dict[str, float]:
    """Multiply-adds per second of single convolutions, by type."""
    spots: dict[str, Shape] = {
        "7 x 7": (3, 64, 512, 512, 7, 2, 1, 1),
        "1 x 1": (256, 256, 64, 64, 1, 1, 1, 1),
        "depthwise": (256, 256, 64, 64, 3, 1, 1, 256),
    }
    for width in WIDTHS:
        side = min(256, 8192 // width)
        spots[f"3 x 3, {width}"] = (width, width, side, side, 3, 1, 1, 1)
    found = {}
    for name, shape in spots.items():
        inputs, outputs, rows, columns, kernel, stride, _, groups = shape
        count = 4 * rows * columns * outputs * inputs * kernel**2 // groups // stride**2
        found[name] = count / timed(shape, 4, repeats=10)
    return found


def floors(layer: Layer, batch: int, speeds: dict[str, float], bandwidth: float) -> tuple[float, float]:
    """Seconds at least, of prediction and of a training step, for the whole batch."""
    arithmetic = batch * layer.multiply_adds / speeds[layer.kind] if layer.multiply_adds else 0.0
    moved = BYTES * (batch * (layer.read + layer.written) + layer.weights) / bandwidth
    passes = 7 * BYTES * batch * layer.written / bandwidth if layer.normalised else 0.0
    factor = 3 if layer.shape else 2
    return max(arithmetic, moved), max(3 * arithmetic, factor * moved) + passes


def measure(model: str, size: tuple[int, int], batch: int, what: str, pipe: Connection) -> None:
    """In a process of its own: median seconds of a prediction or of a training step."""
    if what == "training":
        from train_step import ours

        from pixelwise.training.machine import keep_memory

        os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as the command line does
        keep_memory()
        work: Callable[[], object] = ours(model, size)
    else:
        import numpy as np

        from pixelwise.infer.engine import open_engine

        torch.manual_seed(0)
        net = pw.build(model, encoder="resnet18", classes=CLASSES).eval()
        engine = open_engine(net, ENGINE, precision="bfloat16", alike=lambda: True)
        pixels = np.random.default_rng(0).integers(0, 256, (batch, *size, 3), dtype=np.uint8)
        work = lambda: engine.batch(pixels)  # noqa: E731
    for _ in range(2):
        work()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    pipe.send(median(seconds))


def apart(*given: Any) -> float:
    """`measure` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    pipe, end = context.Pipe()
    process = context.Process(target=measure, args=(*given, end))
    process.start()
    end.close()  # so that a failure ends the wait
    seconds: float = pipe.recv()
    process.join()
    return seconds


def row(
    model: str, size: tuple[int, int], batch: int, what: str, speeds: dict[str, float], bandwidth: float
) -> dict[str, Any]:
    """Floor, measured time and share, and the layers that lose most."""
    training = what == "training"
    seconds = apart(model, size, batch, what)
    groups: dict[Any, list[Layer]] = defaultdict(list)
    for layer in layers(model, size):
        groups[layer.shape or (layer.kind,)].append(layer)
    lines = []
    at_peak = 0.0
    quickest = dict.fromkeys(speeds, max(speeds.values()))
    for same in groups.values():
        floor = sum(floors(layer, batch, speeds, bandwidth)[training] for layer in same)
        at_peak += 1000 * sum(floors(layer, batch, quickest, bandwidth)[training] for layer in same)
        alone = None
        if same[0].shape:
            alone = 1000 * len(same) * timed(same[0].shape, batch, training=training, repeats=3)
        name = same[0].name + (f" and {len(same) - 1} like it" if len(same) > 1 else "")
        lines.append({"layer": name, "kind": same[0].kind, "floor_ms": 1000 * floor, "alone_ms": alone})
    floor = sum(line["floor_ms"] for line in lines)
    alone = sum(line["alone_ms"] or 0.0 for line in lines)
    convolutions = [line for line in lines if line["alone_ms"] is not None]
    lines = sorted(convolutions, key=lambda line: line["floor_ms"] - line["alone_ms"])[:6]
    found = {
        "model": model,
        "size": list(size),
        "batch": batch,
        "what": what,
        "floor_ms": round(floor, 1),
        "measured_ms": round(1000 * seconds, 1),
        "share_of_floor": round(floor / seconds / 1000, 3),
        "floor_at_peak_ms": round(at_peak, 1),
        "share_at_peak": round(at_peak / seconds / 1000, 3),
        "convolutions_alone_ms": round(alone, 1),
        "lose_most": [{**line, **_rounded(line)} for line in lines],
    }
    print(table(found), flush=True)
    return found


def _rounded(line: dict[str, Any]) -> dict[str, float]:
    return {name: round(line[name], 2) for name in ("floor_ms", "alone_ms")}


def table(found: dict[str, Any]) -> str:
    """One result for people."""
    rows, columns = found["size"]
    head = (
        f"{found['model']}, {rows} x {columns}, batch {found['batch']}, {found['what']}: floor {found['floor_ms']} ms, "
        f"measured {found['measured_ms']} ms, share {100 * found['share_of_floor']:.0f} % "
        f"({100 * found['share_at_peak']:.0f} % with every layer at the speed of the quickest); "
        f"convolutions one by one {found['convolutions_alone_ms']} ms"
    )
    lines = [
        f"  {line['alone_ms']:9.2f} ms alone, floor {line['floor_ms']:8.2f}  {line['kind']:12} {line['layer']}"
        for line in found["lose_most"]
    ]
    return "\n".join([head, *lines])


def main() -> None:
    """Measure the machine, then each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument(
        "--what", nargs="*", default=["prediction", "training"], choices=["prediction", "training"]
    )
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    speeds, bandwidth = peaks(), 1e9 * copy_speed()
    tflops = {name: round(2 * speed / 1e12, 3) for name, speed in speeds.items()}
    print("TFLOP/s of single convolutions", json.dumps(tflops), flush=True)
    rows = []
    for model in given.models:
        for what in given.what:
            cases = [((360, 480), 8)] if what == "training" else [((512, 512), 1), ((512, 512), 4)]
            rows += [row(model, size, batch, what, speeds, bandwidth) for size, batch in cases]
    result = {
        "command": "python benchmarks/floor.py",
        "rows": rows,
        "tflops_of_single_convolutions": tflops,
        "bfloat16_peak_tflops": peak(torch.bfloat16),
        "copy_gb_per_s": bandwidth / 1e9,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load_before": load,
    }
    store(given.out, result)


if __name__ == "__main__":
    main()
