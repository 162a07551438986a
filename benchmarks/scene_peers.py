"""Scenes to labels against MONAI's sliding windows: the same network (U-Net on ResNet18, 6 classes), the same bytes.

    pip install monai
    python benchmarks/scene_peers.py --size 3072 --rounds 3 --out benchmarks/results/scene_peers.json

MONAI runs `sliding_window_inference` with its defaults for this (windows of 512, overlap 0.5, Gaussian weights), and
with the windows and the overlap of our plan (constant weights), so that every pixel has the same context. It begins
with the image in memory and ends with labels in memory. Ours read a GeoTIFF, keep finished tiles on the disk and
write a Cloud-Optimized GeoTIFF, all of which counts. Contenders alternate, each in a process of its own; medians
over the rounds. Networks are prepared before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import peak_memory, store
from scene import write_scene

PEERS = ("monai default", "monai equal halo")
OURS = ("pixelwise eager", "pixelwise openvino")


def network(given: argparse.Namespace) -> Any:
    """The network that all contenders run."""
    import pixelwise as pw

    if given.model is not None:
        return pw.load(given.model)
    torch.manual_seed(0)
    return pw.build("unet", encoder="resnet18", classes=6).eval()


def monai(given: argparse.Namespace) -> tuple[float, np.ndarray]:
    """Seconds of MONAI's sliding windows over an image in memory, and the labels."""
    import rasterio
    from monai.inferers import sliding_window_inference

    from pixelwise.infer.tiled import TiledNetwork

    model = network(given)
    with rasterio.open(given.scene) as source:
        image = torch.from_numpy(source.read())[None].float()
    if given.one == "monai default":
        how: dict[str, Any] = {"roi_size": 512, "sw_batch_size": 4, "overlap": 0.5, "mode": "gaussian"}
    else:
        plan = TiledNetwork(model, image.shape[-2:]).plan
        window = plan.largest[0]
        how = {"roi_size": window, "sw_batch_size": 1, "overlap": sum(plan.halo) / window, "mode": "constant"}
    lower = torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bfloat16")

    def judge(images: torch.Tensor) -> torch.Tensor:
        return model(model.prepare(images)).float()

    with torch.inference_mode(), lower:
        judge(image[..., :512, :512])
        began = time.perf_counter()
        labels = sliding_window_inference(image, predictor=judge, **how).argmax(1)[0].byte().numpy()
        return time.perf_counter() - began, labels


def ours(given: argparse.Namespace) -> tuple[float, np.ndarray]:
    """Seconds of a whole `predict_scene`, and the labels of its map."""
    import rasterio

    from pixelwise.infer import open_engine
    from pixelwise.infer.scenes import SceneOptions, predict_scene

    model = network(given)
    engine = open_engine(model, given.one.split()[1], precision=given.precision)
    engine(np.zeros((512, 512, 3), np.uint8))
    out = given.scene.with_name(f"map_{os.getpid()}.tif")
    began = time.perf_counter()
    predict_scene(model, given.scene, out, options=SceneOptions(precision=given.precision), engine=engine)
    seconds = time.perf_counter() - began
    with rasterio.open(out) as source:
        labels = source.read(1)
    out.unlink()
    return seconds, labels


def once(given: argparse.Namespace) -> None:
    """One contender in this process."""
    run = monai if given.one.startswith("monai") else ours
    seconds, labels = run(given)
    np.save(given.labels, labels)
    print(json.dumps({"seconds": round(seconds, 2), "peak_gib": round(peak_memory(), 2)}))


def measured(given: argparse.Namespace, folder: Path, precision: str) -> dict[str, Any]:
    """All contenders, alternating."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in given.contenders}
    for _ in range(given.rounds):
        for name in given.contenders:
            command = [sys.executable, __file__, "--one", name, "--scene", str(folder / "scene.tif")]
            command += ["--labels", str(folder / f"{name}.npy"), "--precision", precision]
            command += ["--model", str(given.model)] if given.model else []
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(precision, name, found[name][-1], file=sys.stderr, flush=True)
    expected = np.load(folder / f"{given.contenders[-1]}.npy")
    row: dict[str, Any] = {"precision": precision}
    for name, runs in found.items():
        seconds = median(run["seconds"] for run in runs)
        row[name] = {
            "megapixels_per_second": round(given.size**2 / seconds / 1e6, 3),
            "seconds": [run["seconds"] for run in runs],
            "peak_gib": max(run["peak_gib"] for run in runs),
            "agreement_with_last": round(float((np.load(folder / f"{name}.npy") == expected).mean()), 5),
        }
    return row


def main() -> None:
    """Measure both precisions and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=3072)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--contenders", nargs="+", default=[*PEERS, *OURS])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--out", type=Path)
    for hidden in ("--one", "--precision"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--scene", "--labels"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        once(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Path(folder) / "scene.tif", given.size, given.size)
        rows = [measured(given, Path(folder), precision) for precision in given.precisions]
    document = {
        "command": "python benchmarks/scene_peers.py",
        "size": given.size,
        "network": "unet on resnet18, 6 classes",
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "rows": rows,
    }
    print(json.dumps(document, indent=2))
    store(given.out, document)


if __name__ == "__main__":
    main()
