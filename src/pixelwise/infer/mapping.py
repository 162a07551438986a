"""One scene on its way to its map: opened, computed tile by tile, put together. What holds it can stop anywhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import Tensor

from pixelwise.errors import DataError, OutputError
from pixelwise.files import locked, publish
from pixelwise.geo.mosaic import open_scene, parts_of
from pixelwise.geo.reader import REMOTE
from pixelwise.geo.writer import MapLayer, read_tags, write_layer
from pixelwise.infer.engine import Engine
from pixelwise.infer.heap import give_back, resident, trim
from pixelwise.infer.journal import Journal, packed
from pixelwise.infer.predictor import precision_of, set_threshold_of, temperatures_of
from pixelwise.infer.sceneinput import SceneReader, checked, notes_on, wanted_pixel_size
from pixelwise.infer.sceneoptions import SceneOptions, SceneProgress, SceneResult
from pixelwise.infer.subject import document_digest, file_digest, stamp_of, weights_digest
from pixelwise.infer.tiled import TiledNetwork
from pixelwise.models.bundle import facts_of
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.tiles import Tile
from pixelwise.types import IGNORE

CACHE = 512 * 1024**2  # most that GDAL may keep of decoded blocks
WAITING = 2  # finished tiles on their way to the disk


def handles_for(source: str | Path) -> int:
    """How many windows of a scene are read at a time.

    One: windows that follow one another have blocks in common, which each handle would decode for itself, and GDAL
    decodes the blocks of a window in parallel. Over a network waiting costs more than decoding twice.
    """
    return 2 if any(REMOTE.match(part) for part in parts_of(source)) else 1


class Mapping:
    """One run of `predict_scene`, as a context that holds files and locks.

    Attributes:
        finished: The map is there already, and nothing is left to do.
        stamp: Size and time of the scene file when it was opened.
        cache: Bytes of decoded blocks that each reader of it may keep.
        pixel_size: Metres that the scene is resampled to, or None.
        tiles: The network with its plan.
    """

    def __init__(
        self,
        model: Segmenter,
        source: str | Path,
        out: Path,
        options: SceneOptions,
        progress: Callable[[SceneProgress], None] | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.model, self.source, self.out, self.options = model, source, out, options
        self.progress, self.engine = progress, engine
        self.engine_name = getattr(engine, "name", "eager")
        self.notes: tuple[str, ...] = ()
        self.finished = False
        self.processes = 0  # others that compute for this one, each with the memory of one
        self.done = self.fresh = self.skipped = self.resumed = 0

    def __enter__(self) -> Mapping:
        self.began = time.monotonic()
        give_back()
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, stack: ExitStack) -> None:
        remote = self.options.allow_remote
        targets = [path for path in (self.out, *self._beside) if path is not None]
        read = {Path(part).resolve() for part in parts_of(self.source)}
        for target in targets:
            if target.resolve() in read:
                raise OutputError("the map would replace its scene", file=target, remedy="give another -o")
        self.pixel_size = wanted_pixel_size(self.model) if self.options.resample else None
        with open_scene(self.source, allow_remote=remote) as header:
            before = header.facts
        drop_alpha = checked(self.model, before)
        with open_scene(self.source, allow_remote=remote, pixel_size=self.pixel_size) as header:
            facts = self.facts = header.facts
        self.notes = notes_on(self.model, facts, before)
        largest = (2048 * old // new for old, new in zip(before.size, facts.size, strict=True))
        self.cache = min(2 * before.cache(*largest), CACHE)
        reader = stack.enter_context(
            open_scene(
                self.source,
                handles=handles_for(self.source),
                allow_remote=remote,
                cache=self.cache,
                pixel_size=self.pixel_size,
            )
        )
        self.stamp = stamp_of(self.source)
        self.subject = self._subject()
        if self.options.resume and self._is_there():
            self.tiles = TiledNetwork(self.model, facts.size, options=self.options.tiles)
            self.resumed = len(self.tiles.plan)
            self.finished = True
            return
        work = stack.enter_context(locked(self.out.with_name(f"{self.out.name}.work")))
        self.journal = stack.enter_context(Journal(work))
        core = self.journal.begun(self.subject, resume=self.options.resume)
        self.tiles = self._plan(core)
        if core is not None and self.tiles.memory > self.options.tiles.memory:
            self.notes += (
                f"the tiles of the work that goes on take {self.tiles.memory / 2**30:.2f} GiB: they were planned "
                "for another engine or more memory",
            )
        self.journal.begin(self.subject, self.tiles.core)
        stop = Event()
        digesting = stack.enter_context(ThreadPoolExecutor(1))
        self._digest = digesting.submit(file_digest, self.source, stop)
        stack.callback(stop.set)
        self.reader = SceneReader(reader, drop_alpha=drop_alpha)
        kept = [tile.core.pixels for tile in self.tiles.plan if self.journal.has(tile)]
        self.resumed = len(kept)
        self.tiles.averages = {
            name: torch.from_numpy(value) for name, value in self.journal.averages().items()
        }
        self.done = sum(kept) + (self.total // 2 if self.tiles.averages else 0)

    @property
    def _beside(self) -> tuple[Path | None, Path | None]:
        """Files of what is wanted beside labels, in the order of `Piece.layers`."""
        return self.options.confidence, self.options.sets

    def _plan(self, core: int | None) -> TiledNetwork:
        chosen = self.options.tiles
        if self.engine is not None:
            self.engine.prepare("float32" if self.facts.dtype == "float64" else self.facts.dtype)
            self.engine.release()  # what it keeps of the scene before would be counted twice
        trim()
        tiles = TiledNetwork(
            self.model,
            self.facts.size,
            options=chosen if core is None else replace(chosen, core=core),
            precision=self.options.precision,
            resident=resident() + self.cache,
            engine=self.engine,
            window=self.facts.window,
        )
        self.total = self.facts.height * self.facts.width * tiles.passes
        return tiles

    @property
    def memory(self) -> int:
        """Bytes that this process will hold at its peak, and those that compute for it."""
        return self.tiles.memory * max(1, self.processes)

    @property
    def measuring(self) -> bool:
        """Whether averages over the whole scene come first, and are not known yet."""
        return self.tiles.passes > 1 and not self.tiles.averages

    def missing(self) -> list[Tile]:
        """The tiles that are not finished."""
        return [tile for tile in self.tiles.plan if not self.journal.has(tile)]

    def start(self) -> None:
        """Say what there is to do."""
        self._tell("averages" if self.measuring else "tiles")

    def compute(self) -> None:
        """Every tile through the network and to the disk; reading, computing and writing overlap."""
        self.start()
        pieces = self.tiles.run(
            self.reader,
            done=self.journal.has,
            want=self.options.want,
            step=self.seen,
        )
        with ThreadPoolExecutor(1, thread_name_prefix="writer") as writer, closing(pieces):
            waiting: deque[Future[None]] = deque()
            for piece in pieces:
                if self.tiles.averages and not self.journal.averages():
                    self.know(self.tiles.averages)
                waiting.append(writer.submit(lambda one: self.journal.keep(one.tile, packed(one)), piece))
                if len(waiting) > WAITING:
                    waiting.popleft().result()
                self.made(piece.tile, network=piece.network)
            for future in waiting:
                future.result()

    def know(self, averages: dict[str, Tensor]) -> None:
        """Keep the averages over the scene that a first pass has found."""
        self.tiles.averages = averages
        self.journal.keep_averages({name: value.numpy() for name, value in averages.items()})

    def seen(self) -> None:
        """One more tile of a first pass is done."""
        self._step("averages", self.total // (self.tiles.passes * len(self.tiles.plan)))

    def made(self, tile: Tile, *, network: bool) -> None:
        """One more tile of the map is done, by the network or because it holds no data."""
        self.skipped += not network
        self._step("tiles", tile.core.pixels)

    def finish(self) -> None:
        """Put the map together and give it its name.

        Raises:
            DataError: the scene has changed since it was opened.
        """
        if stamp_of(self.source) != self.stamp:
            raise DataError(
                "changed while it was being mapped", file=self.source, remedy="map it again from the start"
            )
        self._tell("writing")
        if self.engine is not None:
            self.engine.release()  # GDAL's blocks take its place
        tags, journal, plan = self._tags(self._digest.result()), self.journal, self.tiles.plan
        layer = MapLayer(self.facts.size, self.facts.place, IGNORE, self.model.classes, tags)
        calibrated = "true" if temperatures_of(self.model) else "false"
        shares = tags | {"PIXELWISE_LAYER": "probability times 255", "PIXELWISE_CALIBRATED": calibrated}
        layers = [(self.out, layer)]
        counts = tags | {"PIXELWISE_LAYER": "classes in the label set"}
        for path, told in zip(self._beside, (shares, counts), strict=True):
            if path is not None:
                layers.append((path, MapLayer(self.facts.size, self.facts.place, 0, (), told)))
        for index, (_, content) in enumerate(layers):
            write_layer(journal.folder / f"{index}.tif", content, journal.layer(plan, index), journal.folder)
        for index in reversed(range(len(layers))):  # the map last: it says that all is there
            publish(journal.folder / f"{index}.tif", layers[index][0])
        self.done = self.total
        self._tell("writing")
        journal.discard()

    def result(self) -> SceneResult:
        """What came of it."""
        plan = self.tiles.plan
        return SceneResult(
            labels=self.out,
            confidence=self.options.confidence,
            sets=self.options.sets,
            pixels=plan.size[0] * plan.size[1],
            tiles=len(plan),
            resumed=self.resumed,
            skipped=self.skipped,
            seconds=time.monotonic() - self.began,
            memory=self.memory,
            notes=self.notes,
        )

    def _subject(self) -> dict[str, Any]:
        facts, confident = self.facts, self.options.confidence is not None
        integers = facts_of(self.model).quantization if self.engine_name == "openvino" else None
        computed = {} if integers is None else {"integers": document_digest(integers.model_dump(mode="json"))}
        return computed | {
            "model": weights_digest(self.model),
            "scene": [Path(facts.name).name, *facts.size, facts.bands, facts.dtype, *self.stamp],
            "overlap": self.options.tiles.overlap,
            "confidence": confident,
            "sets": set_threshold_of(self.model) if self.options.sets is not None else None,
            "temperatures": temperatures_of(self.model)
            if confident or self.options.sets is not None
            else None,
            "precision": self.options.precision or precision_of(self.model),
        }

    def _tags(self, digest: str) -> dict[str, str]:
        from pixelwise import __version__

        return {
            "TIFFTAG_SOFTWARE": f"pixelwise {__version__}",
            "PIXELWISE_WEIGHTS_SHA256": self.subject["model"],
            "PIXELWISE_BUNDLE_SHA256": self.model.digest,
            "PIXELWISE_SCENE": Path(self.facts.name).name,
            "PIXELWISE_SCENE_SHA256": digest,
            "PIXELWISE_OVERLAP": str(self.options.tiles.overlap),
            "PIXELWISE_SUBJECT": document_digest(self.subject),
        }

    def _is_there(self) -> bool:
        beside = [path for path in self._beside if path is not None]
        if not self.out.is_file() or not all(path.is_file() for path in beside):
            return False
        return read_tags(self.out).get("PIXELWISE_SUBJECT") == document_digest(self.subject)

    def _step(self, stage: str, pixels: int) -> None:
        trim()
        self.done += pixels
        self.fresh += pixels
        self._tell(stage)

    def _tell(self, stage: str) -> None:
        if self.progress is not None:
            seconds = time.monotonic() - self.began
            self.progress(
                SceneProgress(stage, self.done, self.total, self.fresh, seconds, self.memory, self.notes)
            )
