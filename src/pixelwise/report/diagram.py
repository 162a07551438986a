"""A drawn network: its stages as blocks, high where the map is large and wide where it has many channels.

Plain SVG text, without a library; the largest maps are at the top, so that an encoder and decoder make a U.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pixelwise.report.svg import INK, PAPER, escaped, path, polygon, text

FAINT, GRID = "#7b828d", "#e6e9ee"
FACES = {  # front, top and side of a block
    "encoder": ("#3b74d1", "#86abe8", "#2c5aa8"),
    "decoder": ("#d1603b", "#eba086", "#a4482a"),
    "picture": ("#9aa2ad", "#c6ccd4", "#7b828d"),
}
JOINS = {  # colour and dashes of a way around the main path
    "concatenate": ("#2c8a72", ""),
    "add": ("#8a4fc9", ""),
    "multiply": ("#b8860b", ""),
    "switches": ("#c2397a", "5 4"),
    "": (INK, ""),
}
TALLEST, WIDEST = 132.0, 58.0  # pixels of a block for the largest map and for the most channels
LEFT, TOP, GAP, BETWEEN = 122.0, 104.0, 44.0, 50.0


@dataclass(frozen=True)
class Arrow:
    """Where a block takes a map from: another block's index, -1 for the image; `join` is empty on the main path."""

    source: int
    join: str = ""


@dataclass(frozen=True)
class Block:
    """One stage: `part` is `encoder` or what else the legend says; `stride`, such as `stride 4`, empty for a vector."""

    part: str
    channels: int
    height: int
    width: int
    stride: str
    note: str
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True)
class Diagram:
    """What is drawn.

    Attributes:
        title: The network.
        facts: Lines below the title.
        image: Channels, height and width of what the network is shown.
        source: What that is: `image` or `window`.
        result: Channels, height and width of what comes out; None for an encoder on its own.
        ending: What that is.
        blocks: The stages, in the order of computation.
    """

    title: str
    facts: tuple[str, ...]
    image: tuple[int, int, int]
    source: str
    result: tuple[int, int, int] | None
    ending: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class _Level:
    """Blocks of one stride: their height on the page, and the size of the first map there."""

    middle: float
    label: str
    size: str


@dataclass(frozen=True)
class _Shape:
    """A placed block: its front is x..x + width and around y; the top and the side go back by `depth`."""

    x: float
    y: float
    width: float
    height: float

    @property
    def depth(self) -> float:
        return 3 + 0.11 * self.height

    @property
    def left(self) -> float:
        return self.x

    @property
    def right(self) -> float:
        return self.x + self.width + self.depth

    @property
    def top(self) -> float:
        return self.y - self.height / 2 - self.depth

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2


def network_svg(diagram: Diagram) -> str:
    """The drawing as the text of an SVG file."""
    blocks = _all_blocks(diagram)
    levels = _levels(blocks)
    shapes = _places(blocks, levels)
    lines = (7.2 * len(line) + 64 for line in diagram.facts)
    width = max([shapes[-1].right + 90, _legend_width(blocks), *lines])
    height = max(shape.bottom for shape in shapes) + 96
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="system-ui, \'Segoe UI\', \'DejaVu Sans\', sans-serif" fill="{INK}">',
        f"<title>{escaped(diagram.title)}</title>",
        f'<rect width="100%" height="100%" rx="10" fill="{PAPER}"/>',
        text(32, 44, diagram.title, size=22, weight=600),
        *(text(32, 68 + 19 * row, line, size=13, color=FAINT) for row, line in enumerate(diagram.facts)),
        *_grid(levels.values(), width),
        *_arrows(blocks, shapes),
        *(
            piece
            for block, shape in zip(blocks, shapes, strict=True)
            for piece in _drawn(block, shape, levels[_key(block)])
        ),
        *_legend(blocks, height - 28),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _all_blocks(diagram: Diagram) -> list[Block]:
    """The stages between the image and the result, whose indices move by one."""
    stages = [
        replace(block, arrows=tuple(Arrow(arrow.source + 1, arrow.join) for arrow in block.arrows))
        for block in diagram.blocks
    ]
    image = Block("picture", *diagram.image, "stride 1", diagram.source, ())
    if diagram.result is None:
        return [image, *stages]
    stride = "" if diagram.result[1:] == (1, 1) else "stride 1"
    result = Block("picture", *diagram.result, stride, diagram.ending, (Arrow(len(stages)),))
    return [image, *stages, result]


def _key(block: Block) -> str:
    return block.stride or "one vector"


def _levels(blocks: Sequence[Block]) -> dict[str, _Level]:
    """The levels by stride, the largest maps at the top; the first block of a level gives its size."""
    first: dict[str, Block] = {}
    for block in blocks:
        first.setdefault(_key(block), block)
    highest = max(block.height for block in blocks)
    middle = TOP
    levels: dict[str, _Level] = {}
    for key, block in sorted(
        first.items(), key=lambda item: (item[1].height, item[0] == "stride 1"), reverse=True
    ):
        half = _tall(block.height, highest) / 2
        middle += half + (BETWEEN if levels else 40)
        levels[key] = _Level(middle, key, _size(block))
        middle += half
    return levels


def _size(block: Block) -> str:
    return f"{block.height} × {block.width}"


def _tall(height: int, highest: int) -> float:
    return max(12.0, TALLEST * math.pow(height / highest, 0.55))


def _places(blocks: Sequence[Block], levels: Mapping[str, _Level]) -> list[_Shape]:
    """Blocks from left to right in the order of computation, each on its level."""
    most = max(block.channels for block in blocks)
    highest = max(block.height for block in blocks)
    shapes: list[_Shape] = []
    x = LEFT
    for block in blocks:
        x += 14 if shapes and block.part == "picture" else 0  # room for what is written below it
        wide = max(5.0, WIDEST * math.sqrt(block.channels / most))
        shapes.append(_Shape(x, levels[_key(block)].middle, wide, _tall(block.height, highest)))
        x = shapes[-1].right + GAP
    return shapes


def _drawn(block: Block, shape: _Shape, level: _Level) -> Iterator[str]:
    """Front, top and side, with the channels and a note below, and the size where it is not the level's."""
    front, top, side = FACES.get(block.part, FACES["decoder"])
    x, y, deep = shape.x, shape.y - shape.height / 2, shape.depth
    across, down = shape.width, shape.height
    yield polygon([(x, y), (x + deep, y - deep), (x + across + deep, y - deep), (x + across, y)], top)
    yield polygon(
        [
            (x + across, y),
            (x + across + deep, y - deep),
            (x + across + deep, y + down - deep),
            (x + across, y + down),
        ],
        side,
    )
    yield polygon([(x, y), (x + across, y), (x + across, y + down), (x, y + down)], front)
    middle = x + across / 2
    yield text(middle, shape.bottom + 16, str(block.channels), size=12.5, weight=600, anchor="middle")
    below = [block.note] if _size(block) == level.size else [_size(block), block.note]
    for row, line in enumerate(below):
        yield text(middle, shape.bottom + 30 + 13 * row, line, size=10.5, color=FAINT, anchor="middle")


def _grid(levels: Iterable[_Level], width: float) -> Iterator[str]:
    """A line per level with its size and stride at the left."""
    for level in levels:
        yield (
            f'<line x1="{LEFT - 8:.1f}" x2="{width - 24:.1f}" y1="{level.middle:.1f}" y2="{level.middle:.1f}" '
            f'stroke="{GRID}" stroke-width="1"/>'
        )
        yield text(32, level.middle - 1, level.size, size=13, weight=600)
        yield text(32, level.middle + 14, level.label, size=11, color=FAINT)


def _arrows(blocks: Sequence[Block], shapes: Sequence[_Shape]) -> Iterator[str]:
    """Ways around the main path first, so that the main path lies above them."""
    arrows = [(arrow, place) for place, block in enumerate(blocks) for arrow in block.arrows]
    for arrow, place in sorted(arrows, key=lambda pair: not pair[0].join):
        color, dashes = JOINS.get(arrow.join, JOINS[""])
        start, end = shapes[arrow.source], shapes[place]
        if arrow.join:
            between = shapes[arrow.source + 1 : place]
            points = _around(start, end, between)
        else:
            points = _onward(start, end)
        yield path(points, color, dashes, wide=1.6 if arrow.join else 1.8)


def _onward(start: _Shape, end: _Shape) -> list[tuple[float, float]]:
    """The main path: straight on, or down or up in the gap, clear of what is written below the higher block."""
    turn = start.right + 16 if end.y < start.y else end.left - 19
    return [(start.right, start.y), (turn, start.y), (turn, end.y), (end.left, end.y)]


def _around(start: _Shape, end: _Shape, between: Sequence[_Shape]) -> list[tuple[float, float]]:
    """Straight across if nothing is in the way, else over everything in between."""
    lift = min(start.height, end.height) * 0.25
    y_start, y_end = start.y - lift, end.y - lift
    free = all(shape.top > y_start + 6 or shape.bottom < y_start - 6 for shape in between)
    near = end.left - 15
    if free and y_start == y_end:
        return [(start.right, y_start), (end.left, y_end)]
    if free:
        return [(start.right, y_start), (near, y_start), (near, y_end), (end.left, y_end)]
    over = min([start.top, end.top, *(shape.top for shape in between)]) - 14
    leave = start.right + 13
    return [
        (start.right, y_start),
        (leave, y_start),
        (leave, over),
        (near, over),
        (near, y_end),
        (end.left, y_end),
    ]


def _legend_width(blocks: Sequence[Block]) -> float:
    parts = {block.part for block in blocks if block.part != "picture"}
    joins = {arrow.join for block in blocks for arrow in block.arrows} - {""}
    return 196 + sum(34 + 7 * len(part) for part in parts) + sum(54 + 7 * len(join) for join in joins)


def _legend(blocks: Sequence[Block], y: float) -> Iterator[str]:
    """The parts and the ways around that occur."""
    x = 32.0
    parts = dict.fromkeys(block.part for block in blocks if block.part != "picture")
    for part in parts:
        face = FACES.get(part, FACES["decoder"])[0]
        yield f'<rect x="{x}" y="{y - 10}" width="12" height="12" rx="2" fill="{face}"/>'
        yield text(x + 18, y, part, size=12)
        x += 34 + 7 * len(part)
    for join in sorted({arrow.join for block in blocks for arrow in block.arrows} - {""}):
        color, dashes = JOINS[join]
        yield path([(x, y - 4), (x + 30, y - 4)], color, dashes, wide=1.6)
        yield text(x + 36, y, join, size=12)
        x += 54 + 7 * len(join)
    yield text(x + 6, y, "numbers: channels", size=12, color=FAINT)
