"""Fuzz the readers: everything that comes from outside, file by file.

python benchmarks/fuzz_readers.py --reader image --minutes 10 --out FOLDER
python benchmarks/fuzz_readers.py --reader all --minutes 10 --out FOLDER     goes on with readers that have no result

Small sound files are mutated (bits flipped, cut, pieces moved, headers spliced, fields overwritten; in texts, words
replaced by hostile ones; in bundles, fields changed and signed anew) and read in a child process with a memory cap
and a time limit. Anything but a result or a PixelwiseError is a find: it is printed and the file is kept in
FOLDER/finds. FOLDER/READER.json holds what was tried, seed by seed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from fuzz_seeds import READERS, TEXTS, reader, seeds, signed_anew
from machine import store
from PIL import Image

from pixelwise.errors import PixelwiseError

READ, REFUSED = "read", "refused"
SECONDS = 20  # of processor time for one file: another busy program is no hang
WAIT = 10 * SECONDS  # for one that sleeps
MEMORY = 3 * 1024**3
HOSTILE = (
    b"null", b"-1", b"1e999", b"[", b"{", b"}", b"'", b'"', b"nan", b"[]", b"{}", b"true", b"9" * 400, b"~", b"\0",
    b"!!python/object/apply:os.system [x]", b"&a [*a]", b"<<: *a", b"2001-99-99", b"0o8", b"../../a", b"\xff\xfe",
    b"a" * 5000, b"[" * 3000, b"1:2:3", b"- ", b",", b"\r", b"\n", b"\t", b"#", b":", b"? ", b"=",
    b"\xef\xbb\xbf", "\u00e9\u202e".encode(),
)  # fmt: skip


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


def reworded(data: bytes, rng: random.Random) -> bytes:
    """One to four words of a text replaced, doubled or taken out."""
    words = re.split(rb"(\W)", data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(words))
        kind = rng.randrange(4)
        words[place : place + (kind != 3)] = (
            [rng.choice(HOSTILE)]
            if kind in (0, 3)
            else [words[rng.randrange(len(words))]]
            if kind == 1
            else []
        )
        words = words or [b""]
    return b"".join(words)


def spoilt(what: str, suffix: str, data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A file that is wrong in one of the ways that suit its kind."""
    if (what in TEXTS or suffix == ".geojson") and rng.random() < 0.6:
        return reworded(data, rng)
    if what == "bundle" and rng.random() < 0.6:
        return signed_anew(data, rng, HOSTILE)
    return mutated(data, others, rng)


def child(what: str, channel: Any) -> None:
    """Read each path that comes, and answer that it was READ or REFUSED, or with what was raised."""
    read = reader(what)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    channel.send(READ)
    while True:
        path = channel.recv()
        try:
            read(path)
        except PixelwiseError as error:
            channel.send(REFUSED if error.found and error.remedy else f"no remedy: {error}")
        except BaseException:
            channel.send(traceback.format_exc()[-600:])
        else:
            channel.send(READ)


def started(what: str) -> tuple[Any, Any]:
    """A child process and the pipe to it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=child, args=(what, theirs), daemon=True)
    process.start()
    theirs.close()
    ours.recv()
    return process, ours


def answered(process: Any, channel: Any) -> bool:
    """Wait for an answer, as long as the child may take."""
    began, end = processor_seconds(process.pid), time.monotonic() + WAIT
    while not channel.poll(1):
        if processor_seconds(process.pid) - began > SECONDS or time.monotonic() > end:
            return False
    return True


def processor_seconds(pid: int) -> float:
    """What a process has computed, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fuzz(what: str, minutes: float, keep: Path, seed: int) -> dict[str, Any]:
    """Read mutated files until the time is over."""
    rng = random.Random(seed)
    files = seeds(what)
    process, channel = started(what)
    counts, finds = {READ: 0, REFUSED: 0}, list[dict[str, Any]]()
    end, tried = time.monotonic() + 60 * minutes, 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for kind in ("images", "masks"):
            (root / kind).mkdir()
        Image.new("L", (32, 24)).save(root / "masks" / "a.png")
        while time.monotonic() < end:
            suffix, data = rng.choice(files)
            path = root / "images" / ("train.txt" if what == "lists" else f"a{suffix}")
            path.write_bytes(spoilt(what, suffix, data, [other for _, other in files], rng))
            channel.send(path)
            said = "no answer within the time"
            try:
                if answered(process, channel):
                    said = channel.recv()
            except (EOFError, ConnectionError):
                said = f"the process ended, {process.exitcode}"
            tried += 1
            if said in counts:
                counts[said] += 1
            else:
                finds.append({"try": tried, "said": said[-300:]})
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{what}_{seed}_{tried}{suffix}").write_bytes(path.read_bytes())
                print(f"{what} {tried}: {said}", file=sys.stderr)
                process.kill()
                process, channel = started(what)
            path.unlink()
    process.kill()
    return {"seed": seed, "minutes": minutes, "files": tried, **counts, "finds": finds}


def main() -> None:
    """Parse the options and fuzz one reader, or all that have not been fuzzed with this seed for as long."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reader", choices=(*READERS, "all"), required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fuzz")
    given = parser.parse_args()
    failed = False
    for what in READERS if given.reader == "all" else (given.reader,):
        path = given.out / f"{what}.json"
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
        there = any(run["seed"] == given.seed and run["minutes"] >= given.minutes for run in runs)
        if given.reader == "all" and there:
            continue
        run = fuzz(what, given.minutes, given.out / "finds", given.seed)
        runs = [*(old for old in runs if old["seed"] != given.seed), run]
        store(path, {"reader": what, "files": sum(run["files"] for run in runs), "runs": runs})
        print(json.dumps({"reader": what, **run}), flush=True)
        failed |= bool(run["finds"])
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
