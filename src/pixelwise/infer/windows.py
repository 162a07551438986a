"""What goes into tiles and what comes out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OptionError
from pixelwise.ops.tiles import Box, Tile
from pixelwise.types import Image, Labels

Overlap = int | Literal["exact", "blend"]
Confidence = NDArray[np.uint8]  # 255 times the probability of the label; 0 where there is none


@dataclass(frozen=True)
class TileOptions:
    """How a raster is cut.

    Attributes:
        overlap: `exact` takes what the network sees, traced layer by layer, so that labels equal those of the whole
            image; a number of pixels takes that; `blend` fades tiles into one another over 2 x 128 pixels.
        core: Edge of the part of a tile that is kept, a multiple of 512 and of the network's stride; by default
            as large as `memory` allows.
        memory: Bytes of the whole process at its peak that tiles are chosen for.
    """

    overlap: Overlap = "exact"
    core: int | None = None
    memory: int = 9 * 1024**3 // 4

    def __post_init__(self) -> None:
        wrong = self.overlap < 0 if isinstance(self.overlap, int) else self.overlap not in ("exact", "blend")
        if wrong:
            raise OptionError(
                f"overlap is {self.overlap!r}", remedy="give exact, blend, or a number of pixels such as 256"
            )
        if self.core is not None and self.core < 1:
            raise OptionError(f"the core of a tile is {self.core} pixels", remedy="give 512 or more")


class Window(NamedTuple):
    """What is read for a tile: an image [H, W, C], and where it holds no data."""

    image: Image
    empty: NDArray[np.bool_] | None = None


class Wanted(NamedTuple):
    """What is wanted of a tile beside labels: the probability of each, the number of classes in its label set."""

    confidence: bool = False
    sets: bool = False


class Piece(NamedTuple):
    """What is known of a tile's core.

    Attributes:
        tile: The tile.
        labels: Of its core.
        confidence: If asked for.
        network: False where the network was not needed.
        sets: How many classes are in each label set, 0 where there is no data; if asked for.
    """

    tile: Tile
    labels: Labels
    confidence: Confidence | None
    network: bool = True
    sets: NDArray[np.uint8] | None = None

    @property
    def layers(self) -> list[NDArray[np.uint8]]:
        """All maps, in the order in which they are kept."""
        return [one for one in (self.labels, self.confidence, self.sets) if one is not None]


class Reader(Protocol):
    """Anything that windows can be read from, by several threads at a time."""

    size: tuple[int, int]

    def read(self, box: Box) -> Window:
        """The pixels of a box that lies in the raster."""
        ...


class ArrayReader:
    """Windows of an image in memory."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.size = (image.shape[0], image.shape[1])

    def read(self, box: Box) -> Window:
        """The pixels of a box."""
        return Window(self.image[box.within(Box(0, 0, *self.size))])
