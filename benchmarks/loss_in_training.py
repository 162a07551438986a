"""Seconds of a training step with the loss from low-resolution logits, and from enlarged ones.

Three networks whose decoders stop before stride 1, ResNet18, 11 classes, batch 8, 360 x 480, bfloat16; forward, loss
with Dice, and backward. Both ways alternate on one network in one process; medians; losses are compared.

    python benchmarks/loss_in_training.py --out benchmarks/results/loss_in_training.json
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import peak, store

import pixelwise as pw
from pixelwise.losses import LossOptions, segmentation_loss
from pixelwise.training.machine import keep_memory
from pixelwise.training.tasks import Segment

NETWORKS: dict[str, dict[str, Any]] = {
    "deeplabv3plus": {},
    "fcn8s": {},
    "unet": {"decoder_channels": (128, 64, 48, 32)},  # logits at stride 2
}


def measure(model: str, rounds: int) -> dict[str, Any]:
    """Seconds of a step both ways."""
    torch.manual_seed(0)
    options = pw.NetworkOptions(**NETWORKS[model])
    net = pw.build(model, classes=11, options=options).train().to(memory_format=torch.channels_last)
    images = torch.randn(8, 3, 360, 480).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 11, (8, 45, 60), dtype=torch.uint8)
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)  # flat areas, as in real masks
    task, loss = Segment(), LossOptions()

    def low() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = task.forward(net, images)
        return task.loss(outputs, images, labels, loss, None)

    def full() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            (logits,) = net.every(images)
        return segmentation_loss(logits, labels, loss)

    seconds: dict[str, list[float]] = {"low": [], "full": []}
    values = {}
    for turn in range(rounds + 1):  # the first is to warm up
        for name, way in (("low", low), ("full", full)):
            began = time.perf_counter()
            value = way()
            value.backward()
            net.zero_grad()
            if turn:
                seconds[name].append(time.perf_counter() - began)
            else:
                values[name] = float(value.detach())
    if abs(values["low"] - values["full"]) > 1e-4:
        raise SystemExit(f"the losses differ: {values}")
    return {name: round(median(times), 3) for name, times in seconds.items()}


def main() -> None:
    """Measure each network, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does
    keep_memory()
    result: dict[str, Any] = {
        "bfloat16_peak_tflops": peak(torch.bfloat16),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load_before": os.getloadavg()[0],
        "seconds": {model: measure(model, given.rounds) for model in NETWORKS},
    }
    print(json.dumps(result, indent=1))
    store(given.out, result)


if __name__ == "__main__":
    main()
