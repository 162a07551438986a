"""Scenes spread over processes: the pixels are those of one process, whoever is killed meanwhile."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.errors import DataError, OptionError, PixelwiseError
from pixelwise.infer.blocks import Answer, Block, Setup, Worker, setup_of
from pixelwise.infer.crew import AHEAD, LocalCrew
from pixelwise.infer.scenes import SceneOptions, predict_scene
from pixelwise.infer.spread import SceneJob, predict_scenes
from pixelwise.infer.windows import TileOptions
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build

rasterio = pytest.importorskip("rasterio")
TILES = TileOptions(core=512)


def scene_of(path: Path, height: int, width: int, bands: int = 3) -> Path:
    image = np.random.default_rng(0).integers(1, 256, (bands, height, width), dtype=np.uint8)
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(1, 0, 5, 0, -1, 9)}
    profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, **place) as target:
        target.write(image)
    return path


@pytest.fixture(scope="module")
def model() -> Segmenter:
    torch.manual_seed(0)
    options = NetworkOptions(encoder_width=0.125, decoder_channels=(8, 8, 8))
    return build("unet", encoder="resnet18", classes=3, options=options).eval()


def setup(model: Segmenter) -> Setup:
    return setup_of(model, engine="eager", precision=None, threads=1)


@pytest.fixture(scope="module")
def crew(model: Segmenter) -> Iterator[LocalCrew]:
    """Two workers that stay for all tests: starting them is what takes the time."""
    made = LocalCrew(setup(model), 2)
    yield made
    made.close()


class Kept:
    """A crew that is not closed by the run that borrows it, and given back idle: answers to nobody would confuse
    the next one."""

    here = True

    def __init__(self, crew: LocalCrew) -> None:
        self.crew, self.workers, self.engine = crew, crew.workers, crew.engine
        self.give, self.take = crew.give, crew.take

    @property
    def room(self) -> int:
        return self.crew.room

    def close(self) -> None:
        while self.crew.room < AHEAD * self.workers:
            self.crew.take()
        self.crew._failed.clear()


@contextmanager
def killing(alive: Callable[[], list[int]], kills: int, pause: float) -> Iterator[list[int]]:
    """While the body runs, processes are killed at random moments."""
    dice, killed, over = random.Random(3), [], threading.Event()

    def kill() -> None:
        while len(killed) < kills and not over.wait(dice.uniform(0.1, 1) * pause):
            found = alive()
            if found:
                with suppress(ProcessLookupError):  # one that has been killed already
                    os.kill(chosen := dice.choice(found), signal.SIGKILL)
                    killed.append(chosen)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def straight(model: Segmenter, scene: Path, out: Path, overlap: Any = "exact") -> bytes:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        predict_scene(model, scene, out, options=SceneOptions(TileOptions(overlap, core=512)))
    finally:
        torch.set_num_threads(threads)
    return out.read_bytes()


@pytest.mark.parametrize("overlap", ["exact", "blend"])
def test_two_workers_make_the_same_file(
    overlap: Any, model: Segmenter, crew: LocalCrew, tmp_path: Path
) -> None:
    scene = scene_of(tmp_path / "a.tif", 2700, 100)
    expected = straight(model, scene, tmp_path / "one.tif", overlap)
    told = []
    job = SceneJob(str(scene), tmp_path / "two.tif", SceneOptions(TileOptions(overlap, core=512)))
    (outcome,) = predict_scenes(model, [job], crew=Kept(crew), progress=lambda _, step: told.append(step))
    assert outcome.error is None
    assert outcome.result is not None
    assert outcome.result.tiles >= 4
    assert (tmp_path / "two.tif").read_bytes() == expected
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert told[-1].done == told[-1].total == 2700 * 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "one.tif", "two.tif"]


def test_averages_are_summed_over_workers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8), rates=(1, 2))
    model = build("deeplabv3plus", encoder="resnet18", classes=3, options=options).eval()
    scene = scene_of(tmp_path / "a.tif", 1600, 40)
    expected = straight(model, scene, tmp_path / "one.tif")
    job = SceneJob(str(scene), tmp_path / "two.tif", SceneOptions(TILES))
    (outcome,) = predict_scenes(model, [job], crew=Here(setup(model)))
    assert outcome.error is None
    assert (tmp_path / "two.tif").read_bytes() == expected


class Here:
    """A crew of one that computes in this process, out of order."""

    workers, here, engine = 1, True, "eager"

    def __init__(self, setup: Setup) -> None:
        self.worker = Worker(setup)
        self.blocks: list[Block] = []

    @property
    def room(self) -> int:
        return 3 - len(self.blocks)

    def give(self, block: Block) -> None:
        self.blocks.append(block)

    def take(self) -> tuple[Block, Answer]:
        block = self.blocks.pop()
        return block, self.worker(block)

    def close(self) -> None:
        self.blocks = []


def survives(
    model: Segmenter, crew: LocalCrew, tmp_path: Path, kills: int, alive: Callable[[], list[int]]
) -> None:
    scene = scene_of(tmp_path / "a.tif", 6700, 100)
    began = time.monotonic()
    expected = straight(model, scene, tmp_path / "one.tif")
    pause = time.monotonic() - began
    killed = 0
    while killed < kills:
        job = SceneJob(str(scene), tmp_path / "two.tif", SceneOptions(TILES))
        with killing(alive, min(2, kills - killed), pause) as found:  # five in a row would be an error
            (outcome,) = predict_scenes(model, [job], crew=Kept(crew))
        killed += len(found)
        assert outcome.error is None
        assert (tmp_path / "two.tif").read_bytes() == expected
        (tmp_path / "two.tif").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "one.tif"]


def test_killed_workers_cost_only_their_blocks(model: Segmenter, crew: LocalCrew, tmp_path: Path) -> None:
    survives(model, crew, tmp_path, 3, lambda: [hand.process.pid for hand in crew._hands])


@pytest.mark.slow
def test_twenty_kills(model: Segmenter, crew: LocalCrew, tmp_path: Path) -> None:
    survives(model, crew, tmp_path, 20, lambda: [hand.process.pid for hand in crew._hands])


def test_one_scene_that_fails_among_many(model: Segmenter, crew: LocalCrew, tmp_path: Path) -> None:
    """Found before it starts, and only when a worker reads it; the others are whole."""
    scenes = {name: scene_of(tmp_path / f"{name}.tif", 1100, 60) for name in "abcd"}
    scene_of(scenes["b"], 1100, 60, bands=2)
    whole = scenes["c"].read_bytes()
    scenes["c"].write_bytes(whole[: len(whole) // 2])
    jobs = [
        SceneJob(str(path), tmp_path / "out" / path.name, SceneOptions(TILES)) for path in scenes.values()
    ]
    outcomes = predict_scenes(model, jobs, crew=Kept(crew))
    assert [type(outcome.error) for outcome in outcomes] == [
        type(None),
        DataError,
        type(outcomes[2].error),
        type(None),
    ]
    assert isinstance(outcomes[2].error, DataError)
    assert outcomes[2].error.file == scenes["c"]
    for name in "ad":
        expected = straight(model, scenes[name], tmp_path / "one.tif")
        assert (tmp_path / "out" / f"{name}.tif").read_bytes() == expected
    assert not (tmp_path / "out" / "b.tif").exists()
    assert not (tmp_path / "out" / "c.tif").exists()


def test_interrupted_work_of_one_process_goes_on_with_two(
    model: Segmenter, crew: LocalCrew, tmp_path: Path
) -> None:
    scene = scene_of(tmp_path / "a.tif", 2700, 100)
    expected = straight(model, scene, tmp_path / "one.tif")

    class Stop(Exception):
        pass

    def stop(told: Any) -> None:
        if told.fresh:
            raise Stop

    with pytest.raises(Stop):
        predict_scene(model, scene, tmp_path / "b.tif", options=SceneOptions(TILES), progress=stop)
    options = SceneOptions(TILES, resume=True)
    for resumed in (1, 5):
        job = SceneJob(str(scene), tmp_path / "b.tif", options)
        (outcome,) = predict_scenes(model, [job], crew=Kept(crew))
        assert outcome.result is not None
        assert outcome.result.resumed == resumed
        assert (tmp_path / "b.tif").read_bytes() == expected


def test_without_a_crew_scenes_are_mapped_one_by_one(model: Segmenter, tmp_path: Path) -> None:
    jobs = [
        SceneJob(str(scene_of(tmp_path / "a.tif", 60, 60, bands=2)), tmp_path / "1.tif", SceneOptions(TILES)),
        SceneJob(str(scene_of(tmp_path / "b.tif", 60, 60)), tmp_path / "2.tif", SceneOptions(TILES)),
    ]
    first, second = predict_scenes(model, jobs)
    assert isinstance(first.error, DataError)
    assert second.result is not None


@pytest.mark.parametrize(
    ("change", "found"),
    [({"version": "0.0.1"}, "this process 0.0.1"), ({"weights": "0" * 64}, "its digest differs")],
)
def test_workers_of_another_kind_are_refused(change: dict[str, str], found: str, model: Segmenter) -> None:
    with pytest.raises(OptionError, match=found):
        Worker(Setup(**{**setup(model).__dict__, **change}))


def test_a_scene_that_is_another_file_for_a_worker_is_refused(model: Segmenter, tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "a.tif", 600, 60)
    crew = Here(setup(model))
    job = SceneJob(str(scene), tmp_path / "b.tif", SceneOptions(TILES))
    take = crew.take

    def touched() -> tuple[Block, Answer]:
        scene.touch()
        return take()

    crew.take = touched  # type: ignore[method-assign]
    (outcome,) = predict_scenes(model, [job], crew=crew)
    assert isinstance(outcome.error, DataError)
    assert "not the same file" in outcome.error.found


def test_a_block_that_no_worker_survives_is_an_error(model: Segmenter, tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "a.tif", 600, 60)
    crew = LocalCrew(setup(model), 1)
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            pid = crew._hands[0].process.pid
            if pid is not None and crew._hands[0].process.is_alive():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        job = SceneJob(str(scene), tmp_path / "b.tif", SceneOptions(TILES))
        (outcome,) = predict_scenes(model, [job], crew=crew)
    finally:
        over.set()
        killer.join()
    assert isinstance(outcome.error, PixelwiseError)
    assert "5 workers in a row died" in outcome.error.found
    assert "--workers" in outcome.error.remedy


def test_answers_to_nobody_are_no_reason_to_wait_for_ever(model: Segmenter, tmp_path: Path) -> None:
    """A crew that a run has left with work under way, and which the next run takes for its own."""

    class Confused(Here):
        def take(self) -> tuple[Block, Answer]:
            block, _ = super().take()
            return block._replace(scene=7), Answer()

    scene = scene_of(tmp_path / "a.tif", 600, 60)
    job = SceneJob(str(scene), tmp_path / "b.tif", SceneOptions(TILES))
    with pytest.raises(RuntimeError, match="nobody computes"):
        predict_scenes(model, [job], crew=Confused(setup(model)))
