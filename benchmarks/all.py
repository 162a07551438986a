"""Every benchmark of speed in turn, each in a process of its own; then one table and one picture of all.

    make bench                     in its own environment; with DATA=folder of CamVid, QUICK=1 for a short one
    python benchmarks/all.py [--data CAMVID] [--quick] [--only NAME ...] [--list]
    python benchmarks/all.py --render [MACHINE]

Results go to benchmarks/results/MACHINE/NAME.json, one table and one picture to README.md and performance.png beside
them. `--render` makes both again from what is stored, and the picture of docs/performance.md. Without CamVid a
generated town stands in, and the time to accuracy is left out. What else is running before each benchmark, and the
load, are stored and shown: figures of a busy machine are rough.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from others import busy

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "pictures" / "performance.png"


@dataclass(frozen=True)
class Bench:
    """One benchmark.

    Attributes:
        what: What it measures.
        quick: What makes it short.
        data: Whether it takes `--data`, a folder with CamVid's images and masks.
        camvid: Whether nothing can stand in for CamVid.
    """

    what: str
    quick: tuple[str, ...] = ()
    data: bool = False
    camvid: bool = False


_FEW = ("smp float32", "smp bfloat16", "smp openvino", "pixelwise eager", "pixelwise openvino")
BENCHES = {
    "machine": Bench("what the machine can do at best: matrix products and copies"),
    "inference": Bench(
        "pixels to labels, against smp in eight settings",
        ("--rounds", "2", "--batches", "1", "--contenders", *_FEW),
    ),
    "train_step": Bench("a training step, against smp", ("--rounds", "2")),
    "loss_in_training": Bench("a step with the loss from low-resolution logits", ("--rounds", "2")),
    "head": Bench(
        "labels and loss at full size, against torch",
        ("--rounds", "3", "--classes", "11", "--no-compile"),
    ),
    "confusion": Bench(
        "counting a confusion matrix, against torchmetrics", ("--rounds", "3", "--pixels", "33554432"), True
    ),
    "feed": Bench(
        "files to batches, against albumentations and DataLoader",
        ("--rounds", "3", "--batches", "8", "--images", "64"),
        True,
    ),
    "floor": Bench("the share of what the machine could reach, layer by layer", ("--models", "unet")),
    "start": Bench("one image by a command, from its start to its end", ("--rounds", "2")),
    "time_to_accuracy": Bench(
        "three seeds against a plain recipe, an hour and a half",
        ("--seed", "0", "--minutes", "1"),
        data=True,
        camvid=True,
    ),
}


def main() -> None:
    """Run what was asked for, then table and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=None, help="CamVid's folder with images/ and masks/")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and cases; stored apart")
    parser.add_argument("--only", nargs="*", default=list(BENCHES), choices=list(BENCHES), metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and stop")
    parser.add_argument(
        "--render",
        nargs="?",
        const=machine_name(),
        metavar="MACHINE",
        help="table and picture of what is stored of this machine or of another",
    )
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{name:17} {bench.what}" for name, bench in BENCHES.items()))
        return
    folder = HERE / "results" / ((given.render or machine_name()) + ("-quick" if given.quick else ""))
    if given.render and not folder.is_dir():
        parser.error(f"nothing is stored of {given.render}: {', '.join(stored_machines())} are there")
    failed = [] if given.render else run_all(given.only, folder, given.data, quick=given.quick)
    from summary import draw, table

    text = table(folder)
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(text)
    picture = PICTURE if given.render == machine_name() else folder / "performance.png"
    draw(folder, picture)
    print(f"table    {folder / 'README.md'}\npicture  {picture}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def run_all(names: list[str], folder: Path, data: Path | None, *, quick: bool) -> list[str]:
    """Run the named benchmarks; returns those that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            bench = BENCHES[name]
            if bench.camvid and not is_camvid(data):
                print(f"\n== {name}: left out, it needs CamVid (--data)", flush=True)
                continue
            command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(folder / f"{name}.json")]
            command += bench.quick if quick else ()
            if bench.data:
                command += ["--data", str(camvid_or_town(data, Path(scratch)))]
            if name == "feed" and (step := seconds_of_a_step(folder)):
                command += ["--step", str(step)]
            running = busy()
            others = ", ".join(f"{program} {cores:g}" for program, cores in running.items()) or "nothing"
            print(f"\n== {name}: {bench.what}; cores that other programs take: {others}", flush=True)
            began = time.monotonic()
            # CI: else OpenVINO, where peers use it, starts processes that report its use and take time from others
            status = subprocess.run(command, check=False, env={**os.environ, "CI": "true"}).returncode
            print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
            if status:
                failed.append(name)
                continue
            result = folder / f"{name}.json"
            found = {**json.loads(result.read_text(encoding="utf-8")), "running_before": running}
            result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return failed


def is_camvid(data: Path | None) -> bool:
    """Whether the folder has what CamVid's has."""
    return data is not None and (data / "masks" / "train").is_dir()


def camvid_or_town(data: Path | None, scratch: Path) -> Path:
    """The folder given, or where there is none a generated town."""
    if data is not None and is_camvid(data):
        return data.resolve()
    town = scratch / "town"
    if not town.exists():
        missing = "no DATA was given" if data is None else f"{data} has no masks/train"
        print(f"{missing}: the generated town stands in for CamVid", flush=True)
        from pixelwise.data.sample import write_sample

        write_sample(town)
    return town


def seconds_of_a_step(folder: Path) -> float | None:
    """Of the U-Net, from the benchmark of training steps if it has run."""
    path = folder / "train_step.json"
    if not path.exists():
        return None
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return next((row["seconds_per_step"]["pixelwise"] for row in rows if row["model"] == "unet"), None)


def stored_machines() -> list[str]:
    """Machines of which results are stored."""
    return sorted(
        folder.name for folder in (HERE / "results").iterdir() if (folder / "machine.json").exists()
    )


def machine_name() -> str:
    """Processor and cores, as the name of a folder; AMX makes another machine of a processor of the same name."""
    cores = os.cpu_count()
    try:
        information = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = re.search(r"model name\s*:\s*(.+)", information)
    except OSError:
        model = None
    if model is None:
        import platform

        name = platform.processor() or platform.machine()
    else:
        name = model.group(1) + (" AMX" if "amx_bf16" in information else "")
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower().replace("(r)", "").replace("(tm)", "")).strip("-")
    return f"{slug}-{cores}-cores"


if __name__ == "__main__":
    main()
