"""How often the shift alarm is wrong about images of the same set, and how often it notices planted shifts.

python benchmarks/shift.py MODEL DATA [--classes FILE] [--splits S] [--other FOLDER] [--every 2] [--json FILE]

The fingerprint is taken anew from the training images of DATA. `--other` is a folder of images of another subject.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from machine import store
from numpy.typing import NDArray
from PIL import Image

from pixelwise.data.dataset import open_dataset
from pixelwise.data.read import read_image
from pixelwise.infer.shift import input_shift
from pixelwise.infer.shiftcheck import judged_together
from pixelwise.models.bundle import BundleFacts, load_network
from pixelwise.models.network import Network
from pixelwise.training.fingerprints import fingerprint_of

Picture = NDArray[Any]


def larger(image: Picture, factor: int) -> Picture:
    """Pixels `factor` times as large."""
    size = (max(1, image.shape[1] // factor), max(1, image.shape[0] // factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def smaller(image: Picture, factor: int) -> Picture:
    """Pixels `factor` times as small: the middle, enlarged to the size of the image."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    cut = Image.fromarray(image[top : top + height, left : left + width])
    return np.asarray(cut.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR))


def clipped(values: Picture) -> Picture:
    """Values as 8-bit pixels."""
    return values.clip(0, 255).astype(np.uint8)


PLANTED: dict[str, Callable[[Picture], Picture]] = {
    "bands reversed (BGR)": lambda a: a[..., ::-1],
    "16 bit": lambda a: a.astype(np.uint16) * 257,
    "0..1": lambda a: (a / 255).astype(np.float32),
    "brightness x 0.5": lambda a: clipped(a * 0.5),
    "brightness x 1.6": lambda a: clipped(a * 1.6),
    "contrast x 0.4": lambda a: clipped(128 + (a - 128.0) * 0.4),
    "contrast x 2": lambda a: clipped(128 + (a - 128.0) * 2),
    "pixels 10 x larger": lambda a: larger(a, 10),
    "pixels 4 x larger": lambda a: larger(a, 4),
    "pixels 4 x smaller": lambda a: smaller(a, 4),
    "pixels 10 x smaller": lambda a: smaller(a, 10),
}


def alarms(model: Network, images: Iterable[Picture]) -> dict[str, Any]:
    """How many images raise an alarm, of which kinds, and in how many batches of 16 the order of bands does."""
    assert isinstance(model.facts, BundleFacts) and model.facts.fingerprint is not None
    reports = [input_shift(model, np.ascontiguousarray(image)) for image in images]
    raised = sum(not report.ok for report in reports)
    batches = [reports[start : start + 16] for start in range(0, len(reports) - 15, 16)]
    known = model.facts.fingerprint
    together = [judged_together(known, batch) for batch in batches]
    return {
        "alarms": raised,
        "images": len(reports),
        "share": round(raised / max(1, len(reports)), 4),
        "kinds": dict(Counter(kind for report in reports for kind in report.kinds)),
        "16 together": f"{sum(map(bool, together))}/{len(batches)}",
        "kinds together": dict(Counter(sign.kind for signs in together for sign in signs)),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--classes", type=Path)
    parser.add_argument("--splits")
    parser.add_argument("--other", type=Path)
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--every", type=int, default=2, help="plant shifts in every n-th test image")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    model = load_network(chosen.model)
    data = open_dataset(chosen.data, classes=chosen.classes, split=chosen.splits)
    facts = model.facts if isinstance(model.facts, BundleFacts) else BundleFacts()
    began = time.process_time()
    found = fingerprint_of(model, data, most=chosen.most)
    result: dict[str, Any] = {"seconds for the fingerprint": round(time.process_time() - began, 1)}
    assert found is not None, "too few training images"
    result["bytes"] = len(found.model_dump_json())
    model.facts = facts.model_copy(update={"fingerprint": found})
    for split in (data.val, data.test):
        began = time.process_time()
        result[f"same set, {split.name}"] = alarms(model, (split.image(i) for i in range(len(split))))
        result["seconds per image"] = round((time.process_time() - began) / max(1, len(split)), 3)
    some = range(0, len(data.test), chosen.every)
    for kind, change in PLANTED.items():
        result[kind] = alarms(model, (change(data.test.image(i)) for i in some))
    if chosen.other:
        files = sorted(file for file in chosen.other.iterdir() if file.is_file())[:60]
        result["other set"] = alarms(model, (read_image(file) for file in files))
    print(json.dumps(result, indent=2))
    store(chosen.json, result)


if __name__ == "__main__":
    main()
