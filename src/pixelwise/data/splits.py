"""Assign images to train, val and test: by chance from a seed, in blocks, or as a table says."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pixelwise.config import read_yaml
from pixelwise.data.folders import SPLIT_WORDS
from pixelwise.data.items import natural_key
from pixelwise.data.lists import stem_of
from pixelwise.data.pairing import fold
from pixelwise.data.sheets import NAMES, read_sheet
from pixelwise.errors import LayoutError, OptionError, UnreadableError, close_matches
from pixelwise.types import SPLITS, SplitName

Assignment = dict[SplitName, tuple[str, ...]]

SEEDED = {"train": 0.70, "val": 0.15, "test": 0.15}
BLOCKS = {"train": 0.70, "val": 0.10, "test": 0.20}


def seeded_split(names: Iterable[str], *, seed: int = 0, shares: Mapping[str, float] = SEEDED) -> Assignment:
    """Split by chance; the result depends on the names and the seed alone, not on any order.

    >>> {split: len(names) for split, names in seeded_split([f"t{i}" for i in range(20)]).items()}
    {'train': 14, 'val': 3, 'test': 3}
    """

    def by_chance(name: str) -> str:
        # Linux allows names of files that are no UTF-8.
        return hashlib.sha256(f"{seed}:{fold(name)}".encode(errors="surrogateescape")).hexdigest()

    return _cut(sorted(names, key=by_chance), shares)


def block_split(names: Iterable[str], *, shares: Mapping[str, float] = BLOCKS) -> Assignment:
    """Split into contiguous blocks in natural order: the first 70 % train, then 10 % val, then 20 % test.

    Right for slices of a volume or frames of a film, whose neighbours are alike.

    >>> block_split([f"{i}" for i in range(10)])["test"]
    ('8', '9')
    """
    return _cut(sorted(names, key=natural_key), shares)


def given_split(split: Mapping[str, Sequence[str]], names: Iterable[str], *, root: Path) -> Assignment:
    """Check a split given by names and bring it into natural order.

    Raises:
        LayoutError: a name is not in the dataset or in two splits.
        OptionError: a key is no split.
    """
    names = list(names)
    known = {fold(name): name for name in names}
    stems = Counter(fold(name).rpartition("/")[2] for name in names)
    known |= {stem: name for name in names if stems[stem := fold(name).rpartition("/")[2]] == 1}
    assignment: dict[SplitName, tuple[str, ...]] = {"train": (), "val": (), "test": ()}
    home: dict[str, str] = {}
    missing: list[str] = []
    for key, entries in split.items():
        if key not in SPLIT_WORDS:
            raise OptionError(f"{key!r} is no split", remedy=close_matches(key, SPLITS))
        found = []
        for entry in entries:
            key_of = fold(stem_of(entry))
            name = known.get(fold(entry)) or known.get(key_of) or known.get(key_of.rpartition("/")[2])
            if name is None:
                missing.append(entry)
            elif home.setdefault(name, key) != key:
                raise LayoutError(
                    f"{name!r} is in both {home[name]} and {key}", file=root, remedy="keep it in one"
                )
            else:
                found.append(name)
        assignment[SPLIT_WORDS[key]] += tuple(dict.fromkeys(found))
    if missing:
        raise LayoutError(
            f"the split names {len(missing)} images that are not in the dataset: {', '.join(missing[:20])}"
            + (" ..." if len(missing) > 20 else ""),
            file=root,
            remedy="use the dataset that the split was made for, or another split",
        )
    return {key: tuple(sorted(entries, key=natural_key)) for key, entries in assignment.items()}


def table_file(table: str | Path, root: Path) -> tuple[Path, str]:
    """The file and the column, or no column, of FILE.csv or FILE.csv:COLUMN.

    Raises:
        UnreadableError: no such file.
    """
    text = str(table)
    file, _, column = (text, "", "") if text.lower().endswith(".csv") else text.rpartition(":")
    path = next((p for p in (Path(file), root / file) if file and p.is_file()), None)
    if path is None:
        raise UnreadableError(
            "no such split table",
            file=text,
            remedy="give 'blocks', a FILE.csv, FILE.csv:COLUMN, or the config.yaml of a run",
        )
    return path, column


def table_split(table: str | Path, root: Path) -> tuple[dict[str, list[str]], str]:
    """Read a split from FILE.csv or FILE.csv:COLUMN; returns names by split and how to call its origin.

    Relative paths are taken from the working folder, then from the dataset.

    Raises:
        UnreadableError: no such file, or no text.
        LayoutError: no column of names or of splits, or a cell is no split.
    """
    path, column = table_file(table, root)
    sheet = read_sheet(path)
    if sheet.names is None:
        raise LayoutError(
            "has no column of names", file=path, remedy=f"name one of its columns {' or '.join(NAMES[:2])}"
        )
    split_column = column or _split_column(sheet.columns, path)
    if split_column not in sheet.columns:
        raise LayoutError(
            f"has no column {split_column!r}", file=path, remedy=close_matches(split_column, sheet.columns)
        )
    split: dict[str, list[str]] = {name: [] for name in SPLITS}
    for line, row in enumerate(sheet.rows, 2):
        cell, name = row[split_column].lower(), row[sheet.names]
        if cell and cell not in SPLIT_WORDS:
            raise LayoutError(
                f"line {line}: {cell!r} is no split", file=path, remedy="write train, val, test or nothing"
            )
        if cell and not name:
            raise LayoutError(
                f"line {line}: no name of an image", file=path, remedy="write it, or take it out"
            )
        if cell:
            split[SPLIT_WORDS[cell]].append(name)
    return split, f"table {path.name}, column {split_column}"


def run_split(config: str | Path) -> dict[str, list[str]]:
    """The split that the config.yaml of a run holds, image by image.

    Raises:
        OptionError: it cannot be read, or holds none.
    """
    split = read_yaml(config).get("split")
    if not isinstance(split, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in split.values()
    ):
        raise OptionError("holds no split", file=config, remedy="give the config.yaml of a run folder")
    return split


def _split_column(columns: list[str], path: Path) -> str:
    if "split" in columns:
        return "split"
    found = [name for name in columns if name.lower().startswith("split")]
    if len(found) != 1:
        shown = ", ".join(found or columns)
        raise LayoutError(
            f"{'several columns' if found else 'no column'} named split; there is {shown}",
            file=path,
            remedy=f"choose one: {path.name}:{(found or columns or ['split'])[0]}",
        )
    return found[0]


def _cut(names: list[str], shares: Mapping[str, float]) -> Assignment:
    """The first part is train, then val, then test; each gets an image as soon as there are enough."""
    sizes = {split: round(len(names) * shares.get(split, 0.0)) for split in ("val", "test")}
    for position, split in enumerate(("val", "test")):
        if shares.get(split, 0.0) > 0 and len(names) > position + 1:
            sizes[split] = max(1, sizes[split])
    train = len(names) - sizes["val"] - sizes["test"]
    parts: Assignment = {
        "train": tuple(names[:train]),
        "val": tuple(names[train : train + sizes["val"]]),
        "test": tuple(names[train + sizes["val"] :]),
    }
    return {split: tuple(sorted(part, key=natural_key)) for split, part in parts.items()}
