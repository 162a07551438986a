"""The entries of a dataset: where an image and what is known about it lie on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pixelwise.ops.tiles import Box


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


@dataclass(frozen=True)
class LabelRules:
    """How polygons say the class of pixels.

    Attributes:
        column: The column of the class; empty: every polygon has the class `inside`.
        values: (text in the column, class index), for all texts that mean a class; 255 for those that count nowhere.
        inside: See `column`.
        outside: Class index of pixels in no polygon, or 255.
    """

    column: str
    values: tuple[tuple[str, int], ...]
    inside: int
    outside: int


@dataclass(frozen=True)
class Window:
    """A window of a scene, and a file of polygons that says its classes."""

    image: Path  # the scene
    labels: Path
    box: Box
    rules: LabelRules
    name: str


Item = Pair | Labelled | Row | Window


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
