"""Choose the class table of a dataset: from the caller, a file in the folder, or the masks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pixelwise.data.arrays import load_arrays
from pixelwise.data.classes import ClassTable
from pixelwise.data.classfile import CLASS_FILES, read_classes
from pixelwise.data.discover import discover
from pixelwise.data.items import Pair, Row
from pixelwise.data.layouts import Layout
from pixelwise.data.read import RawMask, read_header, read_mask
from pixelwise.errors import ClassesError, DataError


def choose_table(
    layout: Layout, root: Path, classes: str | Path | ClassTable | None
) -> tuple[ClassTable, list[str]]:
    """The class table and what there is to say about where it comes from.

    Raises:
        ClassesError: the given classes are wrong or do not fit, or none can be found from the masks.
        DataError: a mask that is needed to find the classes cannot be read.
    """
    table, notes = given_table(root, classes)
    if layout.task == "classify":
        return _class_folders(layout, table, notes)
    if table is None:
        table, note = discover(all_masks(layout))
        return table, [note]
    return reading_palettes(table, layout), notes


def reading_palettes(table: ClassTable, layout: Layout) -> ClassTable:
    """The table for this dataset: where some masks are colours, palettes mean their colours too."""
    if table.colors and not table.by_color and any(_is_colors(pair.mask) for pair in _pairs(layout)):
        return replace(table, by_color=True)
    return table


def given_table(root: Path, classes: str | Path | ClassTable | None) -> tuple[ClassTable | None, list[str]]:
    """The table that the caller or a file in the folder gives, if any."""
    if isinstance(classes, ClassTable):
        return classes, []
    if classes is not None:
        return read_classes(classes), [f"classes from {classes}"]
    for name in CLASS_FILES if root.is_dir() else ():
        if os.path.lexists(root / name) and not (root / name).is_file():
            raise ClassesError("not a regular file", file=root / name, remedy="replace it by the file itself")
        if (root / name).is_file():
            return read_classes(root / name), [f"classes from {name}"]
    return None, []


def all_masks(layout: Layout) -> Iterator[tuple[Path, RawMask]]:
    """Every mask of a layout with its file."""
    for item in layout.items:
        if isinstance(item, Pair):
            yield item.mask, read_mask(item.mask)
        elif isinstance(item, Row):
            yield item.image, RawMask(load_arrays(item.image)[1][item.index])


def _class_folders(
    layout: Layout, table: ClassTable | None, notes: list[str]
) -> tuple[ClassTable, list[str]]:
    """Classes of images: the folder names, or the labels of the arrays; a given table must agree."""
    names = list(layout.class_names)
    if not names:
        labels = [load_arrays(file)[1] for file in {item.image for item in layout.items}]
        lowest, highest = min(int(part.min()) for part in labels), max(int(part.max()) for part in labels)
        count = len(table.classes) if table is not None else highest + 1
        if lowest < 0 or highest >= min(count, 255):
            raise ClassesError(
                f"the labels go from {lowest} to {highest}, the classes from 0 to {min(count, 255) - 1}",
                file=layout.items[0].image,
                remedy="number the classes from 0 without gaps, and list them all in classes.yaml",
            )
        if table is not None:
            return table, notes
        return ClassTable.of_names([f"class_{index}" for index in range(count)]), [
            f"{count} classes, from the labels"
        ]
    if table is None:
        return ClassTable.of_names(names), notes
    if sorted(table.names) != sorted(names):
        raise ClassesError(
            f"the classes are {', '.join(table.names)}, the folders {', '.join(names)}",
            remedy="name the classes in classes.yaml like the folders",
        )
    colors = {index: table.classes[table.names.index(name)].color for index, name in enumerate(names)}
    return ClassTable.of_names(names, colors=colors), notes


def _pairs(layout: Layout) -> Iterator[Pair]:
    return (item for item in layout.items if isinstance(item, Pair))


def _is_colors(mask: Path) -> bool:
    try:
        return read_header(mask).colors
    except DataError:
        return False  # reading the mask itself will say what is wrong
