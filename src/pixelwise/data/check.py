"""Look at every file of a dataset once and report all that is wrong, with remedies."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pixelwise.data.assign import SplitChoice, assign
from pixelwise.data.checkreport import CheckReport, Finding, render
from pixelwise.data.classes import ClassTable
from pixelwise.data.dataset import Split, raw_mask
from pixelwise.data.discover import Discovery
from pixelwise.data.examine import Looked, look, of_rows
from pixelwise.data.gather import Gathered
from pixelwise.data.items import Item, Pair
from pixelwise.data.layouts import Layout, find_pairs
from pixelwise.data.read import RawMask
from pixelwise.data.stats import MOST_IMAGES
from pixelwise.data.tables import choose_table, given_table, reading_palettes
from pixelwise.data.turns import in_turn
from pixelwise.errors import ClassesError, DataError, LayoutError, OptionError
from pixelwise.types import SPLITS, SplitName

__all__ = ["CheckReport", "Finding", "check_dataset", "render"]

_MOST_WORKERS = 8


def check_dataset(
    path: str | Path,
    *,
    classes: str | Path | ClassTable | None = None,
    split: SplitChoice = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> CheckReport:
    """Read every file of a dataset and report its contents and all findings; options as `open_dataset`.

    The report is the same whatever the number of `workers`, the threads that read files; None: one per core.

    Raises:
        LayoutError: missing, empty, or no layout can be made out.
        UnreadableError: a folder cannot be listed.
        OptionError: fewer than one worker.
    """
    if workers is not None and workers < 1:
        raise OptionError(f"{workers} workers", remedy="give 1 or more")
    root = Path(path)
    layout = find_pairs(root, classes)
    # Arrays and scenes are read through libraries and caches that one thread at a time may use.
    count = 1 if of_rows(layout.items) else workers or min(_MOST_WORKERS, os.cpu_count() or 1)
    gathered = Gathered(layout)
    gathered.know(_find_classes(layout, root, classes, gathered, count))
    assigned = assign(layout, split, seed=0, root=root)
    home = {name: part for part in SPLITS for name in assigned.names[part]}
    items = [item for item in layout.items if item.name in home]
    measured = _measured(items, home)

    def examine(item: Item) -> Looked:
        measure = item.name in measured
        return look(item, home[item.name], gathered.table, layout.task, measure=measure)

    for number, seen in enumerate(in_turn(examine, items, workers=count)):
        gathered.take(seen)
        if progress is not None:
            progress(number + 1, len(items))
    if items and not assigned.names["train"]:
        remedy = "put images into train, or give a split with --splits; to evaluate or map alone nothing is missing"
        gathered.add(LayoutError("the train split is empty", file=root, code="split-empty", remedy=remedy))
    gathered.compare()
    return gathered.report(root, assigned)


def _measured(items: Sequence[Item], home: dict[str, SplitName]) -> set[str]:
    """The images that the normalisation is taken from: as `stats.normalization` has them, of train."""
    train = tuple(item for item in items if home[item.name] == "train") or tuple(items)
    probe = Split("train", train, ClassTable(()), "segment", 0, "", Path())
    return set(probe.evenly(MOST_IMAGES).names)


def _find_classes(
    layout: Layout, root: Path, classes: str | Path | ClassTable | None, gathered: Gathered, workers: int
) -> ClassTable | None:
    """Settle the class table; where that fails, the rest of the check goes on without."""
    try:
        if layout.task == "classify":
            table, notes = choose_table(layout, root, classes)
        else:
            given, notes = given_table(root, classes)
            if given is None:
                table, note = _discovered(layout, workers)
                notes = [note]
            else:
                table = reading_palettes(given, layout)
        gathered.notes += notes
    except DataError as error:
        gathered.add(error)
        return None
    return table


def _discovered(layout: Layout, workers: int) -> tuple[ClassTable, str]:
    """Classes from the masks that can be read; the others are reported when they are examined."""

    def read(item: Item) -> tuple[Path, RawMask] | None:
        try:
            return item.mask if isinstance(item, Pair) else item.image, raw_mask(item)
        except (DataError, MemoryError):
            return None

    discovery = Discovery()
    for found in in_turn(read, layout.items, workers=workers):
        if found is not None:
            discovery.add(*found)
    if not discovery.seen:
        raise ClassesError("no mask can be read, so no class is known", remedy="mend the masks first")
    return discovery.table()
