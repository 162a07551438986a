"""The entries of a dataset: where an image and what is known about it lie on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file."""

    image: Path
    mask: Path
    name: str


@dataclass(frozen=True)
class Labelled:
    """An image file with one class for the whole image."""

    image: Path
    target: int
    name: str


@dataclass(frozen=True)
class Row:
    """One image of the arrays in an .npz file."""

    image: Path  # the .npz file
    index: int
    name: str


Item = Pair | Labelled | Row


def natural_key(name: str) -> tuple[tuple[tuple[str, ...], ...], str]:
    """Sort key in which tile2 comes before tile10, folder by folder.

    >>> sorted(["t10", "t2", "T1"], key=natural_key)
    ['T1', 't2', 't10']
    """
    # Runs of digits become texts of one width, so that numbers and words compare as texts.
    folders = (re.split(r"(\d+)", part) for part in name.casefold().split("/"))
    return tuple(tuple(run.zfill(20) if run.isdecimal() else run for run in part) for part in folders), name


def in_order(items: Iterable[Item]) -> tuple[Item, ...]:
    """The items in natural order of their names."""
    return tuple(sorted(items, key=lambda item: natural_key(item.name)))
