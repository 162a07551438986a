"""Tile plans: which part of a raster is read, and which part of it is kept, in plain integers.

A tile's core is kept, its window is read: the core and around it the halo that a network needs to judge the core as
in the whole raster. Laws that every plan keeps:

- the cores partition the raster, in rows of tiles from top to bottom, and begin at multiples of `block`;
- a window begins at a multiple of `stride`, lies in the raster, and holds the core with its halo, or ends where the
  raster ends;
- no window is longer than that of an interior tile, along either axis, and all interior tiles have one shape;
- along an axis there are at most three lengths (first, interior, last), so at most nine shapes in all.

The last law is why cores at the borders may be larger than the others: a window that reaches the border has room to
spare where the halo would be, and uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import lcm
from typing import NamedTuple

from pixelwise.errors import OptionError

BLOCK = 512
"""Edge in pixels of the blocks in which maps are written."""


class Box(NamedTuple):
    """Rows top..bottom - 1 and columns left..right - 1 of a raster."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def pixels(self) -> int:
        """Rows times columns."""
        return self.height * self.width

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Where this box lies in an array that holds `outer`.

        >>> Box(4, 6, 8, 8).within(Box(2, 6, 10, 12))
        (slice(2, 6, None), slice(0, 2, None))
        """
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )


class Tile(NamedTuple):
    """One tile: its place in the grid of tiles, what is kept of it and what is read for it."""

    row: int
    column: int
    core: Box
    window: Box


class Stretch(NamedTuple):
    """A tile along one axis: first and last + 1 pixel of its core and of its window."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class TilePlan:
    """All tiles of a raster.

    Attributes:
        size: Height and width of the raster.
        stride: Windows begin at multiples of it.
        halo: Pixels before and after a core that a window holds at least, away from the borders; multiples of
            `stride`.
        rows: The tiles along the first axis.
        columns: The tiles along the second.
    """

    size: tuple[int, int]
    stride: int
    halo: tuple[int, int]
    rows: tuple[Stretch, ...]
    columns: tuple[Stretch, ...]

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[Tile]:
        """The tiles, row by row."""
        for row in range(len(self.rows)):
            yield from self.in_row(row)

    def in_row(self, row: int) -> Iterator[Tile]:
        """The tiles of one row, from left to right."""
        down = self.rows[row]
        for column, across in enumerate(self.columns):
            core = Box(down.start, across.start, down.stop, across.stop)
            yield Tile(row, column, core, Box(down.first, across.first, down.last, across.last))

    @property
    def shapes(self) -> set[tuple[int, int]]:
        """Heights and widths of the windows; at most nine."""
        return {(tile.window.height, tile.window.width) for tile in self}

    @property
    def largest(self) -> tuple[int, int]:
        """The largest height and the largest width of a window."""
        return max(row.last - row.first for row in self.rows), max(c.last - c.first for c in self.columns)


def plan_tiles(
    size: tuple[int, int], *, stride: int, halo: tuple[int, int], core: int, block: int = BLOCK
) -> TilePlan:
    """Cut a raster into tiles.

    Args:
        size: Height and width of the raster.
        stride: A network judges windows as in the whole raster when they begin at multiples of its stride.
        halo: Pixels before and after a core that its labels depend on; rounded up to multiples of `stride`.
        core: Edge of an interior core; rounded up to a multiple of `stride` and `block`.
        block: Cores begin at multiples of it.

    Raises:
        OptionError: a number out of range.

    >>> plan = plan_tiles((2000, 1000), stride=32, halo=(281, 250), core=512)
    >>> [tuple(row) for row in plan.rows]
    [(0, 512, 0, 768), (512, 1024, 224, 1280), (1024, 1536, 736, 1792), (1536, 2000, 1248, 2000)]
    >>> len(plan), plan.largest
    (8, (1056, 776))
    """
    for name, value in (("height", size[0]), ("width", size[1]), ("stride", stride), ("core", core)):
        if value < 1:
            raise OptionError(f"{name} is {value}", remedy="give a number of pixels of at least 1")
    if min(halo) < 0 or block < 1:
        raise OptionError(
            f"halo is {halo}, block {block}", remedy="give a halo from 0 on and a block from 1 on"
        )
    unit = lcm(stride, block)
    edge = -(-core // unit) * unit
    before, after = (-(-side // stride) * stride for side in halo)
    rows, columns = (tuple(_stretches(length, edge, before, after)) for length in size)
    return TilePlan(size, stride, (before, after), rows, columns)


def _stretches(length: int, edge: int, before: int, after: int) -> Iterator[Stretch]:
    """The tiles along one axis; cores at the borders grow into the room that a halo would take."""
    # the first window is [0, stop + after), the second begins at >= 0
    start, stop = 0, edge + before // edge * edge
    while stop + after < length:
        yield Stretch(start, stop, max(0, start - before), stop + after)
        start, stop = stop, stop + edge
    yield Stretch(start, length, max(0, start - before), length)
