"""How many planted leaks the search finds, and how often it is wrong about images that have nothing in common.

python benchmarks/leaks.py DATA [--every 4] [--json FILE]     DATA holds camvid/ and aerial/
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import store
from numpy.typing import NDArray
from PIL import Image

from pixelwise.data.leaksearch import Sketchbook, continued, near_duplicates, shared_parts
from pixelwise.data.read import read_image
from pixelwise.ops.fingerprint import TURNS, turned

Picture = NDArray[np.uint8]


def compressed(image: Picture, quality: int) -> Picture:
    """As a JPEG gives it back."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(image: Picture, factor: float) -> Picture:
    """At another size."""
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def halves(image: Picture, rng: np.random.Generator) -> tuple[Picture, Picture]:
    """Two crops of one size that share half of each."""
    axis = int(rng.integers(2))
    side = image.shape[axis]
    window, start = int(side / 1.5), int(side / 1.5) // 2
    cut = [slice(None), slice(None)]
    first, second = list(cut), list(cut)
    first[axis], second[axis] = slice(0, window), slice(start, start + window)
    return np.ascontiguousarray(image[tuple(first)]), np.ascontiguousarray(image[tuple(second)])


def copies(rng: np.random.Generator) -> dict[str, Callable[[Picture], Picture]]:
    """Ways to make a near duplicate."""
    return {
        "same pixels": lambda a: a,
        "JPEG 50": lambda a: compressed(a, 50),
        "JPEG 70": lambda a: compressed(a, 70),
        "JPEG 90": lambda a: compressed(a, 90),
        "half size": lambda a: resized(a, 0.5),
        "double size": lambda a: resized(a, 2.0),
        "0.5x to 2x, JPEG 75": lambda a: compressed(resized(a, float(np.exp2(rng.uniform(-1, 1)))), 75),
        "turned or flipped": lambda a: turned(a, int(rng.integers(1, TURNS))),
        "turned, half size, JPEG 60": lambda a: compressed(
            resized(np.ascontiguousarray(turned(a, int(rng.integers(1, TURNS)))), 0.5), 60
        ),
    }


def shifted(rng: np.random.Generator) -> dict[str, Callable[[Picture], Picture]]:
    """What happens to the second of two crops."""
    return {
        "half in common": lambda a: a,
        "half in common, JPEG 75": lambda a: compressed(a, 75),
        "half in common, turned": lambda a: turned(a, int(rng.integers(1, TURNS))),
    }


def found_copies(images: list[Picture], change: Callable[[Picture], Picture]) -> int:
    """How many images are found to be the source of their copy."""
    book = Sketchbook(detailed=False)
    for image in [*images, *(np.ascontiguousarray(change(image)) for image in images)]:
        book.add(image)
    count = len(images)
    pairs = near_duplicates(book, range(count), range(count, 2 * count))
    return sum(match.second - count == match.first for match in pairs)


def found_crops(images: list[Picture], change: Callable[[Picture], Picture], rng: np.random.Generator) -> int:
    """How many pairs of crops are found to be one."""
    book = Sketchbook(detailed=True)
    for image in images:
        one, two = halves(image, rng)
        book.add(one)
        book.add(np.ascontiguousarray(change(two)))
    pairs = {(m.first, m.second) for m in (*near_duplicates(book, range(len(book))), *shared_parts(book))}
    return sum((2 * k, 2 * k + 1) in pairs for k in range(len(images)))


def false_alarms(one: list[Picture], two: list[Picture]) -> dict[str, Any]:
    """Pairs of images of two sets that are said to show the same."""
    book = Sketchbook(detailed=True)
    began = time.process_time()
    for image in (*one, *two):
        book.add(image)
    adding = time.process_time() - began
    border = len(one)
    began = time.process_time()
    wrong = {
        "near duplicate": len(list(near_duplicates(book, range(border), range(border, len(book))))),
        "overlap": sum(m.first < border <= m.second for m in shared_parts(book)),
        "side by side": sum(m.first < border <= m.second for m in continued(book)),
    }
    return {
        "pairs": border * len(two),
        "wrong": wrong,
        "seconds per image": round(adding / len(book), 4),
        "seconds to compare": round(time.process_time() - began, 2),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=4, help="take every n-th image of each set")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    sets = {
        "camvid": sorted((chosen.data / "camvid/images/test").glob("*.jpg"))[:: chosen.every],
        "aerial": sorted((chosen.data / "aerial/images").glob("*.jpg"))[:: chosen.every],
    }
    images = {name: [read_image(file) for file in files] for name, files in sets.items()}
    result: dict[str, Any] = {"images": {name: len(some) for name, some in images.items()}, "found": {}}
    rng = np.random.default_rng(0)
    for name, some in images.items():
        rows = {kind: found_copies(some, change) for kind, change in copies(rng).items()}
        rows |= {kind: found_crops(some, change, rng) for kind, change in shifted(rng).items()}
        result["found"][name] = {kind: f"{count}/{len(some)}" for kind, count in rows.items()}
    result["false alarms"] = false_alarms(images["camvid"], images["aerial"])
    print(json.dumps(result, indent=2))
    store(chosen.json, result)


if __name__ == "__main__":
    main()
