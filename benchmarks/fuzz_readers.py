"""Fuzz the readers.

python benchmarks/fuzz_readers.py --what image --minutes 10 --keep FOLDER

Small real files are mutated (bits flipped, cut, pieces moved, headers spliced, fields overwritten) and read in child
processes with a memory cap and a time limit. Anything but a result or a PixelwiseError is a find: it is printed and
the file is kept.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from pixelwise.errors import PixelwiseError

SECONDS = 20  # for one file
MEMORY = 3 * 1024**3
WHAT = ("image", "mask", "classes", "arrays", "folder")


def seeds(what: str) -> list[tuple[str, bytes]]:
    """Small sound files with their suffixes."""
    rng = np.random.default_rng(0)
    if what == "classes":
        return [
            (".yaml", text.encode())
            for text in (
                "- {name: ground, color: '#102030'}\n- {name: roof, color: '#c0392b'}\n",
                "{classes: [a, b], ignore: [11, '#000000'], values: {0: a, 255: b}, palette: colors}\n",
                "classes: [a]\ncolumn: kind\noutside: ignore\n",
            )
        ]
    labels = np.repeat(rng.integers(0, 3, (12, 16), dtype=np.uint8), 2, axis=1)
    pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    if what == "arrays":
        stream = io.BytesIO()
        np.savez_compressed(
            stream, images=pixels[None], labels=labels[None, :, :1].repeat(32, 2).repeat(2, 1)
        )
        return [(".npz", stream.getvalue())]
    array = labels if what == "mask" else pixels
    found = []
    for form, suffix in (("PNG", ".png"), ("TIFF", ".tif"), ("BMP", ".bmp"), ("GIF", ".gif"), ("WEBP", ".webp"),
                         ("JPEG", ".jpg")):  # fmt: skip
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, form, **({"lossless": True} if form == "WEBP" else {}))
        found.append((suffix, stream.getvalue()))
    for options in ({"compression": "deflate"}, {"tile": (16, 16), "compression": "lzw"}, {"bigtiff": True}):
        stream = io.BytesIO()
        tifffile.imwrite(stream, array, **options)  # type: ignore[arg-type]
        found.append((".tif", stream.getvalue()))
    return found


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to four changes to a file."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(max(1, len(changed)))
        kind = rng.randrange(7)
        if kind == 0 and changed:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[place:]
        elif kind == 2:
            changed[place : place + 4] = rng.choice(
                (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", rng.randbytes(4))
            )
        elif kind == 3:
            size = rng.randint(1, 64)
            changed[place:place] = changed[place : place + size]
        elif kind == 4:
            del changed[place : place + rng.randint(1, 64)]
        elif kind == 5:
            other = rng.choice(others)
            changed[: min(place, len(other))] = other[:place]
        else:
            changed[place : place + 8] = rng.randbytes(8)
    return bytes(changed)


def reader(what: str) -> Callable[[Path], Any]:
    """What reads the file at a path."""
    from pixelwise.data.arrays import load_arrays
    from pixelwise.data.check import check_dataset
    from pixelwise.data.classfile import read_classes
    from pixelwise.data.read import read_image, read_mask

    if what == "folder":
        return lambda path: check_dataset(path.parent.parent, workers=1)
    return {"image": read_image, "mask": read_mask, "classes": read_classes, "arrays": load_arrays}[what]


def child(what: str, channel: Any) -> None:
    """Read each path that comes, and answer with an empty text or with what was raised."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    read = reader(what)
    while True:
        path = channel.recv()
        try:
            read(path)
        except PixelwiseError as error:
            channel.send("" if error.found and error.remedy else f"no remedy: {error}")
        except BaseException:
            channel.send(traceback.format_exc()[-600:])
        else:
            channel.send("")


def started(what: str) -> tuple[Any, Any]:
    """A child process and the pipe to it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=child, args=(what, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def fuzz(what: str, minutes: float, keep: Path, seed: int) -> dict[str, Any]:
    """Read mutated files until the time is over."""
    rng = random.Random(seed)
    files = seeds("image" if what == "folder" else what)
    process, channel = started(what)
    end, tried, finds = time.monotonic() + 60 * minutes, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for kind in ("images", "masks"):
            (root / kind).mkdir()
        Image.new("L", (32, 24)).save(root / "masks" / "a.png")
        while time.monotonic() < end:
            suffix, data = rng.choice(files)
            path = root / "images" / f"a{suffix}"
            path.write_bytes(mutated(data, [other for _, other in files], rng))
            channel.send(path)
            said = "no answer within the time"
            try:
                if channel.poll(SECONDS):
                    said = channel.recv()
            except (EOFError, ConnectionError):
                said = f"the process ended, {process.exitcode}"
            tried += 1
            if said:
                finds += 1
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{what}_{seed}_{tried}{suffix}").write_bytes(path.read_bytes())
                print(f"{what} {tried}: {said}", file=sys.stderr)
                process.kill()
                process, channel = started(what)
            path.unlink()
    process.kill()
    return {"what": what, "minutes": minutes, "files": tried, "finds": finds, "seed": seed}


def main() -> None:
    """Parse the options and fuzz one reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=WHAT, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz_finds"))
    options = parser.parse_args()
    print(json.dumps(fuzz(options.what, options.minutes, options.keep, options.seed)))


if __name__ == "__main__":
    main()
