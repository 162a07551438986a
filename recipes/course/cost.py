"""The two first ideas for segmentation and what they cost: row 32 of the course.

Multiply-adds, memory and seconds of a training step and of a prediction at 144 x 192, batch 2, for the sliding patch
classifier, the full-resolution network and encoder-decoders; accuracy comes from runs of the same minutes
(`run.py patch@camvid fullres@camvid unet@camvid`).

    python recipes/course/cost.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "results"
SIZE = (144, 192)
CONTENDERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "patch, window 32, step 8": ("patch", "small_cnn", {"patch": (32, 8)}),
    "patch, window 32, step 2": ("patch", "small_cnn", {"patch": (32, 2)}),
    "fullres, eight layers of 64": ("fullres", "image", {}),
    "unet on resnet18": ("unet", "resnet18", {}),
    "fcn8s on resnet18": ("fcn8s", "resnet18", {}),
}


def measure(name: str) -> dict[str, Any]:
    """Costs of one contender; run in a process of its own, so that the peak memory is its own."""
    import torch

    import pixelwise as pw

    model, encoder, options = CONTENDERS[name]
    torch.manual_seed(0)
    net = pw.build(model, encoder=encoder, classes=11, options=pw.NetworkOptions(**options))
    images = torch.randn(2, 3, *SIZE)
    labels = torch.randint(0, 11, (2, *SIZE))
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    training, predicting = [], []
    for _ in range(4):
        net.train()
        began = time.perf_counter()
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        training.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net.eval()
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            net(images)
            predicting.append(time.perf_counter() - began)
    facts = pw.describe(net, size=SIZE)
    return {
        "network": name,
        "parameters": facts.parameters,
        "million_multiply_adds_per_image": round(facts.multiply_adds / 1e6, 1),
        "training_step_seconds": round(median(training[1:]), 3),
        "prediction_seconds": round(median(predicting[1:]), 3),
        "training_memory_mib": round((peak - start) / 1024, 1),
    }


def main() -> None:
    """Measure each contender alone, print and store."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    rows = []
    for name in CONTENDERS:
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    stored = {"command": "python recipes/course/cost.py", "size": SIZE, "batch": 2, "rows": rows}
    (RESULTS / "cost.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
