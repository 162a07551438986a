"""Seconds from the command to the class map of one image with the eager engine, and what importing torch takes of them.

A U-Net on ResNet18 with random weights and a picture of 480 x 360; each time a process of its own, as a user starts it.
The first start, which is left out, fills the caches of Python and of the disk; medians over the rounds.

    python benchmarks/start.py --out benchmarks/results/start.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import PIL.Image
from machine import store

import pixelwise as pw


def main() -> None:
    """Alternate the commands and write the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        model, image = Path(scratch) / "model.safetensors", Path(scratch) / "image.png"
        pw.save(pw.build("unet", encoder="resnet18", classes=11), model)
        pixels = np.random.default_rng(0).integers(0, 256, (360, 480, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(image)
        predict = ["predict", str(model), str(image), "-o", str(Path(scratch) / "maps"), "--engine", "eager"]
        commands = {
            "predict one image": ["-m", "pixelwise", *predict],
            "import torch": ["-c", "import torch"],
            "pixelwise --help": ["-m", "pixelwise", "--help"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(1 + given.rounds):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run([sys.executable, *command], check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - began)
    result = {
        "command": "python benchmarks/start.py",
        "rounds": given.rounds,
        "seconds": {name: round(median(taken[1:]), 2) for name, taken in seconds.items()},
        "load_before": load,
    }
    print(json.dumps(result, indent=1))
    store(given.out, result)


if __name__ == "__main__":
    main()
