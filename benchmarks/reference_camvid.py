"""A plain recipe on CamVid, to compare ours with: same network, data, arithmetic and minutes.

Adam at a constant 1e-3, random crops and flips, cross-entropy without weights, batch 8, the last weights; as a
first script would be written. Its loop is its own, only the network and the scores are pixelwise's.

    python benchmarks/reference_camvid.py CAMVID --minutes 25 --out reference.json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import pixelwise as pw
from pixelwise.models.bundle import BundleFacts
from pixelwise.training.machine import keep_memory

CLASSES = Path(__file__).parent.parent / "recipes" / "camvid" / "classes.yaml"
CROP = (256, 256)


def main() -> None:
    """Train for the given minutes, score on the test split, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("reference.json"))
    parser.add_argument("--decoder-channels", type=int, nargs="+", default=None)
    given = parser.parse_args()
    began = time.monotonic()
    keep_memory()
    torch.manual_seed(given.seed)
    rng = np.random.default_rng(given.seed)
    data = pw.open_dataset(given.data, classes=CLASSES)
    samples = list(data.train)
    channels = given.decoder_channels and tuple(given.decoder_channels)
    net = pw.build("unet", classes=data.classes, options=pw.NetworkOptions(decoder_channels=channels))
    net = net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    steps = 0
    while time.monotonic() - began < given.minutes * 60:
        images, labels = [], []
        for index in rng.integers(len(samples), size=8):
            sample = samples[index]
            top = int(rng.integers(sample.labels.shape[0] - CROP[0] + 1))
            left = int(rng.integers(sample.labels.shape[1] - CROP[1] + 1))
            part = np.s_[top : top + CROP[0], left : left + CROP[1]]
            flip = -1 if rng.random() < 0.5 else 1
            images.append(torch.from_numpy(sample.image[part][:, ::flip].copy()).permute(2, 0, 1))
            labels.append(torch.from_numpy(sample.labels[part][:, ::flip].astype(np.int64)))
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(net.prepare(torch.stack(images)))
        loss = F.cross_entropy(logits.float(), torch.stack(labels), ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if steps % 100 == 0:
            print(f"{time.monotonic() - began:5.0f} s  step {steps}  loss {loss.item():.3f}", flush=True)
    seconds = time.monotonic() - began
    net.facts = BundleFacts(precision="bfloat16")
    scores = pw.evaluate(net.eval(), data.test)
    result = {
        "minutes": given.minutes,
        "seconds": round(seconds, 1),
        "seed": given.seed,
        "steps": steps,
        "parameters": sum(tensor.numel() for tensor in net.parameters()),
        "images_per_second": round(8 * steps / (given.minutes * 60), 2),
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "scores": scores.as_dict(),
    }
    given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"test mean IoU {scores.mean_iou:.4f}, {steps} steps")


if __name__ == "__main__":
    main()
