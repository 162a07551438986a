"""Georeferenced rasters of any size to class maps in the same place, in bounded memory, and never from the start."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import torch

from pixelwise.errors import DataError, OutputError
from pixelwise.files import locked, publish
from pixelwise.geo.reader import RasterFacts, open_raster
from pixelwise.geo.writer import MapLayer, read_tags, write_layer
from pixelwise.infer.engine import Engine
from pixelwise.infer.heap import give_back, resident, trim
from pixelwise.infer.journal import Journal
from pixelwise.infer.predictor import precision_of, temperatures_of
from pixelwise.infer.sceneinput import SceneReader, checked, notes_on
from pixelwise.infer.sceneoptions import SceneOptions, SceneProgress, SceneResult
from pixelwise.infer.subject import document_digest, file_digest, stamp_of, weights_digest
from pixelwise.infer.tiled import TiledNetwork
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.tiles import TilePlan
from pixelwise.types import IGNORE

__all__ = ["SceneOptions", "SceneProgress", "SceneResult", "predict_scene"]

READERS = 2
CACHE = 512 * 1024**2  # most that GDAL may keep of decoded blocks
WAITING = 2  # finished tiles on their way to the disk


def predict_scene(
    model: Segmenter,
    source: str | Path,
    out: str | Path,
    *,
    options: SceneOptions | None = None,
    progress: Callable[[SceneProgress], None] | None = None,
    engine: Engine | None = None,
) -> SceneResult:
    """Map a GeoTIFF of any size to a Cloud-Optimized GeoTIFF of labels in the same place.

    The map has one band of uint8, 255 where the scene holds no data, a colour table, and the names of the classes
    and the digests of model and scene in its tags. It appears under its name when it is complete; until then
    finished tiles are kept in the folder `OUT.work`.

    Args:
        model: Runs on the device it is on.
        source: A local GeoTIFF, or with `allow_remote` the address of one.
        out: The file to write.
        options: Everything else.
        progress: Called before the start and after every tile.
        engine: Runs the network in place of the eager one, see `open_engine`; it is not asked where averages over
            the scene or probabilities for blending enter. Announced memory is that of the eager one.

    Raises:
        MissingExtraError: rasterio is not installed.
        UnreadableError: the scene is no GeoTIFF, or damaged; what is finished stays.
        DataError: other bands or values than the model takes, or the scene changed meanwhile.
        OptionError: tiles that cannot be exact, or unfinished work of something else.
        OutputError: the place is in use, full, read-only, or holds unfinished work.
    """
    return _Mapping(model, source, Path(out), options or SceneOptions(), progress, engine).run()


class _Mapping:
    """One run of `predict_scene`."""

    def __init__(
        self,
        model: Segmenter,
        source: str | Path,
        out: Path,
        options: SceneOptions,
        progress: Callable[[SceneProgress], None] | None,
        engine: Engine | None,
    ) -> None:
        self.model, self.source, self.out, self.options = model, source, out, options
        self.progress, self.engine = progress, engine
        self.notes: tuple[str, ...] = ()
        self.done = self.fresh = self.skipped = 0

    def run(self) -> SceneResult:
        began = self.began = time.monotonic()
        give_back()
        remote = self.options.allow_remote
        targets = [self.out] if self.options.confidence is None else [self.out, self.options.confidence]
        for target in targets:
            if Path(str(self.source)).resolve() == target.resolve():
                raise OutputError("the map would replace its scene", file=target, remedy="give another -o")
        with ExitStack() as stack:
            with open_raster(self.source, allow_remote=remote) as reader:
                facts = reader.facts
            drop_alpha = checked(self.model, facts)
            self.notes = notes_on(self.model, facts)
            cache = min(2 * facts.cache(2048, 2048), CACHE)
            reader = stack.enter_context(
                open_raster(self.source, handles=READERS, allow_remote=remote, cache=cache)
            )
            stamp = stamp_of(self.source)
            self.subject = self._subject(facts, stamp)
            if self.options.resume and self._finished():
                tiles = TiledNetwork(self.model, facts.size, options=self.options.tiles)
                return self._result(tiles, began, resumed=len(tiles.plan))
            work = stack.enter_context(locked(self.out.with_name(f"{self.out.name}.work")))
            journal = stack.enter_context(Journal(work))
            core = journal.begun(self.subject, resume=self.options.resume)
            tiles = self._tiles(facts, core, cache)
            journal.begin(self.subject, tiles.core)
            stop = Event()
            digest = stack.enter_context(ThreadPoolExecutor(1)).submit(file_digest, self.source, stop)
            stack.callback(stop.set)
            resumed = self._map(tiles, SceneReader(reader, self.model, drop_alpha), journal)
            if stamp_of(self.source) != stamp:
                raise DataError(
                    "changed while it was being mapped",
                    file=self.source,
                    remedy="map it again from the start",
                )
            self._write(tiles.plan, journal, facts, digest.result())
            journal.discard()
        return self._result(tiles, began, resumed=resumed)

    def _tiles(self, facts: RasterFacts, core: int | None, cache: int) -> TiledNetwork:
        chosen = self.options.tiles
        trim()
        tiles = TiledNetwork(
            self.model,
            facts.size,
            options=chosen if core is None else replace(chosen, core=core),
            precision=self.options.precision,
            resident=resident() + cache,
            engine=self.engine,
        )
        self.total = facts.height * facts.width * tiles.passes
        self.memory = tiles.memory
        return tiles

    def _map(self, tiles: TiledNetwork, reader: SceneReader, journal: Journal) -> int:
        """Every tile through the network and to the disk; reading, computing and writing overlap."""
        kept = [tile.core.pixels for tile in tiles.plan if journal.has(tile)]
        tiles.averages = {name: torch.from_numpy(value) for name, value in journal.averages().items()}
        share = self.total // (tiles.passes * len(tiles.plan))
        self.done = sum(kept) + (self.total // 2 if tiles.averages else 0)
        self._tell("averages" if tiles.passes > 1 and not tiles.averages else "tiles")
        pieces = tiles.run(
            reader,
            done=journal.has,
            confidence=self.options.confidence is not None,
            step=lambda: self._step("averages", share),
        )
        with ThreadPoolExecutor(1, thread_name_prefix="writer") as writer:
            waiting: deque[Future[None]] = deque()
            for piece in pieces:
                if tiles.averages and not journal.averages():
                    journal.keep_averages({name: value.numpy() for name, value in tiles.averages.items()})
                self.skipped += not piece.network
                waiting.append(writer.submit(journal.add, piece))
                if len(waiting) > WAITING:
                    waiting.popleft().result()
                self._step("tiles", piece.tile.core.pixels)
            for future in waiting:
                future.result()
        return len(kept)

    def _write(self, plan: TilePlan, journal: Journal, facts: RasterFacts, digest: str) -> None:
        self._tell("writing")
        tags = self._tags(facts, digest)
        layer = MapLayer(facts.size, facts.place, IGNORE, self.model.classes, tags)
        calibrated = "true" if temperatures_of(self.model) else "false"
        shares = tags | {"PIXELWISE_LAYER": "probability times 255", "PIXELWISE_CALIBRATED": calibrated}
        sure = MapLayer(facts.size, facts.place, 0, (), shares)
        layers = [(self.out, layer)]
        if self.options.confidence is not None:
            layers.append((self.options.confidence, sure))
        for index, (_, content) in enumerate(layers):
            write_layer(journal.folder / f"{index}.tif", content, journal.layer(plan, index), journal.folder)
        for index in reversed(range(len(layers))):  # the map last: it says that all is there
            publish(journal.folder / f"{index}.tif", layers[index][0])
        self.done = self.total
        self._tell("writing")

    def _subject(self, facts: RasterFacts, stamp: tuple[int, int]) -> dict[str, Any]:
        return {
            "model": weights_digest(self.model),
            "scene": [Path(facts.name).name, *facts.size, facts.bands, facts.dtype, *stamp],
            "overlap": self.options.tiles.overlap,
            "confidence": self.options.confidence is not None,
            "temperatures": temperatures_of(self.model) if self.options.confidence is not None else None,
            "precision": self.options.precision or precision_of(self.model),
        }

    def _tags(self, facts: RasterFacts, digest: str) -> dict[str, str]:
        from pixelwise import __version__

        return {
            "TIFFTAG_SOFTWARE": f"pixelwise {__version__}",
            "PIXELWISE_WEIGHTS_SHA256": self.subject["model"],
            "PIXELWISE_BUNDLE_SHA256": self.model.digest,
            "PIXELWISE_SCENE": Path(facts.name).name,
            "PIXELWISE_SCENE_SHA256": digest,
            "PIXELWISE_OVERLAP": str(self.options.tiles.overlap),
            "PIXELWISE_SUBJECT": document_digest(self.subject),
        }

    def _finished(self) -> bool:
        beside = self.options.confidence
        if not self.out.is_file() or (beside is not None and not beside.is_file()):
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

    def _result(self, tiles: TiledNetwork, began: float, *, resumed: int) -> SceneResult:
        return SceneResult(
            labels=self.out,
            confidence=self.options.confidence,
            pixels=tiles.plan.size[0] * tiles.plan.size[1],
            tiles=len(tiles.plan),
            resumed=resumed,
            skipped=self.skipped,
            seconds=time.monotonic() - began,
            memory=tiles.memory,
            notes=self.notes,
        )
