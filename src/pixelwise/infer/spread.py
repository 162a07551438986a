"""Many scenes, one after the other in this process or spread over others; what fails does not stop the rest.

The process that is called plans the scenes, hands out blocks of tiles and is the only one that writes. Workers read
their own windows and send finished tiles back, so a worker that dies costs its blocks and nothing else: they are
given to another one, and a tile is kept once, under its name when it is whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from pixelwise.errors import DataError, OptionError, OutputError, PixelwiseError, close_matches
from pixelwise.infer.blocks import Answer, Block, blocks_of, setup_of
from pixelwise.infer.cluster import RayCrew
from pixelwise.infer.crew import Crew, LocalCrew
from pixelwise.infer.engine import Engine
from pixelwise.infer.mapping import Mapping
from pixelwise.infer.pools import Sums, averaged
from pixelwise.infer.predictor import Precision
from pixelwise.infer.sceneoptions import SceneOptions, SceneProgress, SceneResult
from pixelwise.infer.scenes import predict_scene
from pixelwise.models.segmenter import Segmenter

PLACES = ("local", "ray")
OF_ONE = (DataError, OutputError)  # errors that concern one scene; others would befall all of them
Progress = Callable[[str, SceneProgress], None]


@dataclass(frozen=True)
class SceneJob:
    """A scene, where its map goes, and how it is made."""

    source: str
    out: Path
    options: SceneOptions


@dataclass(frozen=True)
class SceneOutcome:
    """What came of a scene: a map or an error."""

    job: SceneJob
    result: SceneResult | None = None
    error: PixelwiseError | None = None


def predict_scenes(
    model: Segmenter,
    jobs: Sequence[SceneJob],
    *,
    crew: Crew | None = None,
    engine: Engine | None = None,
    progress: Progress = lambda source, told: None,
) -> list[SceneOutcome]:
    """Map scenes; one that cannot be mapped does not stop the others.

    Args:
        model: As for `predict_scene`.
        jobs: The scenes.
        crew: Workers to spread them over, closed at the end; without one this process maps them one by one. The
            pixels are the same. The model and the engine are those that the crew was set up with.
        engine: Without a crew, as for `predict_scene`.
        progress: Called with the source of a scene and how far it is.

    Returns:
        What came of each scene, in the order given.

    Raises:
        OptionError: what was asked for is impossible, or a worker is of another version.
    """
    if crew is not None:
        with closing(crew):
            return _Spread(model, jobs, crew, progress).run()
    outcomes = []
    for job in jobs:
        try:
            result = predict_scene(
                model,
                job.source,
                job.out,
                options=job.options,
                progress=lambda told, job=job: progress(job.source, told),  # type: ignore[misc]
                engine=engine,
            )
            outcomes.append(SceneOutcome(job, result))
        except OF_ONE as error:
            outcomes.append(_failed(job, error))
    return outcomes


def open_crew(
    model: Segmenter,
    where: str,
    *,
    workers: int | None = None,
    engine: str = "eager",
    precision: Precision | None = None,
    address: str | None = None,
) -> Crew:
    """Workers that share the cores out among them.

    Args:
        model: What they will run.
        where: `local` for processes on this machine, `ray` for a Ray cluster.
        workers: How many; by default one for four cores, and at least 2.
        engine: That each of them opens, as for `open_engine`.
        precision: As in the options of the scenes.
        address: Of a running Ray cluster; without it Ray is started on this machine.

    Raises:
        OptionError: an unknown place or number, or no cluster at that address.
        MissingExtraError: Ray or the engine is not installed.
    """
    if where not in PLACES:
        raise OptionError(f"spread over {where!r}", remedy=close_matches(where, PLACES))
    if address is not None and where != "ray":
        raise OptionError("an address of Ray without Ray", remedy="add --spread ray")
    cores = torch.get_num_threads()
    count = max(2, cores // 4) if workers is None else workers
    setup = setup_of(model, engine=engine, precision=precision, threads=max(1, cores // max(1, count)))
    return LocalCrew(setup, count) if where == "local" else RayCrew(setup, count, address)


class _Scene:
    """A scene under way: its blocks that nobody has yet, how many tiles it waits for, and sums for averages."""

    def __init__(self, mapping: Mapping, number: int, workers: int) -> None:
        self.mapping, self.number, self.workers = mapping, number, workers
        self.sums: dict[tuple[int, int], Sums] = {}
        self._cut()

    def _cut(self) -> None:
        self.blocks = deque(blocks_of(self.mapping, self.number, self.workers))
        self.left = sum(len(block.places) for block in self.blocks)

    def take(self, answer: Answer) -> None:
        """Keep what a worker has made; the last sums make the blocks of the second pass."""
        mapping = self.mapping
        tiles = {tile[:2]: tile for tile in mapping.tiles.plan}
        for place, data, network in answer.tiles:
            mapping.journal.keep(tiles[place], data)
            mapping.made(tiles[place], network=network)
        for place, part in answer.sums:
            self.sums[place] = part
            mapping.seen()
        self.left -= len(answer.tiles) + len(answer.sums)
        if not self.left and self.sums:
            # in the order of the plan, as one process adds them: the same to the last bit
            parts = [self.sums[tile[:2]] for tile in mapping.tiles.plan]
            mapping.know(averaged(mapping.tiles.facts.pools, parts))
            self.sums = {}
            self._cut()


class _Spread:
    """One run of `predict_scenes` with a crew."""

    def __init__(self, model: Segmenter, jobs: Sequence[SceneJob], crew: Crew, progress: Progress) -> None:
        self.model, self.jobs, self.crew, self.progress = model, jobs, crew, progress
        self.waiting = deque(range(len(jobs)))
        self.scenes: dict[int, _Scene] = {}
        self.outcomes: dict[int, SceneOutcome] = {}
        self.under_way = 0

    def run(self) -> list[SceneOutcome]:
        """Keep all workers busy until every scene has come to an end."""
        try:
            while self.waiting or self.scenes:
                self._hand_out()
                if self.under_way:
                    block, answer = self.crew.take()
                    self.under_way -= 1
                    if block.scene in self.scenes:  # else it has failed meanwhile
                        self._take(self.scenes[block.scene], answer)
                elif self.scenes:
                    raise RuntimeError("scenes are open and nobody computes for them")
        finally:
            for scene in self.scenes.values():
                scene.mapping.__exit__()
        return [self.outcomes[number] for number in range(len(self.jobs))]

    def _hand_out(self) -> None:
        blocks = self._blocks()
        while self.crew.room > 0:
            block = next(blocks, None)
            if block is None:
                return
            self.crew.give(block)
            self.under_way += 1

    def _blocks(self) -> Iterator[Block]:
        """The blocks of the scenes that are open, then those of further scenes."""
        for scene in list(self.scenes.values()):
            while scene.blocks:
                yield scene.blocks.popleft()
        while self.waiting and len(self.scenes) <= self.crew.workers:
            opened = self._open(self.waiting.popleft())
            while opened is not None and opened.blocks:
                yield opened.blocks.popleft()

    def _open(self, number: int) -> _Scene | None:
        job = self.jobs[number]

        def tell(told: SceneProgress) -> None:
            self.progress(job.source, told)

        mapping = Mapping(self.model, job.source, job.out, job.options, tell)
        mapping.processes = self.crew.workers if self.crew.here else 0
        mapping.engine_name = self.crew.engine
        try:
            mapping.__enter__()
        except OF_ONE as error:
            self.outcomes[number] = _failed(job, error)
            return None
        if mapping.finished:
            self.outcomes[number] = SceneOutcome(job, mapping.result())
            mapping.__exit__()
            return None
        scene = self.scenes[number] = _Scene(mapping, number, self.crew.workers)
        mapping.start()
        if not scene.left:
            self._end(scene)
        return scene

    def _take(self, scene: _Scene, answer: Answer) -> None:
        try:
            if answer.error is not None:
                raise answer.error
            scene.take(answer)
        except OF_ONE as error:
            self._fail(scene, error)
            return
        if not scene.left:
            self._end(scene)

    def _end(self, scene: _Scene) -> None:
        try:
            scene.mapping.finish()
        except OF_ONE as error:
            self._fail(scene, error)
            return
        self.outcomes[scene.number] = SceneOutcome(self.jobs[scene.number], scene.mapping.result())
        self.scenes.pop(scene.number).mapping.__exit__()

    def _fail(self, scene: _Scene, error: PixelwiseError) -> None:
        self.outcomes[scene.number] = _failed(self.jobs[scene.number], error)
        self.scenes.pop(scene.number).mapping.__exit__()


def _failed(job: SceneJob, error: PixelwiseError) -> SceneOutcome:
    error.file = error.file or Path(job.source)
    return SceneOutcome(job, error=error)
