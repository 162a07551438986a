"""Images per second of one training step, against segmentation_models_pytorch's same network.

U-Net on ResNet18, 11 classes, batch 8, 256 x 256, forward, loss, backward and update. The peer runs as its
examples run it (eager float32, cross-entropy, Adam) and at a better setting (bfloat16, channels last). Contenders
alternate, each in a process of its own; medians over the rounds. The same weights are loaded into both
networks and their logits compared first.

    python benchmarks/train_step.py --out benchmarks/results/train_step.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional as F

import pixelwise as pw
from pixelwise.data.loader import Batch
from pixelwise.losses import LossOptions
from pixelwise.training.machine import keep_memory
from pixelwise.training.optim import make_optimizer
from pixelwise.training.options import OptimOptions
from pixelwise.training.step import Stepper
from pixelwise.training.tasks import Segment

BATCH, SIZE, CLASSES = 8, 256, 11
CONTENDERS = ("smp float32", "smp bfloat16", "pixelwise")


def main() -> None:
    """Alternate the contenders and write the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    compare()
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for name in CONTENDERS:  # a process each, so that none runs with another's memory settings
        pipes[name], end = context.Pipe()
        context.Process(target=contend, args=(name, given.steps, end), daemon=True).start()
        pipes[name].recv()  # warm
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(given.rounds):
        for name, pipe in pipes.items():
            pipe.send("go")
            seconds[name] += pipe.recv()
    for pipe in pipes.values():
        pipe.send("stop")
    speed = {name: round(BATCH / median(times), 2) for name, times in seconds.items()}
    result = {
        "images_per_second": speed,
        "ratio_to_smp_float32": round(speed["pixelwise"] / speed["smp float32"], 2),
        "ratio_to_smp_bfloat16": round(speed["pixelwise"] / speed["smp bfloat16"], 2),
        "peak_tflops": {
            str(dtype).removeprefix("torch."): peak(dtype) for dtype in (torch.float32, torch.bfloat16)
        },
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.processor() or platform.machine(),
        "load_before": load,
    }
    print(json.dumps(result, indent=2))
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def contend(name: str, steps: int, pipe: Connection) -> None:
    """Hold one contender and time its steps whenever asked."""
    if name == "pixelwise":  # as the command line does
        os.environ["THP_MEM_ALLOC_ENABLE"] = "1"
        keep_memory()
    torch.manual_seed(0)
    images = torch.randn(BATCH, 3, SIZE, SIZE)
    labels = torch.randint(0, CLASSES, (BATCH, SIZE, SIZE))
    step = ours(images, labels) if name == "pixelwise" else peer(images, labels, tuned=name == "smp bfloat16")
    for _ in range(3):
        step()
    pipe.send("warm")
    while pipe.recv() == "go":
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        pipe.send(seconds)


def ours(images: torch.Tensor, labels: torch.Tensor) -> Callable[[], float]:
    """A step as `pixelwise train` makes it."""
    net = pw.build("unet", encoder="resnet18", classes=CLASSES).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(net, OptimOptions())
    loss = LossOptions(overlap_weight=0.0)  # the peer has cross-entropy alone
    stepper = Stepper(net, Segment(), optimizer, precision="bfloat16", loss=loss, weights=None)
    batch = Batch(images.contiguous(memory_format=torch.channels_last), labels.to(torch.uint8), ())
    return lambda: stepper.run(batch, lr=1e-3)


def peer(images: torch.Tensor, labels: torch.Tensor, *, tuned: bool) -> Callable[[], float]:
    """A step of segmentation_models_pytorch."""
    net = peer_network().train()
    if tuned:
        net = net.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
            logits = net(images)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def peer_network() -> torch.nn.Module:
    """The peer's U-Net on ResNet18 with random weights."""
    import torchvision_shim

    torchvision_shim.install()
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet18", encoder_weights=None, classes=CLASSES)


def compare() -> None:
    """Both networks compute the same function: equal logits with equal weights."""
    mine, theirs = pw.build("unet", classes=CLASSES).eval(), peer_network().eval()
    renamed = list(theirs.state_dict().items())
    own = list(mine.state_dict())
    if len(own) != len(renamed):
        raise SystemExit(f"{len(own)} tensors against {len(renamed)}")
    mine.load_state_dict({name: value for name, (_, value) in zip(own, renamed, strict=True)})
    images = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        difference = float((mine(images) - theirs(images)).abs().max())
    if difference > 1e-4:
        raise SystemExit(f"the networks differ: {difference}")
    print(f"same function: largest difference of logits {difference:.2g}")


def peak(dtype: torch.dtype) -> float:
    """Best of a few matrix products of 2048 x 2048, in TFLOP/s."""
    a = torch.randn(2048, 2048).to(dtype)
    best = 1e9
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - began)
    return round(2 * 2048**3 / best / 1e12, 3)


if __name__ == "__main__":
    main()
