"""A class map compared with a true one of the same grid, in strips of rows: neither has to fit into memory.

Each strip is looked at with a halo of rows around it and counted without, so that the confusion matrix, boundary IoU
and boundary F are exactly those of the whole map. Distances between contours are left out: how far the nearest
contour is cannot be told from a strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassTable
from pixelwise.data.classmaps import open_class_map
from pixelwise.errors import ClassesError, DataError, MaskError, OptionError
from pixelwise.geo.classmaps import ClassMap, strip_rows
from pixelwise.geo.grids import difference, has_place
from pixelwise.metrics.boundaryscores import BoundaryScores, boundary_scores
from pixelwise.metrics.contours import Sides, contour_counts, halo_rows
from pixelwise.metrics.overlap import Scores, scores_from_confusion
from pixelwise.metrics.reach import BoundaryOptions
from pixelwise.ops.confusion import confusion
from pixelwise.types import IGNORE, MAX_CLASSES, Labels

MOST_BY_DEFAULT = 16
"""Pixels; 2 % of the diagonal of an image of 480 x 640. The borders in a map do not grow wider with the map."""

WIDEST = 256
"""Pixels; the halo is held in memory."""


@dataclass(frozen=True, eq=False)
class MapScores:
    """How well a map fits the truth.

    Attributes:
        scores: From the confusion matrix.
        boundary: Boundary IoU and F, without distances.
        unmapped: Pixels with a true class where the map has none (255 or nodata). They count nowhere.
        notes: What a reader has to know.
    """

    scores: Scores
    boundary: BoundaryScores
    unmapped: int
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The content of `scores.json`, with the boundary scores as a section of their own."""
        return {
            **self.scores.as_dict(),
            "ignored": self.scores.ignored,
            "unmapped": self.unmapped,
            "boundary": self.boundary.as_dict(),
            "notes": list(self.notes),
        }


def score_files(
    found: str | Path,
    truth: str | Path,
    *,
    table: ClassTable | None = None,
    width: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MapScores:
    """Compare a class map in a file with the true one in another.

    Args:
        found: GeoTIFF of class indices or colours, or an image without compression losses.
        truth: The same, on the same grid; 255 and nodata count nowhere.
        table: Classes of both; without it the names that one of them carries, else `class_0` and so on.
        width: Of the boundary in pixels, and its tolerance; None: 2 % and 0.75 % of the diagonal, for a width of at
            most 16 pixels.
        progress: Called with the rows done and their number.

    Raises:
        UnreadableError, MaskError: a file is missing, damaged or no class map.
        DataError: the grids differ, or no pixel has a class in both.
        ClassesError: the classes differ.
        OptionError: a width out of range.
    """
    map_, true = open_class_map(found, table), open_class_map(truth, table)
    names = _names(map_, true, table.names if table is not None else ())
    try:
        return score_maps(map_, true, names=names, width=width, progress=progress)
    except DataError as error:
        if error.file is None:
            error.found = f"{found} and {truth}: {error.found}"
        raise


def score_maps(
    found: ClassMap,
    truth: ClassMap,
    *,
    names: Sequence[str] = (),
    width: int | None = None,
    rows: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> MapScores:
    """Compare two open class maps; arguments as in `score_files`, and `rows` of a strip (0: as many as are good).

    >>> from pixelwise.geo.classmaps import ArrayMap
    >>> truth = np.array([[0, 0, 1, 1]], np.uint8)
    >>> score_maps(ArrayMap.of(np.array([[0, 0, 0, 1]], np.uint8)), ArrayMap.of(truth)).scores.pixel_accuracy
    0.75
    """
    differ = difference(found.grid, truth.grid)
    if differ:
        remedy = "map the image that the truth was drawn on, or bring one to the grid of the other, labels by nearest"
        raise DataError(f"the maps do not have the same grid: {differ}", remedy=remedy)
    grid = found.grid
    options = BoundaryOptions(width, most=MOST_BY_DEFAULT)
    pixels, tolerance = options.reach(grid.height, grid.width)
    if pixels > WIDEST:
        raise OptionError(f"a boundary of {pixels} pixels", remedy=f"give at most {WIDEST} pixels for a map")
    halo = halo_rows(pixels, tolerance)
    rows = rows or max(strip_rows(grid.width), halo)
    classes = len(names) or MAX_CLASSES
    counts = np.zeros((classes, classes), np.int64)
    band, edge = np.zeros((classes, 3), np.int64), np.zeros((classes, 4), np.int64)
    unmapped = done = 0
    for window in _windows(found, truth, rows, halo):
        mapped, true = window.found, window.truth
        _check(mapped[window.core], classes, "map", done)
        _check(true[window.core], classes, "truth", done)
        missing = mapped == IGNORE
        unmapped += int(np.count_nonzero(missing[window.core] & (true[window.core] != IGNORE)))
        true = np.where(missing, np.uint8(IGNORE), true)
        claimed = np.where(missing, np.uint8(0), mapped)
        counts += confusion(true[window.core], claimed[window.core], classes)
        part = contour_counts(
            true,
            claimed,
            classes,
            width=pixels,
            tolerance=tolerance,
            sides=window.sides,
            core=window.core,
        )
        band += part.band
        edge += part.edge
        done += window.core.stop - window.core.start
        if progress is not None:
            progress(done, grid.height)
    if not counts.any():
        raise DataError("no pixel has a class in both maps", remedy="check nodata values and classes.yaml")
    called = tuple(names) or tuple(f"class_{k}" for k in range(_present(counts)))
    k = len(called)
    return MapScores(
        scores_from_confusion(
            counts[:k, :k], called, images=1, ignored=grid.height * grid.width - int(counts.sum())
        ),
        boundary_scores(
            called, band[None, :k], edge[None, :k], options=options, reaches=[(pixels, tolerance)]
        ),
        unmapped,
        _notes(found, truth, unmapped, int(counts.sum())),
    )


@dataclass(frozen=True, eq=False)
class _Window:
    """Rows of both maps, of which those in `core` are counted."""

    found: Labels
    truth: Labels
    core: slice
    sides: Sides


class _Feed:
    """The rows of a map, forwards, as many as are asked for, whatever strips it comes in."""

    def __init__(self, source: ClassMap) -> None:
        self._strips = source.strips()
        self._held: Labels = np.empty((0, source.grid.width), np.uint8)
        self._top = 0

    def rows(self, top: int, bottom: int) -> Labels:
        """Rows top..bottom - 1; those above are forgotten."""
        parts = [self._held[top - self._top :]]
        end = self._top + len(self._held)
        while end < bottom:
            parts.append(next(self._strips))
            end += len(parts[-1])
        self._held, self._top = np.concatenate(parts), top
        return self._held[: bottom - top]


def _windows(found: ClassMap, truth: ClassMap, rows: int, halo: int) -> Iterator[_Window]:
    height = found.grid.height
    first, second = _Feed(found), _Feed(truth)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        above, below = max(0, top - halo), min(height, bottom + halo)
        yield _Window(
            first.rows(above, below),
            second.rows(above, below),
            slice(top - above, bottom - above),
            Sides(top=above == 0, bottom=below == height),
        )


def _names(found: ClassMap, truth: ClassMap, known: Sequence[str]) -> tuple[str, ...]:
    """The class names to use, where nothing contradicts them."""
    remedy = (
        "give maps of the same classes in the same order, or --classes FILE that says how both write them"
    )
    for source, kind in ((found, "map"), (truth, "truth")):
        moved = [
            name for k, name in enumerate(source.names) if name in known and tuple(known).index(name) != k
        ]
        if moved:
            raise ClassesError(
                f"the {kind} says of itself that {moved[0]} is another class index", remedy=remedy
            )
    if known:
        return tuple(known)
    if found.names and truth.names and found.names != truth.names:
        said = f"the map's are {', '.join(found.names)}, the truth's {', '.join(truth.names)}"
        raise ClassesError(f"the maps have other classes: {said}", remedy=remedy)
    return found.names or truth.names


def _check(labels: Labels, classes: int, kind: str, top: int) -> None:
    bad = (labels >= classes) & (labels != IGNORE)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise MaskError(
            f"the {kind} holds class index {labels[row, column]} at row {top + row}, column {column},"
            f" and there are {classes} classes",
            remedy="give the classes.yaml of both maps: --classes FILE",
        )


def _present(counts: NDArray[np.int64]) -> int:
    return int(np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))[-1]) + 1


def _notes(found: ClassMap, truth: ClassMap, unmapped: int, pixels: int) -> tuple[str, ...]:
    notes = ["distances between contours are not measured on maps"]
    if has_place(found.grid) != has_place(truth.grid):
        which = "truth" if has_place(found.grid) else "map"
        notes.append(f"the {which} has no place on Earth: only the sizes of the maps were compared")
    if unmapped:
        share = unmapped / (unmapped + pixels)
        notes.append(
            f"the map has no class in {unmapped} pixels ({share:.1%}) that have one in the truth; not counted"
        )
    return tuple(notes)
