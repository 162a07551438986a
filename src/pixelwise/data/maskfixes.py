"""What a recipe does to masks, and which of it could mend a mask that is wrong."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from pixelwise.data.classes import ClassTable
from pixelwise.data.fixrecipe import Step
from pixelwise.data.palette import packed, unpacked
from pixelwise.data.read import RawMask, read_header, read_image, read_mask
from pixelwise.data.runs import pack_colors
from pixelwise.data.specks import MOST, find_specks
from pixelwise.errors import DataError, OptionError
from pixelwise.types import IGNORE

_APART = 16  # class values closer together than this cannot be told apart after compression
_NEAR = 24  # of a band of a colour
_MOST_VALUES = 20  # more wrong values than this are no slips of a brush


def changed(path: Path, steps: Sequence[Step]) -> tuple[bytes, int]:
    """A mask file after some steps, as PNG, and how many of its pixels were near no class and are ignored now.

    Raises:
        DataError: the mask cannot be read.
        OptionError: a step is not for such a mask.
    """
    mask = _read(path, lossy=any(step.do in ("snap", "to_index") for step in steps))
    ignored = 0
    for step in steps:
        before = mask.values
        if step.do == "transpose":
            mask = RawMask(before.swapaxes(0, 1), mask.palette)
        elif step.do == "to_index":
            values, far = _to_index(mask, step)
            mask, ignored = RawMask(values), ignored + far
        elif before.ndim == 3 and not (step.do == "snap" and _grey(before)):
            raise OptionError(
                f"{step.do} is for masks of one band", file=path, remedy="put a step to_index before it"
            )
        elif step.do == "snap":
            values, far = _snapped(before, step)
            mask, ignored = RawMask(values), ignored + far
        elif step.do == "fill_specks":
            mask = RawMask(_filled(before, step), mask.palette)
        else:
            mask = RawMask(_mapped(before, step), mask.palette)
    return _png(mask.values, path), ignored


def step_for(code: str, table: ClassTable, file: Path, names: tuple[str, ...], why: str) -> Step | None:
    """A step that would turn the values or colours of a wrong mask into those of the classes, if there is one."""
    try:
        header = read_header(file)
        colors = header.colors or header.format == "GIF" or code == "mask-palette"
        if code in ("mask-lossy", "mask-color", "mask-palette") and colors and table.colors:
            if (indices := _indices(table)) is not None:
                near = 0 if code == "mask-palette" else _NEAR
                return Step("to_index", names, why, enabled=False, colors=indices, within=near)
            return None
        if code not in ("mask-lossy", "mask-value"):
            return None
        classes = tuple(sorted(table.values if table.values is not None else range(len(table.classes))))
        gap = min(np.diff(sorted({*classes, *table.ignore})), default=0)
        if gap >= _APART and (code == "mask-lossy" or len(_strangers(table, file)) > 1):
            within = None if IGNORE in classes else int(gap) // 4
            return Step(
                "snap", names, why, enabled=False, classes=(*classes, *sorted(table.ignore)), within=within
            )
        if IGNORE in classes:
            return None  # then no value counts nowhere by itself
        if code == "mask-value" and 0 < len(strangers := _strangers(table, file)) <= _MOST_VALUES:
            pairs = tuple((value, IGNORE) for value in strangers)
            return Step("map_values", names, why, enabled=False, values=pairs)
    except DataError:
        pass  # a finding says what is wrong with the file
    return None


def speck_step(table: ClassTable, file: Path, names: tuple[str, ...], why: str) -> Step | None:
    """A step that fills the holes of a mask of one band."""
    values = table.unlabelled_values
    if not values or read_header(file).colors:
        return None
    return Step("fill_specks", names, why, enabled=False, of=values, up_to=MOST)


def _read(path: Path, *, lossy: bool) -> RawMask:
    if lossy and read_header(path).lossy:
        image = read_image(path)
        if image.dtype == np.uint8 and image.shape[2] in (1, 3):
            return RawMask(image[:, :, 0] if image.shape[2] == 1 else image)
    return read_mask(path)


def _grey(colors: NDArray[Any]) -> bool:
    low, high = colors.min(axis=2).astype(np.int64), colors.max(axis=2)
    return int((high - low).max()) <= _NEAR


def _snapped(values: NDArray[Any], step: Step) -> tuple[NDArray[np.int64], int]:
    band = (np.median(values, axis=2) if values.ndim == 3 else values).astype(np.int64)
    classes = np.array(sorted(step.classes), np.int64)
    place = np.searchsorted((classes[1:] + classes[:-1]) / 2, band)
    nearest = classes[place]
    far = np.zeros(band.shape, bool) if step.within is None else np.abs(nearest - band) > step.within
    nearest[far] = IGNORE
    return nearest, int(far.sum())


def _to_index(mask: RawMask, step: Step) -> tuple[NDArray[np.int64], int]:
    colors = mask.values
    if colors.ndim == 2:
        if mask.palette is None:
            colors = np.repeat(colors[:, :, None].clip(0, 255).astype(np.uint8), 3, axis=2)
        else:
            table = np.zeros((int(colors.max()) + 1, 3), np.uint8)
            for value, color in mask.palette.items():
                if value < len(table):
                    table[value] = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
            colors = table[colors]
    found, which = np.unique(pack_colors(colors).reshape(-1), return_inverse=True)
    distinct = found.astype(np.int64)
    bands = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1)
    known = np.array([[packed(c) >> 16, packed(c) >> 8 & 255, packed(c) & 255] for c, _ in step.colors])
    best = np.full(len(distinct), np.iinfo(np.int64).max)
    values = np.full(len(distinct), IGNORE, np.int64)
    for color, (_, value) in zip(known, step.colors, strict=True):
        distance = np.abs(bands - color).max(axis=1)
        nearer = distance < best
        best[nearer], values[nearer] = distance[nearer], value
    far = np.zeros(len(distinct), bool) if step.within is None else best > step.within
    values[far] = IGNORE
    return values[which].reshape(colors.shape[:2]), int(far[which].sum())


def _filled(values: NDArray[Any], step: Step) -> NDArray[Any]:
    found = find_specks(values, step.of, most=step.up_to or MOST)
    if found is None:
        return values
    result = values.copy()
    result[found.rows, found.columns] = found.around
    return result


def _mapped(values: NDArray[Any], step: Step) -> NDArray[np.int64]:
    mapped = values.astype(np.int64)
    for old, new in step.values:
        mapped[values == old] = new
    return mapped


def _png(values: NDArray[Any], path: Path) -> bytes:
    if values.ndim == 2:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > np.iinfo(np.uint16).max:
            raise OptionError(
                f"would hold {low if low < 0 else high}, which a PNG cannot",
                file=path,
                remedy="add map_values for it",
            )
        values = values.astype(np.uint8 if high <= 255 else np.uint16)
    stream = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(values)).save(stream, "PNG")
    return stream.getvalue()


def _strangers(table: ClassTable, file: Path) -> list[int]:
    """Values of a mask that are in no class."""
    mask = read_mask(file)
    if mask.values.ndim == 3:
        return []
    return [value for value in np.unique(mask.values).tolist() if not table.means(value, mask.nodata)]


def _indices(table: ClassTable) -> tuple[tuple[str, int], ...] | None:
    """The mask value for each declared colour; None where a class has none."""
    values = {index: index for index in range(len(table.classes))}
    if table.values is not None:
        values = {index: value for value, index in sorted(table.values.items(), reverse=True)}
    if not set(table.colors.values()) <= set(values) or IGNORE in (table.values or ()):
        return None
    pairs = [(unpacked(color), values[index]) for color, index in table.colors.items()]
    return (*pairs, *((unpacked(color), IGNORE) for color in sorted(table.ignore_colors)))
