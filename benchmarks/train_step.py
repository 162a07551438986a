"""Images per second of one training step, against segmentation_models_pytorch's same networks.

U-Net and DeepLab v3+ on ResNet18, 11 classes, batch 8, 360 x 480: forward, loss, backward and update. The peer runs
as its examples run it (eager float32, cross-entropy, Adam) and at better settings: bfloat16, channels last and
fused Adam; the same in a process that keeps freed memory, as ours does; the same compiled by torch.compile.
Contenders alternate, each in a process of its own; medians over the rounds. The same weights are loaded into both
networks first, and where their definitions agree (U-Net) the logits compared. The peak memory of each process is
stored too.

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
from typing import Any

import torch
from machine import peak, peak_memory, store
from torch.nn import functional as F

import pixelwise as pw
from pixelwise.data.loader import Batch
from pixelwise.losses import LossOptions
from pixelwise.training.machine import keep_memory
from pixelwise.training.optim import make_optimizer
from pixelwise.training.options import OptimOptions
from pixelwise.training.step import Stepper
from pixelwise.training.tasks import Segment

BATCH, CLASSES = 8, 11
PEERS = ("smp float32", "smp bfloat16", "smp memory kept", "smp compiled")
CONTENDERS = (*PEERS, "pixelwise")
MODELS = {"unet": "Unet", "deeplabv3plus": "DeepLabV3Plus"}


def main() -> None:
    """Alternate the contenders for each network and write the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="of a contender in a row")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--size", type=int, nargs=2, default=[360, 480])
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    result = {
        "command": "python benchmarks/train_step.py",
        "peak_tflops": {
            str(dtype).removeprefix("torch."): peak(dtype) for dtype in (torch.float32, torch.bfloat16)
        },
        "rows": [row(model, tuple(given.size), given.rounds, given.steps) for model in given.models],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.processor() or platform.machine(),
        "load_before": load,
    }
    store(given.out, result)


def row(model: str, size: tuple[int, int], rounds: int, steps: int) -> dict[str, Any]:
    """Images per second of every contender on one network."""
    difference = compare(model)
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for name in CONTENDERS:  # a process each, so that none runs with another's memory settings
        pipes[name], end = context.Pipe()
        context.Process(target=contend, args=(name, model, size, steps, end), daemon=True).start()
        end.close()  # so that a contender that fails ends the wait for it
        pipes[name].recv()  # warm
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send("go")
            seconds[name] += pipe.recv()
    memory = {}
    for name, pipe in pipes.items():
        pipe.send("stop")
        memory[name] = pipe.recv()
    speed = {name: BATCH / median(times) for name, times in seconds.items()}
    best = max(PEERS, key=speed.__getitem__)
    found = {
        "model": model,
        "size": list(size),
        "images_per_second": {name: round(value, 2) for name, value in speed.items()},
        "seconds_per_step": {name: round(BATCH / value, 3) for name, value in speed.items()},
        "peak_memory_gib": memory,
        "ratio_to_smp_float32": round(speed["pixelwise"] / speed["smp float32"], 2),
        "ratio_to_smp_bfloat16": round(speed["pixelwise"] / speed["smp bfloat16"], 2),
        "best_peer": best,
        "ratio_to_best_peer": round(speed["pixelwise"] / speed[best], 2),
        "largest_difference_of_logits": difference,
    }
    print(json.dumps(found), flush=True)
    return found


def contend(name: str, model: str, size: tuple[int, int], steps: int, pipe: Connection) -> None:
    """Hold one contender and time its steps whenever asked."""
    if name not in ("smp float32", "smp bfloat16"):  # as our command line does
        os.environ["THP_MEM_ALLOC_ENABLE"] = "1"
        keep_memory()
    step = ours(model, size) if name == "pixelwise" else peer(model, size, name)
    for _ in range(2):
        step()
    pipe.send("warm")
    while pipe.recv() == "go":
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        pipe.send(seconds)
    # of the whole process, libraries included
    pipe.send(round(peak_memory(), 2))


def batch_of(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and labels with flat areas as in real masks."""
    torch.manual_seed(0)
    small = torch.randint(0, CLASSES, (BATCH, -(-size[0] // 8), -(-size[1] // 8)))
    labels = small.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, : size[0], : size[1]]
    return torch.randn(BATCH, 3, *size), labels.contiguous()


def ours(model: str, size: tuple[int, int]) -> Callable[[], float]:
    """A step as `pixelwise train` makes it."""
    images, labels = batch_of(size)
    net = pw.build(model, encoder="resnet18", classes=CLASSES).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(net, OptimOptions())
    loss = LossOptions(overlap_weight=0.0)  # the peer has cross-entropy alone
    stepper = Stepper(net, Segment(), optimizer, precision="bfloat16", loss=loss, weights=None)
    batch = Batch(images.contiguous(memory_format=torch.channels_last), labels.to(torch.uint8), ())
    return lambda: stepper.run(batch, lr=1e-3)


def peer(model: str, size: tuple[int, int], name: str) -> Callable[[], float]:
    """A step of segmentation_models_pytorch, the images padded to what its network takes."""
    images, labels = batch_of(size)
    tuned = name != "smp float32"
    net = peer_network(model).train()
    stride = net.encoder.output_stride if net.requires_divisible_input_shape else 1
    images = F.pad(images, (0, -size[1] % stride, 0, -size[0] % stride))
    labels = F.pad(labels, (0, -size[1] % stride, 0, -size[0] % stride), value=255)
    if tuned:
        net = net.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=tuned)
    run = torch.compile(net, dynamic=False) if name == "smp compiled" else net

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
            logits = run(images)
        loss = F.cross_entropy(logits.float(), labels, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def peer_network(model: str) -> Any:
    """The peer's network on ResNet18 with random weights."""
    import torchvision_shim

    torchvision_shim.install()
    import segmentation_models_pytorch as smp

    return getattr(smp, MODELS[model])("resnet18", encoder_weights=None, classes=CLASSES)


def compare(model: str) -> float:
    """The largest difference of logits with equal weights; none where the networks are the same function."""
    mine, theirs = pw.build(model, classes=CLASSES).eval(), peer_network(model).eval()
    renamed = list(theirs.state_dict().items())
    own = list(mine.state_dict())
    if len(own) != len(renamed):
        raise SystemExit(f"{len(own)} tensors against {len(renamed)}")
    mine.load_state_dict({name: value for name, (_, value) in zip(own, renamed, strict=True)})
    images = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        difference = float((mine(images) - theirs(images)).abs().max())
    if model == "unet" and difference > 1e-4:  # DeepLab v3+ interpolates by another definition
        raise SystemExit(f"the networks differ: {difference}")
    return difference


if __name__ == "__main__":
    main()
