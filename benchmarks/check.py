"""Speed and memory of `check`.

python benchmarks/check.py --images 2000 --workers 2 --json FILE

A few hundred pairs of realistic content (blurred noise under labels of blobs, JPEG and PNG) are written under many
names, each with some bytes of its own, so that no file equals another.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import memory_now, store
from PIL import Image
from scipy import ndimage

from pixelwise.data.check import check_dataset

CLASSES = "[ground, roof, road, tree, water]\n"


def write(root: Path, images: int, size: int, distinct: int) -> None:
    """`images` pairs; pair n is pair n % distinct with a comment of its own behind the pixels."""
    pairs = [pair(seed, size) for seed in range(min(distinct, images))]
    for kind in ("images", "masks"):
        for split in ("train", "val", "test"):
            (root / kind / split).mkdir(parents=True)
    (root / "classes.yaml").write_text(CLASSES)
    for number in range(images):
        image, mask = pairs[number % len(pairs)]
        split = ("train", "val", "test")[number % len(pairs) * 3 // len(pairs)]
        (root / f"images/{split}/{number:06d}.jpg").write_bytes(image + b"%06d" % number)
        (root / f"masks/{split}/{number:06d}.png").write_bytes(mask + b"%06d" % number)


def pair(seed: int, size: int) -> tuple[bytes, bytes]:
    """A JPEG and its labels as PNG."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(size, size)), 12)
    labels = np.digitize(field, np.quantile(field, (0.35, 0.6, 0.75, 0.9))).astype(np.uint8)
    colors = rng.integers(40, 220, (5, 3))
    texture = ndimage.gaussian_filter(rng.normal(size=(size, size, 3)), (1, 1, 0)) * 40
    image = (colors[labels] + texture).clip(0, 255).astype(np.uint8)
    streams = io.BytesIO(), io.BytesIO()
    Image.fromarray(image).save(streams[0], "JPEG", quality=90)
    Image.fromarray(labels).save(streams[1], "PNG")
    return streams[0].getvalue(), streams[1].getvalue()


def main() -> None:
    """Write a dataset, check it and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--distinct", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, options.images, options.size, options.distinct)
        held = [0.0] * 4

        def watch(done: int, total: int) -> None:
            quarter = min(3, done * 4 // max(1, total))
            held[quarter] = max(held[quarter], memory_now())

        start, used = time.perf_counter(), time.process_time()
        report = check_dataset(root, progress=watch, workers=options.workers)
        seconds, processor = time.perf_counter() - start, time.process_time() - used
    result = {
        "images": options.images,
        "size": options.size,
        "workers": options.workers,
        "seconds": round(seconds, 2),
        "seconds_per_100": round(seconds / options.images * 100, 3),
        "processor_seconds_per_100": round(processor / options.images * 100, 3),
        "most_mib_held_in_each_quarter": [round(1024 * most) for most in held],
        "errors": len(report.errors),
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(result, indent=2))
    store(options.json, result)


if __name__ == "__main__":
    main()
