"""Scenes spread by Ray over a cluster of two nodes, which are processes here; workers and a node are killed."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.errors import OptionError
from pixelwise.infer.scenes import SceneOptions, predict_scene
from pixelwise.infer.spread import SceneJob, open_crew, predict_scenes
from pixelwise.infer.windows import TileOptions
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = (
    "0"  # else Ray takes 127.0.0.1 for this machine's other address
)
rasterio = pytest.importorskip("rasterio")
ray = pytest.importorskip("ray", reason="needs Ray, the extra `ray`")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray warns of much that is not ours
TILES = TileOptions(core=512)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and another node, on the loopback."""
    here = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 100 * 2**20}
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={**here, "include_dashboard": False})
    made.add_node(**here)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def model() -> Segmenter:
    torch.manual_seed(0)
    options = NetworkOptions(encoder_width=0.125, decoder_channels=(8, 8, 8))
    return build("unet", encoder="resnet18", classes=3, options=options).eval()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "a.tif"
    image = np.random.default_rng(0).integers(1, 256, (3, 6700, 100), dtype=np.uint8)
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(1, 0, 5, 0, -1, 9)}
    with rasterio.open(
        path, "w", driver="GTiff", height=6700, width=100, count=3, dtype="uint8", **place
    ) as target:
        target.write(image)
    return path


def straight(model: Segmenter, scene: Path, out: Path) -> bytes:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        predict_scene(model, scene, out, options=SceneOptions(TILES))
    finally:
        torch.set_num_threads(threads)
    return out.read_bytes()


def computing() -> list[int]:
    """The processes of Ray that compute a block now."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(b"ray::_computed"):
                found.append(int(folder.name))
    return found


@contextmanager
def now_and_then(act: Callable[[], bool], times: int) -> Iterator[list[int]]:
    """While the body runs, `act` is called at random moments until it has done something so many times."""
    dice, over, done = random.Random(1), threading.Event(), []

    def run() -> None:
        while len(done) < times and not over.wait(dice.uniform(0.1, 0.6)):
            if act():
                done.append(1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def kill_one() -> bool:
    found = computing()
    with suppress(ProcessLookupError):
        if found:
            os.kill(random.choice(found), signal.SIGKILL)
            return True
    return False


def survives(model: Segmenter, scene: Path, cluster: Any, tmp_path: Path, kills: int) -> None:
    expected = straight(model, scene, tmp_path / "one.tif")
    killed = 0
    while killed < kills:
        crew = open_crew(model, "ray", workers=2, address=cluster.address)
        job = SceneJob(str(scene), tmp_path / "two.tif", SceneOptions(TILES))
        with now_and_then(kill_one, min(2, kills - killed)) as found:
            (outcome,) = predict_scenes(model, [job], crew=crew)
        killed += len(found)
        assert outcome.error is None
        assert (tmp_path / "two.tif").read_bytes() == expected
        (tmp_path / "two.tif").unlink()


def test_killed_workers_cost_only_their_blocks(
    model: Segmenter, scene: Path, cluster: Any, tmp_path: Path
) -> None:
    survives(model, scene, cluster, tmp_path, 2)


@pytest.mark.slow
def test_ten_kills(model: Segmenter, scene: Path, cluster: Any, tmp_path: Path) -> None:
    survives(model, scene, cluster, tmp_path, 10)


def test_a_lost_node_costs_only_its_blocks(
    model: Segmenter, scene: Path, cluster: Any, tmp_path: Path
) -> None:
    expected = straight(model, scene, tmp_path / "one.tif")
    node = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", object_store_memory=100 * 2**20)
    crew = open_crew(model, "ray", workers=3, address=cluster.address)
    job = SceneJob(str(scene), tmp_path / "two.tif", SceneOptions(TILES))

    def lose(_: str, told: Any) -> None:
        if told.fresh and node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)

    (outcome,) = predict_scenes(model, [job], crew=crew, progress=lose)
    assert outcome.error is None
    assert node not in cluster.worker_nodes
    assert (tmp_path / "two.tif").read_bytes() == expected


def test_no_cluster_at_an_address(model: Segmenter) -> None:
    with pytest.raises(OptionError, match="no Ray cluster at"):
        open_crew(model, "ray", workers=1, address="127.0.0.1:1")


def test_ray_started_here_listens_on_the_loopback_only(model: Segmenter, scene: Path, tmp_path: Path) -> None:
    expected = straight(model, scene, tmp_path / "one.tif")
    before = open_to_others()
    crew = open_crew(model, "ray", workers=1)
    job = SceneJob(str(scene), tmp_path / "two.tif", SceneOptions(TILES))
    seen: list[set[str]] = []
    (outcome,) = predict_scenes(
        model, [job], crew=crew, progress=lambda _, told: seen.append(open_to_others())
    )
    assert outcome.error is None
    assert (tmp_path / "two.tif").read_bytes() == expected
    assert set().union(*seen) <= before
    assert not ray.is_initialized()


def open_to_others() -> set[str]:
    """Addresses beyond the loopback on which this machine listens."""
    found = set()
    for name, width in (("tcp", 8), ("tcp6", 32)):
        with suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                address = bytes.fromhex(local[:width])
                if width == 8:
                    loopback = socket.inet_ntoa(address[::-1]).startswith("127.")
                else:  # ::1, or 127.0.0.1 in its clothes
                    loopback = address[-4:] in (b"\0\0\0\1"[::-1], b"\x7f\0\0\1"[::-1]) and any(address)
                if state == "0A" and not loopback:
                    found.add(local)
    return found
