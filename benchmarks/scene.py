"""Speed and memory of mapping scenes that grow in height: U-Net on ResNet18, six classes, random weights.

    python benchmarks/scene.py [--width 20000] [--heights 5000 10000] [--engine eager]
                               [--precision float32] [--network] [--out FILE]

Every height runs in a process of its own. What is measured is a whole `predict_scene`: reading a tiled, deflated
RGB GeoTIFF of noise on shapes, the network, and writing the finished Cloud-Optimized GeoTIFF. Peak memory is that of
the process as the system counts it. With --network the network alone runs on windows of the same shapes afterwards,
from pixels in memory to logits at the decoder's stride; what a scene takes above that is reading, labels and writing.
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
from typing import Any

import numpy as np
from machine import peak_memory, store


def write_scene(path: Path, height: int, width: int) -> None:
    """A striped and spotted RGB scene, block by block, so that writing it needs no memory either."""
    import rasterio

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (3, 512, width), dtype=np.uint8)
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8"}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
    columns = np.arange(width, dtype=np.int64)
    with rasterio.open(
        path, "w", BIGTIFF="IF_SAFER", interleave="pixel", **profile, **layout, **place
    ) as target:
        for top in range(0, height, 512):
            rows = np.arange(top, min(top + 512, height))
            shapes = ((rows[:, None] // 37 + columns // 53) % 5 * 40).astype(np.uint8)
            values = noise[:, : len(rows)] + np.stack([shapes, shapes[:, ::-1], 160 - shapes])
            target.write(values, window=rasterio.windows.Window(0, top, width, len(rows)))


def network_seconds(running: Any, size: tuple[int, int], tiles: int) -> float:
    """Of the network alone on all windows of the plan, as the engine runs it."""
    from pixelwise.infer.predictor import computed
    from pixelwise.infer.tiled import CORES, TiledNetwork
    from pixelwise.infer.windows import TileOptions

    plans = (TiledNetwork(running.model, size, options=TileOptions(core=core)).plan for core in CORES)
    plan = next(plan for plan in plans if len(plan) == tiles)
    rng, total = np.random.default_rng(0), 0.0
    for tile in plan:
        image = rng.integers(0, 256, (tile.window.height, tile.window.width, 3), np.uint8)
        began = time.perf_counter()
        with computed(running.model, [image], running._autocast, running._low):
            total += time.perf_counter() - began
    return total


def measure(scene: Path, out: Path, engine: str, precision: str, width: int) -> dict[str, object]:
    """One map in this process; with the width of the scene, the network alone as well."""
    import torch

    from pixelwise.infer import open_engine
    from pixelwise.infer.scenes import predict_scene
    from pixelwise.models.zoo import build

    torch.manual_seed(0)
    model = build("unet", encoder="resnet18", classes=6).eval()
    running = open_engine(model, engine, precision=precision)
    if width:
        running(np.zeros((512, 512, 3), np.uint8))  # what is prepared at the first image
    began = time.monotonic()
    result = predict_scene(model, scene, out, engine=running)
    seconds = time.monotonic() - began
    peak = peak_memory()
    alone: dict[str, object] = {}
    if width:
        least = network_seconds(running, (result.pixels // width, width), result.tiles)
        alone = {"network_seconds": round(least, 1), "over_network": round(seconds / least, 3)}
    return {
        "pixels": result.pixels,
        "tiles": result.tiles,
        "seconds": round(seconds, 1),
        "megapixels_per_second": round(result.pixels / seconds / 1e6, 3),
        "announced_gib": round(result.memory / 2**30, 3),
        "peak_gib": round(peak, 3),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **alone,
    }


def main() -> None:
    """Measure every height in a process of its own and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=20_000)
    parser.add_argument("--heights", type=int, nargs="+", default=[5_000, 10_000])
    parser.add_argument("--engine", default="eager")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(
            json.dumps(
                measure(*given.one, given.engine, given.precision, given.width if given.network else 0)
            )
        )
        return
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for height in given.heights:
            scene, out = Path(folder) / f"{height}.tif", Path(folder) / f"{height}_map.tif"
            write_scene(scene, height, given.width)
            command = [sys.executable, __file__, "--one", str(scene), str(out), "--engine", given.engine]
            command += [
                "--precision",
                given.precision,
                "--width",
                str(given.width),
                *(["--network"] if given.network else []),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs.append({"height": height, "width": given.width} | json.loads(done.stdout))
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
            scene.unlink()
            out.unlink()
    peaks = [run["peak_gib"] for run in runs]
    document = {
        "engine": given.engine,
        "precision": given.precision,
        "network": "unet on resnet18, 6 classes",
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "runs": runs,
        "peak_growth": round(peaks[-1] / peaks[0], 3),
    }
    print(json.dumps(document, indent=2))
    store(given.out, document)


if __name__ == "__main__":
    main()
