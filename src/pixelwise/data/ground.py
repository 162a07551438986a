"""Windows of scenes, and splits in which the ground of one part never touches that of another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.errors import LayoutError, OptionError
from pixelwise.geo.classmaps import Grid
from pixelwise.geo.scenes import footprint
from pixelwise.ops.tiles import Box
from pixelwise.types import SplitName

Parts = dict[SplitName, list[Box]]

_TILES = (512, 256, 128)
_ENOUGH = 48  # windows that a small dataset should have; fewer make the windows smaller
_SHARE = 0.15  # of val, and of test
_TRAIN: list[SplitName] = ["train"]
_VAL: list[SplitName] = ["val"]
_TEST: list[SplitName] = ["test"]
_ROUNDING = 1e-6  # share of its ground that a scene may have in common with a neighbour's


def choose_tile(grids: Sequence[Grid], wanted: int = 0) -> tuple[int, int]:
    """The side of a window and how many there are: the largest that gives enough, unless one is asked for."""
    tile, count = 0, 0
    for tile in (wanted,) if wanted else _TILES:
        count = sum(len(windows(grid, tile)) for grid in grids)
        if count >= _ENOUGH:
            break
    return tile, count


def windows(grid: Grid, tile: int) -> list[Box]:
    """A scene cut into windows of nearly one size, row by row.

    >>> windows(Grid(100, 50), 50)
    [Box(top=0, left=0, bottom=50, right=50), Box(top=50, left=0, bottom=100, right=50)]
    """
    rows, columns = _cuts(grid.height, tile), _cuts(grid.width, tile)
    return [
        Box(top, left, bottom, right)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    ]


def split_ground(grids: Sequence[Grid], tile: int) -> tuple[list[Parts], str]:
    """The windows of each scene by split, and how they were split in one phrase.

    Each scene is divided along its longer side: train, then val, then test, with one line of windows between them
    left out. Scenes too small for that are train as a whole, or, where all are small, go to the splits from west to
    east.

    Raises:
        OptionError: one or two scenes that are too small to divide.
    """
    lines = [sorted({box[_along(grid)] for box in windows(grid, tile)}) for grid in grids]
    if max(len(line) for line in lines) >= 3:
        return [_bands(grid, tile, line) for grid, line in zip(grids, lines, strict=True)], (
            "70/15/15 along the longer side of each scene"
        )
    if len(grids) < 3:
        found = f"{len(grids)} scenes of fewer than 3 windows of {tile} pixels cannot be split"
        raise OptionError(found, remedy="write a smaller tile: into classes.yaml, or add scenes")
    middle = [footprint(grid, Box(0, 0, grid.height, grid.width)).centroid for grid in grids]
    order = sorted(range(len(grids)), key=lambda index: (middle[index].x, middle[index].y))
    each = max(1, round(len(grids) * _SHARE))
    homes: list[SplitName] = ["train"] * len(grids)
    for rank, index in enumerate(order):
        left = len(grids) - rank
        homes[index] = "test" if left <= each else "val" if left <= 2 * each else "train"
    parts: list[Parts] = [{home: windows(grid, tile)} for home, grid in zip(homes, grids, strict=True)]
    return parts, "whole scenes, 70/15/15 from west to east"


def refuse_overlaps(
    names: Sequence[str],
    grids: Sequence[Grid],
    parts: Sequence[Mapping[SplitName, Sequence[Box]]],
    root: Path,
) -> None:
    """Refuse ground that is in two splits, since it makes scores too good.

    Raises:
        LayoutError: windows of two splits overlap.
    """
    ground: list[tuple[str, SplitName, Any]] = []
    for name, grid, part in zip(names, grids, parts, strict=True):
        for split, boxes in part.items():
            sides = list(zip(*boxes, strict=True))
            box = Box(min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3]))
            ground.append((name, split, footprint(grid, box)))
    for (name, split, area), (other, home, against) in itertools.combinations(ground, 2):
        if split == home or not area.intersects(against):
            continue
        share = area.intersection(against).area / min(area.area, against.area)
        if share > _ROUNDING:
            found = (
                f"{name} in {split} and {other} in {home} show the same ground, {share:.2%} of the smaller"
            )
            remedy = "put scenes that overlap into one split: scenes/train, scenes/val, scenes/test"
            raise LayoutError(found, file=root, remedy=remedy)


def _cuts(length: int, tile: int) -> list[int]:
    """Where a side is cut into equal parts of about the size of a tile."""
    parts = max(1, round(length / tile))
    return [length * part // parts for part in range(parts + 1)]


def _along(grid: Grid) -> int:
    """Which entry of a box counts along the longer side: its top or its left."""
    return 0 if grid.height > grid.width else 1


def _bands(grid: Grid, tile: int, lines: Sequence[int]) -> Parts:
    """The windows of a scene in bands across its longer side."""
    home = dict(zip(lines, _splits(len(lines)), strict=True))
    bands: Parts = {}
    for box in windows(grid, tile):
        split = home[box[_along(grid)]]
        if split is not None:
            bands.setdefault(split, []).append(box)
    return bands


def _splits(count: int) -> list[SplitName | None]:
    """The split of each of `count` lines of windows, None for those left out.

    >>> _splits(9)
    ['train', 'train', 'train', 'train', 'train', None, 'val', None, 'test']
    """
    each = max(1, round((count - 2) * _SHARE))
    gap: list[SplitName | None] = [None] if count >= 5 else []  # else there is no line to spare
    held: list[SplitName | None] = [*gap, *(each * _VAL), *gap, *(each * _TEST)] if count >= 3 else []
    return [*((count - len(held)) * _TRAIN), *held]
