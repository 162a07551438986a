"""Decide which image belongs to train, val and test, and say how it was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.data.layouts import Layout
from pixelwise.data.splits import (
    Assignment,
    block_split,
    given_split,
    run_split,
    seeded_split,
    table_file,
    table_split,
)
from pixelwise.types import SPLITS

SplitChoice = str | Path | Mapping[str, Sequence[str]] | None
_VAL_SHARE = 0.15


@dataclass
class Assigned:
    """Names by split, how they came about in one phrase, decisions to print, and the CSV file they are from, if any."""

    names: Assignment
    origin: str
    notes: list[str] = field(default_factory=list)
    sheet: Path | None = None


def assign(layout: Layout, split: SplitChoice, *, seed: int, root: Path) -> Assigned:
    """Use the given split, else the split of the layout; what is missing of it is made from `seed`.

    Raises:
        LayoutError: a given split names images that are not there, or one of them twice.
        OptionError: a given split has an unknown key.
        UnreadableError: a table of splits cannot be read.
    """
    names = [item.name for item in layout.items]
    if split is None:
        result = _of_layout(layout, seed)
    elif isinstance(split, Mapping):
        result = Assigned(given_split(split, names, root=root), "given")
    elif str(split) == "blocks":
        result = Assigned(block_split(names), "blocks 70/10/20 in order of the names")
    elif Path(split).suffix in (".yaml", ".yml"):
        result = Assigned(given_split(run_split(split), names, root=root), f"that of the run {split}")
    else:
        table, origin = table_split(split, root)
        result = _completed(Assigned(given_split(table, names, root=root), origin), seed)
        result.sheet, _ = table_file(split, root)
    unused = len(names) - sum(len(part) for part in result.names.values())
    if unused and split is not None:
        result.notes.append(f"left out {unused} images that the split does not name")
    result.notes += [f"the {name} split is empty" for name in SPLITS if not result.names[name]]
    return result


def _of_layout(layout: Layout, seed: int) -> Assigned:
    groups = {split: tuple(item.name for item in items) for split, items in layout.groups.items()}
    loose = groups.get(None, ())
    names: Assignment = {split: groups.get(split, ()) for split in SPLITS}
    result = Assigned(names, layout.origin)
    if not any(names.values()) or (not names["val"] and not names["test"]):
        result.names = seeded_split(names["train"] + loose, seed=seed)
        result.origin = f"seeded 70/15/15, seed {seed}"
        result.notes.append(
            f"no split was found: made one by chance, 70/15/15, from seed {seed}; where neighbours are alike (frames, "
            "slices, tiles) take --splits blocks, or a table from `pixelwise check DATA --split-to FILE.csv`"
        )
        return result
    if loose and not names["train"]:
        names["train"] = loose
        result.notes.append(f"train: the {len(loose)} images outside the split folders")
    elif loose:
        result.notes.append(f"left out {len(loose)} images outside the split folders")
    return _completed(result, seed)


def _completed(result: Assigned, seed: int) -> Assigned:
    """Take val out of train where it is missing; training needs it, and the test part must stay untouched."""
    train = result.names["train"]
    if result.names["val"] or len(train) < 2:
        return result
    parts = seeded_split(train, seed=seed, shares={"val": _VAL_SHARE})
    result.names = {"train": parts["train"], "val": parts["val"], "test": result.names["test"]}
    result.origin += f"; val: 15 % of train, seed {seed}"
    result.notes.append(
        f"no val split was found: took {len(parts['val'])} images of train by chance, seed {seed}"
    )
    return result
