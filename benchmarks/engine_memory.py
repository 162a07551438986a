"""What engines hold for a window beside what is planned for it, which comes from the trace of torch in float32.

python benchmarks/engine_memory.py [--engine openvino] [--edge 1536] [--out FILE]

Each network in a process of its own, with few classes and many; from the memory before the first image to the peak of
two images, less the 96 MiB that are planned beside it. None may hold more than is planned (infer/tiled.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import peak_memory, store

NETWORKS = {
    "unet": "resnet18", "fcn32s": "resnet18", "fcn8s": "resnet18", "segnet": "vgg16_bn", "hourglass": "resnet18",
    "deeplabv3": "resnet18", "deeplabv3plus": "resnet18", "asymmetric_unet": "resnet18",
}  # fmt: skip
CLASSES = (6, 60)


def measure(
    decoder: str, encoder: str, engine: str, precision: str, classes: int, edge: int
) -> dict[str, Any]:
    """One network in this process."""
    import numpy as np
    import torch

    import pixelwise as pw
    from pixelwise.infer import open_engine
    from pixelwise.infer.heap import give_back, resident
    from pixelwise.infer.tiled import FIXED, SPARE
    from pixelwise.models.surroundings import surroundings

    give_back()
    torch.manual_seed(0)
    model = pw.build(decoder, encoder=encoder, classes=classes).eval()
    traced = surroundings(model).memory
    running = open_engine(model, engine, precision=precision)
    running.prepare("uint8")
    running.release()
    before = resident()
    image = np.random.default_rng(0).integers(0, 256, (edge, edge, 3), np.uint8)
    for _ in range(2):
        running(image)
    planned = traced * running.footprint * SPARE
    if running.footprint < 1:
        planned += 4 * classes / model.decoder.stride**2
    held = (peak_memory() * 2**30 - before - FIXED) / edge**2
    return {
        "network": f"{decoder} on {encoder}, {classes} classes",
        "precision": precision,
        "bytes_per_pixel": round(held),
        "traced": round(traced),
        "planned": round(planned),
    }


def main() -> None:
    """Measure all, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--edge", type=int, default=1536)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        decoder, encoder, precision, classes = given.one
        print(json.dumps(measure(decoder, encoder, given.engine, precision, int(classes), given.edge)))
        return
    rows = []
    for decoder, encoder in NETWORKS.items():
        for precision in ("bfloat16", "float32"):
            for classes in CLASSES:
                command = [sys.executable, __file__, "--engine", given.engine, "--edge", str(given.edge)]
                command += ["--one", decoder, encoder, precision, str(classes)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    result = {
        "command": "python benchmarks/engine_memory.py",
        "engine": given.engine,
        "edge": given.edge,
        "rows": rows,
    }
    print(max(row["bytes_per_pixel"] / row["planned"] for row in rows), "of what is planned at most")
    store(given.out, result)


if __name__ == "__main__":
    main()
