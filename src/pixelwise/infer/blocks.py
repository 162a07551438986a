"""Blocks of tiles that another process computes: what it is told, and what it answers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.errors import DataError, OptionError, PixelwiseError
from pixelwise.geo.mosaic import open_scene
from pixelwise.infer.engine import open_engine
from pixelwise.infer.heap import give_back, trim
from pixelwise.infer.journal import packed
from pixelwise.infer.mapping import Mapping, handles_for
from pixelwise.infer.pools import Sums
from pixelwise.infer.predictor import Precision
from pixelwise.infer.sceneinput import SceneReader, checked
from pixelwise.infer.subject import stamp_of, weights_digest
from pixelwise.infer.tiled import Planned, TiledNetwork
from pixelwise.infer.windows import TileOptions, Wanted
from pixelwise.models.bundle import load, save
from pixelwise.models.segmenter import Segmenter

SHARE = 4  # blocks per worker that a scene is cut into, at least
MOST = 8  # tiles of a block


@dataclass(frozen=True)
class Setup:
    """What a worker needs once: the model as the bytes of a bundle, and how it is to be run.

    Attributes:
        bundle: A bundle file.
        weights: Digest that the model must have.
        version: Of the library that wrote it, which must be the worker's.
        engine: Its name.
        precision: As in the scenes' options.
        threads: Of each worker.
    """

    bundle: bytes
    weights: str
    version: str
    engine: str
    precision: Precision | None
    threads: int


class Block(NamedTuple):
    """Tiles of a scene to be computed together.

    Attributes:
        scene: Number of the scene.
        number: Of the block in it.
        source: Path or address of the scene, the same for every worker.
        stamp: Size and time that its file must have.
        allow_remote: It may be read over the network.
        pixel_size: Metres that it is resampled to, or None.
        planned: The tiles of the scene.
        tiles: How they were asked for.
        want: What beside labels.
        cache: Bytes of decoded blocks that a reader may keep.
        places: Row and column of each tile wanted.
        averages: Those over the scene, where it has them.
        first: Not labels but what the tiles add to those averages.
    """

    scene: int
    number: int
    source: str
    stamp: tuple[int, int]
    allow_remote: bool
    pixel_size: float | None
    planned: Planned
    tiles: TileOptions
    want: Wanted
    cache: int
    places: tuple[tuple[int, int], ...]
    averages: dict[str, NDArray[np.float32]]
    first: bool


class Answer(NamedTuple):
    """What came of a block: a packed tile and whether the network was needed, or sums, for each place; or an error."""

    tiles: Sequence[tuple[tuple[int, int], bytes, bool]] = ()
    sums: Sequence[tuple[tuple[int, int], Sums]] = ()
    error: PixelwiseError | None = None


def setup_of(model: Segmenter, *, engine: str, precision: Precision | None, threads: int) -> Setup:
    """What workers need to do as this process does."""
    from pixelwise import __version__

    with tempfile.TemporaryDirectory() as folder:
        data = save(model, Path(folder) / "model.safetensors").read_bytes()
    return Setup(data, weights_digest(model), __version__, engine, precision, threads)


def blocks_of(mapping: Mapping, scene: int, workers: int) -> list[Block]:
    """What is left of a scene, in blocks; where averages come first, only the blocks of that pass."""
    first = mapping.measuring
    wanted = [tile[:2] for tile in (mapping.tiles.plan if first else mapping.missing())]
    if mapping.options.tiles.overlap == "blend":
        groups = _in_rows(wanted, workers)
    else:
        size = min(MOST, -(-len(wanted) // (SHARE * workers)))
        groups = [wanted[at : at + size] for at in range(0, len(wanted), max(1, size))]
    return [
        Block(
            scene=scene,
            number=number,
            source=str(mapping.source),
            stamp=mapping.stamp,
            allow_remote=mapping.options.allow_remote,
            pixel_size=mapping.pixel_size,
            planned=mapping.tiles.planned,
            tiles=mapping.options.tiles,
            want=mapping.options.want,
            cache=mapping.cache,
            places=tuple(places),
            averages={name: value.numpy() for name, value in mapping.tiles.averages.items()},
            first=first,
        )
        for number, places in enumerate(groups)
    ]


def _in_rows(places: Sequence[tuple[int, int]], workers: int) -> list[list[tuple[int, int]]]:
    """Whole rows of tiles: each block computes a row above and one below it too, so there are few of them."""
    rows = sorted({row for row, _ in places})
    size = max(1, -(-len(rows) // (2 * workers)))
    groups = [set(rows[at : at + size]) for at in range(0, len(rows), size)]
    return [[place for place in places if place[0] in group] for group in groups]


class Worker:
    """Computes blocks in a process of its own."""

    def __init__(self, setup: Setup) -> None:
        from pixelwise import __version__

        where = f"the worker on {os.uname().nodename}" if hasattr(os, "uname") else "a worker"
        if setup.version != __version__:
            raise OptionError(
                f"{where} runs pixelwise {__version__}, this process {setup.version}",
                remedy="install the same version on all machines",
            )
        torch.set_num_threads(setup.threads)
        give_back()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            file.write_bytes(setup.bundle)
            self.model = load(file)
        if weights_digest(self.model) != setup.weights:
            raise OptionError(
                f"the model that reached {where} is another one: its digest differs",
                remedy="save the model as a bundle, load it, and map with that",
            )
        self.precision = setup.precision
        self.engine = open_engine(self.model, setup.engine, precision=setup.precision)

    def __call__(self, block: Block) -> Answer:
        """Compute a block; an error of ours is an answer too."""
        try:
            return self._computed(block)
        except PixelwiseError as error:
            return Answer(error=error)

    def _computed(self, block: Block) -> Answer:
        with open_scene(
            block.source,
            handles=handles_for(block.source),
            allow_remote=block.allow_remote,
            cache=block.cache,
            pixel_size=block.pixel_size,
        ) as raster:
            if stamp_of(block.source) != block.stamp:
                raise DataError(
                    "is not the same file for all workers, or changed while it was being mapped",
                    file=block.source,
                    remedy="put it in a folder that all machines share",
                )
            reader = SceneReader(raster, drop_alpha=checked(self.model, raster.facts))
            network = TiledNetwork(
                self.model,
                raster.facts.size,
                options=block.tiles,
                precision=self.precision,
                engine=self.engine,
                planned=block.planned,
            )
            wanted = set(block.places)
            if block.first:
                tiles = [tile for tile in network.plan if tile[:2] in wanted]
                sums = network.sums(reader, tiles)
                return Answer(sums=[(tile[:2], part) for tile, part in zip(tiles, sums, strict=True)])
            network.averages = {name: torch.from_numpy(value) for name, value in block.averages.items()}
            made = []
            pieces = network.run(reader, done=lambda tile: tile[:2] not in wanted, want=block.want)
            for piece in pieces:
                made.append((piece.tile[:2], packed(piece), piece.network))
                trim()
            return Answer(tiles=made)
