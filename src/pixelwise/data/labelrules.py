"""How the polygons of a dataset name their classes: the keys `column`, `values`, `outside` of classes.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassTable
from pixelwise.data.classfile import CLASS_FILES, load_document, parse_document
from pixelwise.data.items import LabelRules
from pixelwise.errors import ClassesError, close_matches
from pixelwise.geo.vectorlabels import VectorFile, read_vectors
from pixelwise.types import IGNORE

_FEWEST_PIXELS = 16


@dataclass(frozen=True)
class VectorClasses:
    """The rules, and the tile that classes.yaml asks for; 0: any."""

    rules: LabelRules
    tile: int = 0


def find_rules(root: Path, classes: str | Path | ClassTable | None, example: Path) -> VectorClasses:
    """The rules of a dataset, from the given file or table or from a class file in its folder.

    `example` is a file of polygons, to say its columns where nothing says what they mean.

    Raises:
        ClassesError: no classes, or keys that contradict each other.
    """
    given = classes if isinstance(classes, ClassTable) else None
    path = Path(classes) if isinstance(classes, str | Path) else None
    if path is None:
        path = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if path is None and given is not None:
        return VectorClasses(_rules({}, list(given.names)))
    if path is None:
        raise _nothing_said(root, example)
    document = load_document(path)
    try:
        names = list((given or parse_document(document)).names)
        keys = document if isinstance(document, Mapping) else {}
        return VectorClasses(_rules(keys, names), _tile(keys))
    except ClassesError as error:
        raise ClassesError(error.found, remedy=error.remedy, file=path) from error


def values_of(file: VectorFile, rules: LabelRules) -> NDArray[np.uint8]:
    """The class index of each polygon.

    Raises:
        ClassesError: a polygon has no class, or one that is not in classes.yaml.
    """
    if not rules.column:
        return np.full(len(file.polygons), rules.inside, np.uint8)
    known = dict(rules.values)
    missing = sum(text is None for text in file.texts)
    if missing:
        found = f"{missing} of {len(file.texts)} polygons say nothing in column {rules.column!r}"
        raise ClassesError(found, file=file.path, remedy="fill the column, or delete these polygons")
    unknown = sorted({str(text) for text in file.texts} - set(known))
    if unknown:
        shown = ", ".join(repr(text) for text in unknown[:10]) + (" ..." if len(unknown) > 10 else "")
        remedy = (
            f"add it to the classes, or write values: {{{unknown[0]}: CLASS}} or ignore: [{unknown[0]}]; "
            + close_matches(unknown[0], known)
        )
        raise ClassesError(f"column {rules.column!r} holds {shown}, no class", file=file.path, remedy=remedy)
    return np.array([known[str(text)] for text in file.texts], np.uint8)


def _rules(keys: Mapping[str, Any], names: list[str]) -> LabelRules:
    column = keys.get("column") or ""
    outside = keys.get("outside", names[0])
    if outside not in (*names, "ignore"):
        remedy = close_matches(str(outside), [*names, "ignore"])
        raise ClassesError(f"outside is {outside!r}, which is no class", remedy=remedy)
    index = IGNORE if outside == "ignore" else names.index(outside)
    if not isinstance(column, str):
        raise ClassesError(f"column is {column!r}", remedy="write the name of a column, in quotes")
    if column:
        return LabelRules(column, tuple(_texts(keys, names).items()), 0, index)
    others = [place for place in range(len(names)) if place != index]
    if len(others) != 1:
        found = f"{len(names)} classes, and no column that says which one a polygon has"
        raise ClassesError(found, remedy="write column: NAME, the column of the class, into classes.yaml")
    return LabelRules("", (), others[0], index)


def _texts(keys: Mapping[str, Any], names: list[str]) -> dict[str, int]:
    """Texts of the column to class indices: the class names, `values` and `ignore`."""
    texts = {name: index for index, name in enumerate(names)}
    values, ignore = keys.get("values") or {}, keys.get("ignore") or []
    if not isinstance(values, Mapping) or not isinstance(ignore, list):
        remedy = "write values: {TEXT: CLASS, ...} and ignore: [TEXT, ...]"
        raise ClassesError("values is no mapping, or ignore no list", remedy=remedy)
    for text, name in values.items():
        if name not in names:
            remedy = close_matches(str(name), names)
            raise ClassesError(f"values maps {text!r} to {name!r}, which is no class", remedy=remedy)
        texts[str(text)] = names.index(name)
    return texts | {str(text): IGNORE for text in ignore}


def _tile(keys: Mapping[str, Any]) -> int:
    tile = keys.get("tile", 0)
    if type(tile) is not int or (tile and tile < _FEWEST_PIXELS):
        raise ClassesError(f"tile is {tile!r}", remedy=f"write a number of pixels, at least {_FEWEST_PIXELS}")
    return tile


def _nothing_said(root: Path, example: Path) -> ClassesError:
    columns = ", ".join(read_vectors(example).columns) or "none"
    text = "classes: [{name: background}, {name: building}]\ncolumn: NAME"
    return ClassesError(
        f"no classes.yaml says what the polygons of {example.name} mean; its columns are: {columns}",
        file=root,
        remedy=f"write this to classes.yaml, with names of your own; with two classes and no column every polygon "
        f"is of the second:\n{text}",
    )
