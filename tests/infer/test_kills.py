"""Maps of a process that is really killed, again and again, at any moment; and the memory that it announces."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.models.bundle import save
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.zoo import build

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# Imports once, then one process per line of standard input; a process is forked before any thread is started.
SERVER = """
import json, os, resource, signal, sys, time, traceback
import torch
torch.set_num_threads(1)
import rasterio, rasterio.shutil
from pixelwise.infer.scenes import SceneOptions, predict_scene
from pixelwise.infer.windows import TileOptions
from pixelwise.infer.heap import resident
from pixelwise.models.bundle import load
from pixelwise.models.surroundings import surroundings
models = {}
for line in sys.stdin:
    order = json.loads(line)
    if order["model"] not in models:
        models[order["model"]] = load(order["model"])
        surroundings(models[order["model"]])  # imports what tracing needs
    pid = os.fork()
    if pid == 0:
        try:
            options = SceneOptions(TileOptions(order["overlap"], core=512), resume=True)
            base = resident()
            result = predict_scene(models[order["model"]], order["scene"], order["out"], options=options)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            said = json.dumps([result.resumed, result.memory, peak, base])
            os.write(1, f"{said}\\n".encode())  # at once: a kill must not part it from the end of its line
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    began, after = time.monotonic(), float(order.get("kill_after", "inf"))
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() - began > after:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    print(json.dumps({"status": os.waitstatus_to_exitcode(ended[1]), "seconds": time.monotonic() - began}), flush=True)
"""


class Mapper:
    """Maps scenes in processes of their own."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True)

    def run(self, **order: Any) -> tuple[int, list[int], float]:
        """Exit status, what the process said, seconds; with `kill_after` it is killed then, if it still runs."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = json.dumps({key: str(value) for key, value in order.items()})
        print(line, file=self.process.stdin, flush=True)
        said: list[int] = []
        while (line := self.process.stdout.readline()).startswith("["):
            said = json.loads(line)
        ended = json.loads(line)
        return ended["status"], said, ended["seconds"]


@pytest.fixture(scope="module")
def mapper() -> Iterator[Mapper]:
    made = Mapper()
    yield made
    made.process.communicate(timeout=20)


def scene_of(path: Path, height: int, width: int) -> Path:
    image = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(1, 0, 5, 0, -1, 9)}
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, **place) as target:
        target.write(image)
    return path


def survives(mapper: Mapper, tmp_path: Path, overlap: str, kills: int) -> None:
    torch.manual_seed(0)
    options = NetworkOptions(encoder_width=0.125, decoder_channels=(8, 8, 8))
    model = save(build("unet", encoder="resnet18", classes=3, options=options), tmp_path / "net.safetensors")
    order = {"model": model, "scene": scene_of(tmp_path / "a.tif", 1700, 200), "overlap": overlap}
    status, _, whole = mapper.run(**order, out=tmp_path / "straight.tif")
    assert status == 0
    expected = (tmp_path / "straight.tif").read_bytes()
    out, dice = tmp_path / "killed.tif", random.Random(5)
    killed = resumed = tries = 0
    while (
        killed < kills or not resumed
    ):  # a kill before the first tile is finished leaves nothing to go on with
        tries += 1
        assert tries <= 20 * kills
        status, said, _ = mapper.run(**order, out=out, kill_after=dice.uniform(0.02, 1.0) * whole)
        killed += status == -signal.SIGKILL
        resumed += said[0] if said else 0
        assert status in (0, -signal.SIGKILL)
        if out.exists():  # only ever whole
            assert out.read_bytes() == expected
            out.unlink()
    status, _, _ = mapper.run(**order, out=out)
    assert status == 0
    assert out.read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.tif",
        "killed.tif",
        "net.safetensors",
        "straight.tif",
    ]


@pytest.mark.parametrize("overlap", ["exact", "blend"])
def test_a_killed_map_goes_on_and_ends_with_the_same_bytes(
    overlap: str, mapper: Mapper, tmp_path: Path
) -> None:
    survives(mapper, tmp_path, overlap, kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("overlap", ["exact", "blend"])
def test_fifty_kills(overlap: str, mapper: Mapper, tmp_path: Path) -> None:
    survives(mapper, tmp_path, overlap, kills=25)


def test_announced_memory_is_kept(mapper: Mapper, tmp_path: Path) -> None:
    """Over tiles of several shapes neither exceeded nor far too much: a third at least is used."""
    model = save(build("unet", classes=6), tmp_path / "net.safetensors")
    scene = scene_of(tmp_path / "a.tif", 1100, 560)
    status, said, _ = mapper.run(model=model, scene=scene, overlap="exact", out=tmp_path / "b.tif")
    assert status == 0
    _, announced, peak, base = said
    assert peak <= announced
    assert peak - base > (announced - base) / 3


ONCE = """
import json, pathlib, re, sys
from pixelwise.infer import open_engine
from pixelwise.infer.heap import resident
from pixelwise.infer.scenes import SceneOptions, predict_scene
from pixelwise.infer.windows import TileOptions
from pixelwise.models.bundle import load
model = load(sys.argv[1])
engine = open_engine(model, "openvino", precision="bfloat16")
base = resident()
result = predict_scene(model, sys.argv[2], sys.argv[3], options=SceneOptions(TileOptions(core=1024)), engine=engine)
(peak,) = re.findall(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())
print(json.dumps([result.memory, int(peak) * 1024, base]))
"""


@pytest.mark.parametrize(
    ("decoder", "encoder", "edge"), [("unet", "resnet18", 1400), ("fcn32s", "resnet50", 640)]
)
def test_announced_memory_is_kept_by_openvino(decoder: str, encoder: str, edge: int, tmp_path: Path) -> None:
    """Of a scene that needs activations, and of one that needs little but the weights, laid out anew."""
    pytest.importorskip("openvino")
    model = save(build(decoder, encoder=encoder, classes=6), tmp_path / "net.safetensors")
    scene = scene_of(tmp_path / "a.tif", edge, edge)
    command = [sys.executable, "-c", ONCE, str(model), str(scene), str(tmp_path / "b.tif")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    announced, peak, base = json.loads(done.stdout.splitlines()[-1])
    assert peak <= announced
    assert peak - base > (announced - base) / (3 if decoder == "unet" else 6)
