"""Whether ours reaches in a quarter of the time what a plain recipe on the same network reaches on CamVid.

For each seed in turn: the plain recipe (`reference_camvid.py`: Adam at a constant rate, random crops and flips,
cross-entropy, the last weights) for its minutes, then `recipes/camvid/train.yaml` for a share of them, as the
command line runs it. Both have the same network, training images, arithmetic, memory settings and threads, the
plain one in torch's own layers (without numba's kernels, as a script would run it); each has a process of its own,
and both are scored on the test split at full size by the same code, which counts for neither. Ours counts from the
start of its process to the end: imports, decoding, validation and report; the plain recipe counts from the opening
of its data, after the imports, to its last step.

Each run is stored as soon as it is finished, in a folder named as OUT; OUT sums up all runs of those minutes that lie
there, so seeds can be run one by one. `--resume` leaves out what is stored. Run it where nothing else runs: a seed
takes half an hour.

    python benchmarks/time_to_accuracy.py --data CAMVID [--seed 0] [--out benchmarks/results/time_to_accuracy.json]
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
from statistics import mean
from typing import Any

import yaml

HERE = Path(__file__).parent
RECIPE = HERE.parent / "recipes" / "camvid"
CONTENDERS = ("plain", "ours")
GOAL = 0.25  # of the plain recipe's time


def main() -> None:
    """Run both recipes with each seed, and sum up all runs that are stored."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="CamVid's folder with images/ and masks/")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=25.0, help="of the plain recipe")
    parser.add_argument(
        "--share", type=float, default=0.24, help="of them for ours: what starts it comes on top"
    )
    parser.add_argument("--only", choices=CONTENDERS, default=None)
    parser.add_argument("--resume", action="store_true", help="leave out runs that are stored")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "time_to_accuracy.json")
    given = parser.parse_args()
    folder = given.out.with_suffix("")
    for seed in given.seed:
        for name in CONTENDERS if given.only is None else (given.only,):
            path = folder / f"{name}-seed{seed}.json"
            if given.resume and path.exists() and read(path)["minutes"] == given.minutes:
                continue
            load = os.getloadavg()[0]
            print(f"\n== {name}, seed {seed}; load {load:.2f}", flush=True)
            if name == "plain":
                found = plain(given.data, given.minutes, seed)
            else:
                found = ours(given.data, given.share * given.minutes, seed)
            found |= {"recipe": name, "seed": seed, "minutes": given.minutes, "load_before": load}
            write(path, found)
            print(
                f"== {name}, seed {seed}: {found['seconds']} s, test mean IoU {found['mean_iou']}", flush=True
            )
    result = summed_up([read(path) for path in sorted(folder.glob("*-seed*.json"))], given.minutes)
    write(given.out, result)
    print(json.dumps({name: value for name, value in result.items() if name != "runs"}, indent=1))


def plain(data: Path, minutes: float, seed: int) -> dict[str, Any]:
    """The plain recipe on the network of ours: seconds up to its last step, and its score."""
    options = yaml.safe_load((RECIPE / "train.yaml").read_text(encoding="utf-8"))["options"]
    if (options["model"], options["encoder"]) != ("unet", "resnet18"):
        raise SystemExit("the plain recipe is a U-Net on ResNet18; the other one is not")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "plain.json"
        channels = [str(count) for count in options["network"]["decoder_channels"]]
        command = [
            str(HERE / "reference_camvid.py"),
            str(data),
            "--minutes",
            str(minutes),
            "--seed",
            str(seed),
        ]
        run([*command, "--decoder-channels", *channels, "--out", str(out)], NUMBA_DISABLE_JIT="1")
        found = read(out)
    return {
        "seconds": found["seconds"],
        "steps": found["steps"],
        "mean_iou": round(found["scores"]["mean_iou"], 4),
        "parameters": found["parameters"],
        "threads": found["threads"],
        "torch": found["torch"],
    }


def ours(data: Path, minutes: float, seed: int) -> dict[str, Any]:
    """Our recipe by the command line: seconds of the whole training process, and its score."""
    classes = ["--classes", str(RECIPE / "classes.yaml")]
    with tempfile.TemporaryDirectory() as scratch:
        folder, scores = Path(scratch) / "run", Path(scratch) / "scores"
        config = ["--config", str(RECIPE / "train.yaml"), "--minutes", str(minutes), "--seed", str(seed)]
        began = time.monotonic()
        run(["-m", "pixelwise", "train", str(data), "-o", str(folder), *classes, *config])
        seconds = time.monotonic() - began
        run(
            ["-m", "pixelwise", "evaluate", str(folder), str(data), "-o", str(scores), *classes, "--no-check"]
        )
        rows = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        from pixelwise.models.bundle import load

        parameters = sum(tensor.numel() for tensor in load(folder).parameters())
        return {
            "seconds": round(seconds, 1),
            "steps": max(json.loads(row).get("step", 0) for row in rows),
            "mean_iou": round(read(scores / "scores.json")["mean_iou"], 4),
            "parameters": parameters,
        }


def summed_up(runs: list[dict[str, Any]], minutes: float) -> dict[str, Any]:
    """Means over the seeds that both recipes have, and whether the goal is reached."""
    runs = [one for one in runs if one["minutes"] == minutes]
    by = {name: {one["seed"]: one for one in runs if one["recipe"] == name} for name in CONTENDERS}
    seeds = sorted(by["plain"].keys() & by["ours"].keys())
    result: dict[str, Any] = {
        "command": f"python benchmarks/time_to_accuracy.py --data CAMVID --minutes {minutes:g}",
        "seeds": seeds,
        "runs": runs,
    }
    if seeds:
        seconds, scores = (
            {name: mean(by[name][seed][key] for seed in seeds) for name in CONTENDERS}
            for key in ("seconds", "mean_iou")
        )
        share = seconds["ours"] / seconds["plain"]
        result |= {
            "mean_iou": {name: round(value, 4) for name, value in scores.items()},
            "seconds": {name: round(value, 1) for name, value in seconds.items()},
            "share_of_the_time": round(share, 4),
            "reached": scores["ours"] >= scores["plain"] and share <= GOAL,
            "load_before": max(one["load_before"] for one in runs),
        }
    return result


def run(arguments: list[str], **variables: str) -> None:
    """A Python process of its own; large pages for both recipes, as the command line asks for."""
    environment = {**os.environ, "THP_MEM_ALLOC_ENABLE": "1", **variables}
    if status := subprocess.run([sys.executable, *arguments], check=False, env=environment).returncode:
        raise SystemExit(f"{arguments[0]} failed with {status}")


def read(path: Path) -> dict[str, Any]:
    """A result."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write(path: Path, result: dict[str, Any]) -> None:
    """Store a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
