"""Prediction, training step, head and counting on a card, against segmentation_models_pytorch and torch.

U-Net and DeepLab v3+ on ResNet18, 11 classes. Prediction: uint8 pixels to uint8 labels, both in the processor's memory,
32 images of 512 x 512 and single ones; the peer under AMP in channels last, eager and compiled with `max-autotune`,
normalisation and argmax inside. A training step: 8 crops of 360 x 480, forward, loss, backward and update, the batch on
the card; the peer under AMP in channels last with fused Adam, eager and compiled; ours also with the loader that makes
the batches there. Head: labels and loss with its gradient from logits at stride 4, 8 images of 512 x 512; counting: 256
megapixels of blotches and of noise; with the share of what a copy moves in that time.
Contenders alternate in one process after their answers were compared; medians over the rounds.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json        five minutes, most of them `max-autotune`
    python benchmarks/gpu.py --device cpu --small                     a rehearsal where there is no card
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from inference import CLASSES, MEAN, STD, Whole, peer_network
from machine import store
from torch import Tensor
from torch.nn import functional as F
from train_step import compare

import pixelwise as pw
from pixelwise.data.loader import Batch, ImageCache, Loader
from pixelwise.data.transforms import AugmentOptions
from pixelwise.infer.engine import open_engine
from pixelwise.losses import LossOptions
from pixelwise.ops.confusion_triton import confusion_on_device
from pixelwise.ops.head import labels_from_low, sums_from_low
from pixelwise.training.optim import make_optimizer
from pixelwise.training.options import OptimOptions
from pixelwise.training.step import Stepper
from pixelwise.training.tasks import Segment
from pixelwise.types import Sample

Work = Callable[[], object]
MODELS = ("unet", "deeplabv3plus")
LAST = torch.channels_last


class Bench:
    """The card, how large the cases are, and how they are timed."""

    def __init__(self, device: str, rounds: int, *, small: bool, compiled: bool) -> None:
        self.device, self.rounds, self.small, self.compiled = torch.device(device), rounds, small, compiled
        self.side, self.many = (64, 2) if small else (512, 32)
        self.crop, self.batch = ((64, 96), 2) if small else ((360, 480), 8)
        self.pixels = 1 << 16 if small else 1 << 28

    def wait(self) -> None:
        """Until the card is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def times(self, works: dict[str, Work], calls: int = 10) -> dict[str, float]:
        """Milliseconds of a call of each, alternating; the first calls are not counted."""
        taken: dict[str, list[float]] = {name: [] for name in works}
        for work in works.values():
            for _ in range(4):
                work()
        for _ in range(self.rounds):
            for name, work in works.items():
                self.wait()
                began = time.perf_counter()
                for _ in range(1 if self.small else calls):
                    work()
                self.wait()
                taken[name].append((time.perf_counter() - began) / (1 if self.small else calls))
        return {name: round(1000 * median(seconds), 4) for name, seconds in taken.items()}


def main() -> None:
    """Run the parts and write what came of them as JSON, after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="sizes that a processor can do")
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled peers")
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    bench = Bench(given.device, given.rounds, small=given.small, compiled=not given.no_compile)
    result: dict[str, Any] = {
        "command": "python benchmarks/gpu.py",
        "torch": torch.__version__,
        **limits(bench),
    }
    for name in given.only:
        began = time.perf_counter()
        try:
            result[name] = PARTS[name](bench)
        except Exception as error:  # the others are worth having: time on a card is short
            result[name] = {"failed": f"{type(error).__name__}: {error}"}
        result[name]["seconds"] = round(time.perf_counter() - began, 1)
        print(name, json.dumps(result[name], indent=1), flush=True)
        store(given.out, result)


def limits(bench: Bench) -> dict[str, Any]:
    """What the card can do: a product of bfloat16 matrices, and bytes read and written by a copy."""
    edge, count = (256, 1 << 16) if bench.small else (8192, 1 << 30)
    a = torch.randn(edge, edge, device=bench.device, dtype=torch.bfloat16)
    source, target = (torch.ones(count, dtype=torch.uint8, device=bench.device) for _ in range(2))
    taken = bench.times({"product": lambda: a @ a, "copy": lambda: target.copy_(source)})
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "processor"
    return {
        "card": name,
        "bfloat16_tflops": round(2 * edge**3 / taken["product"] / 1e9, 1),
        "copy_gb_per_s": round(2 * count / taken["copy"] / 1e6, 1),
    }


def prediction(bench: Bench) -> dict[str, Any]:
    """Batches, and single images, from uint8 pixels to uint8 labels."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (bench.many, bench.side // 16, bench.side // 16, 3), dtype=np.uint8)
    batch = np.ascontiguousarray(small.repeat(16, axis=1).repeat(16, axis=2))
    found: dict[str, Any] = {}
    for model in MODELS:
        compare(model)
        for count in (bench.many, 1):
            pixels = batch[:count]
            ways = predictors(bench, model)
            answers = {name: np.asarray(way(pixels)) for name, way in ways.items()}
            taken = bench.times({name: partial(way, pixels) for name, way in ways.items()})
            eager = answers["smp"]
            found[f"{model}, {count}"] = {
                "milliseconds": taken,
                "labels_as_smp": {
                    name: round(float((one == eager).mean()), 5) for name, one in answers.items()
                },
                "times": {name: round(ms / taken["pixelwise recorded"], 2) for name, ms in taken.items()},
            }
    return found


def predictors(bench: Bench, model: str) -> dict[str, Callable[[Any], Any]]:
    """The same weights in each."""
    peer = peer_network(model)
    net = pw.build(
        model, encoder="resnet18", classes=CLASSES, normalization=pw.Normalization(MEAN, STD)
    ).eval()
    state = list(peer.state_dict().values())
    net.load_state_dict(dict(zip(net.state_dict(), state, strict=True)))
    net.to(bench.device, memory_format=LAST)
    whole = Whole(peer.to(bench.device, memory_format=LAST)).to(bench.device)

    def smp(run: Any) -> Callable[[Any], Any]:
        def labels(pixels: Any) -> Any:
            with torch.inference_mode(), torch.autocast(bench.device.type, torch.bfloat16):
                return run(torch.from_numpy(pixels).to(bench.device)).cpu().numpy()

        return labels

    recorded = "recorded" if bench.device.type == "cuda" else "eager"
    ways = {
        "smp": smp(whole),
        "pixelwise eager": open_engine(net, "eager", precision="bfloat16").batch,  # type: ignore[attr-defined]
        "pixelwise recorded": open_engine(net, recorded, precision="bfloat16").batch,  # type: ignore[attr-defined]
    }
    if bench.compiled:
        ways["smp max-autotune"] = smp(torch.compile(whole, mode="max-autotune", dynamic=False))
    return ways


def training(bench: Bench) -> dict[str, Any]:
    """A step with a batch that is there, and with one that the loader makes."""
    found: dict[str, Any] = {}
    for model in MODELS:
        works = {"smp": smp_step(bench, model, compiled=False), **our_steps(bench, model)}
        if bench.compiled:
            works["smp compiled"] = smp_step(bench, model, compiled=True)
        taken = bench.times(works)
        found[model] = {
            "milliseconds": taken,
            "times": {name: round(ms / taken["pixelwise"], 2) for name, ms in taken.items()},
        }
        if bench.device.type == "cuda":
            found[model]["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
            torch.cuda.reset_peak_memory_stats()
    return found


def drawn(bench: Bench, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images, and labels in flat areas."""
    generator = torch.Generator().manual_seed(seed)
    height, width = bench.crop
    small = torch.randint(0, CLASSES, (bench.batch, -(-height // 8), -(-width // 8)), generator=generator)
    labels = small.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width]
    images = torch.randn(bench.batch, 3, height, width, generator=generator)
    return images.contiguous(memory_format=LAST).to(bench.device), labels.contiguous().to(bench.device)


def smp_step(bench: Bench, model: str, *, compiled: bool) -> Work:
    """The peer's, its images padded to what it takes, without asking for the loss."""
    images, labels = drawn(bench)
    down, right = (-side % 32 for side in bench.crop)
    images = F.pad(images, (0, right, 0, down)).contiguous(memory_format=LAST)
    labels = F.pad(labels, (0, right, 0, down), value=255)
    net = peer_network(model).train().to(bench.device, memory_format=LAST)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    run = torch.compile(net, dynamic=False) if compiled else net

    def step() -> None:
        with torch.autocast(bench.device.type, torch.bfloat16):
            loss = F.cross_entropy(run(images), labels, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_steps(bench: Bench, model: str) -> dict[str, Work]:
    """As `pixelwise train` makes them, which asks for every loss."""
    images, labels = drawn(bench)
    batch = Batch(images, labels.to(torch.uint8), ())
    steppers = []
    for recorded in (True, False):
        net = (
            pw.build(model, encoder="resnet18", classes=CLASSES).train().to(bench.device, memory_format=LAST)
        )
        optimizer, loss = make_optimizer(net, OptimOptions()), LossOptions(overlap_weight=0.0)
        stepper = Stepper(net, Segment(), optimizer, precision="bfloat16", loss=loss, weights=None)
        stepper.recordings = stepper.recordings if recorded else None
        steppers.append(stepper)
    rng = np.random.default_rng(0)
    shape = bench.crop[0] * 2, bench.crop[1] * 2
    samples = [
        Sample(f"{k}", rng.integers(0, 256, (*shape, 3), np.uint8), rng.integers(0, CLASSES, shape, np.uint8))
        for k in range(bench.batch)
    ]
    normalization = pw.Normalization(MEAN, STD)
    given = {"batch": bench.batch, "normalization": normalization, "augment": AugmentOptions(), "seed": 0}
    loader = Loader(ImageCache(samples, half=False), **given, device=bench.device)
    steps = iter(range(1 << 30))
    return {
        "pixelwise": lambda: steppers[0].run(batch, lr=1e-3),
        "pixelwise not recorded": lambda: steppers[1].run(batch, lr=1e-3),
        "pixelwise with its loader": lambda: steppers[0].run(loader.batch(next(steps), bench.crop), lr=1e-3),
        "the loader alone": lambda: loader.batch(next(steps), bench.crop),
    }


def head(bench: Bench) -> dict[str, Any]:
    """Labels and loss from logits at stride 4; the share is of what a copy moves, logits and labels counted once."""
    found: dict[str, Any] = {}
    count, side = bench.batch, bench.side
    speed = limits(bench)["copy_gb_per_s"]
    for classes in (11, 19, 150):
        torch.manual_seed(0)
        coarse = torch.randn(count, classes, side // 32, side // 32, device=bench.device)
        low = F.interpolate(4 * coarse, size=(side // 4, side // 4), mode="bilinear").bfloat16()
        low = low.contiguous(memory_format=LAST)
        leaf = low.clone().requires_grad_()
        truth = labels_from_low(low.roll(2, 3), (side, side))
        wide = truth.long()

        def torch_labels(low: Tensor = low) -> Tensor:
            return full(low, side).argmax(dim=1).to(torch.uint8)

        def torch_loss(leaf: Tensor = leaf, wide: Tensor = wide) -> Tensor:
            loss = F.cross_entropy(full(leaf, side).float(), wide, reduction="sum")
            return torch.autograd.grad(loss, leaf)[0]

        def our_loss(leaf: Tensor = leaf, truth: Tensor = truth) -> Tensor:
            return torch.autograd.grad(sums_from_low(leaf, truth, overlaps=False).entropy, leaf)[0]

        def our_labels(low: Tensor = low) -> Tensor:
            return labels_from_low(low, (side, side))

        agree = float((our_labels() == torch_labels(low.float())).float().mean())
        expected = torch_loss().float()
        difference = float((our_loss().float() - expected).abs().max() / expected.abs().max())
        works: dict[str, Work] = {"torch labels": torch_labels, "labels": our_labels}
        works |= {"torch loss": torch_loss, "loss": our_loss}
        if bench.compiled:
            works |= {
                "compiled labels": torch.compile(torch_labels),
                "compiled loss": torch.compile(torch_loss),
            }
        taken = bench.times(works)
        logits, pixels = low.numel() * low.element_size(), truth.numel()
        least = {"labels": logits + pixels, "loss": 3 * logits + 2 * pixels}
        found[f"{classes} classes"] = {
            "milliseconds": taken,
            "labels_as_torch": round(agree, 6),
            "largest_difference_of_gradients": difference,
            "share_of_bandwidth": {
                name: round(size / taken[name] / 1e6 / speed, 3) for name, size in least.items()
            },
        }
    return found


def full(low: Tensor, side: int) -> Tensor:
    """Logits at full size."""
    return F.interpolate(low, size=(side, side), mode="bilinear", align_corners=False)


def counting(bench: Bench) -> dict[str, Any]:
    """256 megapixels of blotches as in label maps, and of noise; the share is of what a copy moves."""
    found: dict[str, Any] = {}
    speed = limits(bench)["copy_gb_per_s"]
    generator = torch.Generator(bench.device).manual_seed(0)
    for classes in (11, 19, 150):
        for name, run in (("blotches", 64), ("noise", 1)):
            parts = bench.pixels // run
            truth, said = (
                torch.randint(
                    0, classes, (parts,), dtype=torch.uint8, device=bench.device, generator=generator
                )
                .repeat_interleave(run)
                .roll(shift)
                .contiguous()
                for shift in (0, run // 3)
            )
            pairs = torch.bincount(truth.long() * classes + said, minlength=classes**2)
            counts = confusion_on_device(truth, said, classes)
            np.testing.assert_array_equal(counts.ravel(), pairs.cpu().numpy())
            taken = bench.times(
                {
                    "pixelwise": lambda a=truth, b=said, k=classes: confusion_on_device(a, b, k),
                    "torch bincount": lambda a=truth, b=said, k=classes: torch.bincount(a.long() * k + b),
                },
                calls=3,
            )
            found[f"{classes} classes, {name}"] = {
                "milliseconds": taken,
                "share_of_bandwidth": round(2 * bench.pixels / taken["pixelwise"] / 1e6 / speed, 3),
            }
    return found


PARTS = {"head": head, "counting": counting, "training": training, "prediction": prediction}


if __name__ == "__main__":
    main()
