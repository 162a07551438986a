"""Class maps tile by tile, equal to that of the whole image, in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.errors import OptionError
from pixelwise.infer import heap
from pixelwise.infer.ahead import ahead
from pixelwise.infer.blend import Blender, Rows
from pixelwise.infer.engine import Engine, open_engine
from pixelwise.infer.pools import Sums, averaged, held, summed
from pixelwise.infer.predictor import Precision, as_array, computed, temperatures_of
from pixelwise.infer.windows import (
    ArrayReader,
    Confidence,
    Overlap,
    Piece,
    Reader,
    TileOptions,
    Wanted,
    Window,
)
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.surroundings import Surroundings, surroundings
from pixelwise.ops.labels import probabilities
from pixelwise.ops.tiles import Box, Tile, TilePlan, plan_tiles
from pixelwise.types import IGNORE, Image, Labels

BLEND = 128  # pixels on either side over which tiles fade into one another
CORES = (4096, 3072, 2048, 1536, 1024, 512)  # edges to choose from
SPARE = 1.3  # memory that a network really takes over what its tensors hold, measured on CPU
FIXED = 96 * 1024**2  # bytes of libraries and threads that only start when they are needed
AHEAD = 2  # windows read while the network runs
LABELS = Wanted()


class Planned(NamedTuple):
    """What is known of a network on a raster once it has been planned, for another process to go by."""

    plan: TilePlan
    facts: Surroundings
    core: int


class TiledNetwork:
    """A network with the plan by which it goes over a raster.

    Attributes:
        plan: The tiles.
        facts: What the network must see around a tile.
        core: Edge of the cores, with which the same plan can be made again.
        passes: How often each tile is looked at: 2 where an average over the whole raster is taken first.
        averages: What that first pass has found.
    """

    def __init__(
        self,
        model: Segmenter,
        size: tuple[int, int],
        *,
        options: TileOptions | None = None,
        precision: Precision | None = None,
        resident: int = 0,
        window: int | None = None,
        engine: Engine | None = None,
        planned: Planned | None = None,
    ) -> None:
        """Plan `model` on a raster of `size`, beside `resident` bytes that the process holds already.

        Each pixel of a window takes `window` bytes when it is read; by default those of float32 without a mask.
        With `planned` nothing is traced or chosen again.

        Raises:
            OptionError: `exact` is asked of a network that sees the whole image in more than one place.
        """
        self.model, self.precision = model, precision
        self.engine = engine or open_engine(model, "eager", precision=precision)
        self.options = options or TileOptions()
        before = heap.resident()
        self.facts = surroundings(model) if planned is None else planned.facts
        self.averages: dict[str, Tensor] = {}
        # tracing loads parts of torch that stay, some 60 MB
        self.resident = resident + max(0, heap.resident() - before) if resident else 0
        self.window = 4 * model.bands if window is None else window
        if planned is None:
            self.plan = self._plan(size)
        else:
            self.plan, self.core = planned.plan, planned.core
        exact = self.options.overlap == "exact" and len(self.plan) > 1
        self.passes = 2 if exact and self.facts.pools else 1

    @property
    def planned(self) -> Planned:
        """What another process needs to make the same tiles."""
        return Planned(self.plan, self.facts, self.core)

    @property
    def memory(self) -> int:
        """Bytes that the process will hold at its peak."""
        return self._memory(self.plan)

    def run(
        self,
        reader: Reader,
        *,
        done: Callable[[Tile], bool] = lambda _: False,
        want: Wanted = LABELS,
        step: Callable[[], None] = lambda: None,
    ) -> Generator[Piece]:
        """The pieces of the map, in a fixed order.

        Args:
            reader: Where windows come from.
            done: Pieces that are not needed again.
            want: What beside labels.
            step: Called after each tile that the network has seen in a first pass.

        Raises:
            DataError: what the network does not take, see `predict`.
        """
        wanted = [tile for tile in self.plan if not done(tile)]
        if wanted and self.passes > 1 and not self.averages:
            self._average(reader, step)
        if self.options.overlap == "blend":
            yield from self._blended(reader, {tile[:2] for tile in wanted})
            return
        for tile, read in ahead(lambda tile: reader.read(tile.window), wanted, depth=AHEAD):
            window = read()
            with held(self.model, self.averages):
                piece = self._piece(tile, window, want)
            yield piece

    def sums(self, reader: Reader, tiles: Iterable[Tile]) -> Iterator[Sums]:
        """What each of some tiles adds to the averages over the raster."""
        images = ahead(lambda tile: reader.read(tile.window).image, tiles, depth=AHEAD)
        yield from summed(self.model, self.facts.pools, self.plan, images, self.precision)

    def _average(self, reader: Reader, step: Callable[[], None]) -> None:
        def counted() -> Iterator[Sums]:
            for part in self.sums(reader, self.plan):
                yield part
                step()

        self.averages = averaged(self.facts.pools, counted())

    def _piece(self, tile: Tile, window: Window, want: Wanted) -> Piece:
        inner = tile.core.within(tile.window)
        empty = None if window.empty is None else window.empty[inner]
        if empty is not None and empty.all():
            return _nothing(tile, want)
        # constants in place of averages are taken by the network as it is alone
        engine = open_engine(self.model, "eager", precision=self.precision) if self.averages else self.engine
        share = sets = None
        if want.sets:
            labels, share, sets = engine.with_sets(window.image)
            sets = np.ascontiguousarray(sets[inner])
        elif want.confidence:
            labels, share = engine.with_confidence(window.image)
        else:
            labels = engine(window.image)
        sure = None if share is None or not want.confidence else _as_bytes(share[inner])
        return _without(empty, Piece(tile, np.ascontiguousarray(labels[inner]), sure, sets=sets))

    def _blended(self, reader: Reader, wanted: set[tuple[int, int]]) -> Iterator[Piece]:
        """Each row of tiles needs the one above and the one below it."""
        if not wanted:
            return
        start = max(0, min(row for row, _ in wanted) - 1)
        blender = Blender(self.plan, max(2, len(self.model.classes)), start, temperatures_of(self.model))
        rows = Rows(self.plan, start, self.plan.rows[start].start)
        stop = min(len(self.plan.rows), max(row for row, _ in wanted) + 2)
        tiles = (tile for row in range(start, stop) for tile in self.plan.in_row(row))
        for tile, read in ahead(lambda tile: reader.read(tile.window), tiles, depth=AHEAD):
            window = read()
            if window.empty is None or not window.empty.all():
                with computed(self.model, [window.image], self.precision, self._shares) as shares:
                    blender.add(tile, as_array(shares[0]))
            if tile.column + 1 < len(self.plan.columns):
                continue
            top, labels, sure = blender.finish()
            skipped = max(0, rows.top - top) if not rows.parts else 0
            for piece in rows.add(labels[skipped:], sure[skipped:]):
                if piece[0][:2] in wanted:
                    yield self._cut(reader, *piece)

    def _cut(self, reader: Reader, tile: Tile, labels: Labels, sure: NDArray[np.float32]) -> Piece:
        piece = Piece(tile, np.ascontiguousarray(labels), _as_bytes(sure))
        return _without(reader.read(tile.core).empty, piece)

    def _shares(self, pixels: Tensor) -> Tensor:
        return probabilities(self.model(self.model.prepare(pixels)))

    def _plan(self, size: tuple[int, int]) -> TilePlan:
        """The tiles as large as memory allows; a raster that fits in one window is always exact."""
        stride, overlap = self.facts.stride, self.options.overlap
        if overlap == "exact" and self.facts.halo is None:
            whole = plan_tiles(size, stride=stride, halo=(0, 0), core=max(size))
            self.core = max(size)
            if self._memory(whole) <= self.options.memory:
                return whole
        halo = _halo(self.facts, overlap)
        least = 2 * halo[0] if overlap == "blend" else 1
        given = self.options.core
        for core in (given,) if given is not None else CORES:
            plan = plan_tiles(size, stride=stride, halo=halo, core=max(core, least))
            self.core = max(core, least)
            if self._memory(plan) <= self.options.memory:
                break
        return plan

    def _memory(self, plan: TilePlan) -> int:
        """Of the network on the largest window, and of the windows read ahead of it."""
        height, width = plan.largest
        bands, classes = self.model.bands, len(self.model.classes)
        # averages and blending are the eager engine's work
        averaged = self.options.overlap == "exact" and self.facts.pools
        footprint = 1.0 if averaged or self.options.overlap == "blend" else self.engine.footprint
        network = (self.facts.memory + 12 * bands) * footprint * SPARE
        if footprint < 1:  # logits come out in float32 all the same
            network += 4 * max(2, classes) / self.model.decoder.stride**2
        each = network + (AHEAD + 1) * self.window
        # weights once more: in bfloat16, or laid out for a size of window
        weights = 4 * sum(parameter.numel() for parameter in self.model.parameters()) * footprint
        total = FIXED + self.resident + weights + height * width * each
        if self.options.overlap == "blend":
            total += 4 * height * (plan.size[1] * (classes + 4) + 2 * classes * width)
        return int(total)


def predict_tiled(
    model: Segmenter,
    image: Image,
    *,
    options: TileOptions | None = None,
    precision: Precision | None = None,
) -> Labels:
    """What `predict` returns, computed tile by tile: in float32 with `exact` the same labels, ties aside.

    Args:
        model: A network with its classes and its preprocessing; it runs on the device it is on.
        image: [H, W, C]; uint8, uint16 or float32, values as in the image files.
        options: How the image is cut.
        precision: `float32` or `bfloat16`; by default what the bundle was checked with, else `float32`.

    Raises:
        DataError: see `predict`.
        OptionError: `exact` is asked of a network that sees the whole image in more than one place.
    """
    image = image[:, :, None] if image.ndim == 2 else image
    reader = ArrayReader(image)
    network = TiledNetwork(model, reader.size, options=options, precision=precision)
    labels = np.full(reader.size, IGNORE, np.uint8)
    for piece in network.run(reader):
        labels[piece.tile.core.within(Box(0, 0, *reader.size))] = piece.labels
    return labels


def _halo(facts: Surroundings, overlap: Overlap) -> tuple[int, int]:
    if isinstance(overlap, int):
        return overlap, overlap
    if overlap == "blend":
        side = -(-BLEND // facts.stride) * facts.stride
        return side, side
    if facts.halo is None:
        local = "; or train with --set network.pooling_window=512, which keeps it local"
        raise OptionError(
            f"no tile can be exact: the network sees the whole image through {facts.whole}",
            remedy="give --overlap 256 (pixels of context around a tile, an approximation), or --overlap blend"
            + local * ("AdaptiveAvgPool2d" in facts.whole),
        )
    return facts.halo


def _nothing(tile: Tile, want: Wanted) -> Piece:
    shape = (tile.core.height, tile.core.width)
    sure, sets = (np.zeros(shape, np.uint8) if asked else None for asked in want)
    return Piece(tile, np.full(shape, IGNORE, np.uint8), sure, network=False, sets=sets)


def _without(empty: NDArray[np.bool_] | None, piece: Piece) -> Piece:
    if empty is not None:
        piece.labels[empty] = IGNORE
        for layer in piece.layers[1:]:
            layer[empty] = 0
    return piece


def _as_bytes(share: NDArray[np.float32]) -> Confidence:
    return np.round(share * 255).clip(1, 255).astype(np.uint8)
