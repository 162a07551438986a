"""How many masks that were resized smoothly or stored as JPEG `check` finds, and how many right ones it names.

python benchmarks/smooth_masks.py DATA [DATA ...] [--out FILE]

Every index mask below each folder is looked at as it is and after each way of spoiling it.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import store
from numpy.typing import NDArray
from PIL import Image

from pixelwise.data.items import Pair
from pixelwise.data.layouts import find_pairs
from pixelwise.data.read import read_mask
from pixelwise.data.smooth import find_smooth

Mask = NDArray[np.uint8]
Way = Image.Resampling


def resized(factor: float, way: Way) -> Callable[[Mask], Mask]:
    """A mask made smaller by a filter."""

    def spoil(mask: Mask) -> Mask:
        height, width = mask.shape
        size = int(width * factor), int(height * factor)
        return np.asarray(Image.fromarray(mask).resize(size, way)).clip(0, mask.max())

    return spoil


def enlarged(every: int) -> Callable[[Mask], Mask]:
    """A mask of every so many pixels brought back to its size by bilinear interpolation."""

    def spoil(mask: Mask) -> Mask:
        small = Image.fromarray(np.ascontiguousarray(mask[::every, ::every]))
        return np.asarray(small.resize(mask.shape[::-1], Way.BILINEAR))

    return spoil


def jpeg(quality: int) -> Callable[[Mask], Mask]:
    """A mask stored as JPEG; what leaves the range of values is cut off."""

    def spoil(mask: Mask) -> Mask:
        stream = io.BytesIO()
        Image.fromarray(mask).save(stream, "JPEG", quality=quality)
        return np.asarray(Image.open(stream)).clip(mask.min(), mask.max())

    return spoil


WAYS: dict[str, Callable[[Mask], Mask]] = {
    "as it is": lambda mask: mask,
    "halved, bilinear": resized(0.5, Way.BILINEAR),
    "halved, mean of 2 x 2": resized(0.5, Way.BOX),
    "0.7 times, bicubic": resized(0.7, Way.BICUBIC),
    "every 2nd pixel, enlarged": enlarged(2),
    "every 4th pixel, enlarged": enlarged(4),
    "turned by 7 degrees": lambda mask: np.asarray(Image.fromarray(mask).rotate(7, Way.BILINEAR)),
    "JPEG 75": jpeg(75),
    "JPEG 95": jpeg(95),
    "JPEG 100": jpeg(100),
}


def measure(data: Path) -> dict[str, Any]:
    """How many masks of a folder are named after each way."""
    named, masks = dict.fromkeys(WAYS, 0), 0
    for item in find_pairs(data).items:
        if isinstance(item, Pair):
            mask = read_mask(item.mask).values.astype(np.uint8)
            masks += 1
            for way, spoil in WAYS.items():
                named[way] += find_smooth(spoil(mask)) is not None
    return {"masks": masks, "named": named}


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result = {data.name: measure(data) for data in given.data}
    print(json.dumps(result, indent=1))
    store(given.out, result)


if __name__ == "__main__":
    main()
