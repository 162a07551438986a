"""Images and labels in .npz files: `images` [N, H, W] or [N, H, W, C], `labels` [N] or [N, H, W]."""

from __future__ import annotations

import stat
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.folders import split_word
from pixelwise.data.items import Item, Row
from pixelwise.data.numbers import Part, refuse_numbers
from pixelwise.errors import DataError, LayoutError, UnreadableError
from pixelwise.types import Image, SplitName


def find_rows(
    files: list[Path],
) -> tuple[Literal["segment", "classify"], dict[SplitName | None, tuple[Item, ...]]]:
    """The task and the rows of each split; the split is told from the file names.

    Raises:
        UnreadableError: a file is damaged or holds pickled objects.
        LayoutError: arrays are missing or do not fit together.
    """
    groups: dict[SplitName | None, tuple[Item, ...]] = {}
    tasks: set[Literal["segment", "classify"]] = set()
    for file in files:
        images, labels = load_arrays(file)
        tasks.add("classify" if labels.ndim == 1 else "segment")
        split = split_word(file.stem)
        rows = tuple(Row(file, index, f"{file.stem}/{index:06d}") for index in range(len(images)))
        groups[split] = groups.get(split, ()) + rows
    if len(tasks) > 1:
        raise LayoutError(
            "some .npz files hold one label per image, others one per pixel",
            file=files[0].parent,
            remedy="keep them in two folders",
        )
    return tasks.pop(), groups


def load_arrays(file: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """The arrays `images` [N, H, W, C] and `labels` [N] or [N, H, W] of a file, read once.

    Raises:
        UnreadableError: damaged, or pickled objects, which are never loaded.
        LayoutError: an array is missing or the shapes do not fit.
    """
    try:
        state = file.stat()
    except OSError as error:
        raise UnreadableError(
            f"cannot be read: {error.strerror}", file=file, remedy="check the path"
        ) from error
    if not stat.S_ISREG(state.st_mode):  # a named pipe would block for ever
        raise UnreadableError("not a regular file", file=file, remedy="remove it from the folder")
    return _load_once(file, state.st_mtime_ns, state.st_size)


def row_image(item: Row) -> Image:
    """The image [H, W, C] of a row as stored.

    Raises:
        UnreadableError, LayoutError: as `load_arrays`.
        DataError: a float image holds NaN, infinite values or -9999.
    """
    image: Image = load_arrays(item.image)[0][item.index]
    refuse_numbers(image, item.image, Part(f"images[{item.index}]: ", declares=False))
    return image


MAX_BYTES = 8_000_000_000
"""Arrays are held in memory; larger files are refused before they are unpacked."""


@lru_cache(maxsize=8)
def _load_once(file: Path, _changed: int, _size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The arrays of a file, read again when the file has changed."""
    try:
        # numpy.load leaves the file open when it is damaged, hence the stream of our own.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            _refuse_too_large(archive, file)
            missing = [name for name in ("images", "labels") if name not in archive.files]
            if missing:
                raise LayoutError(
                    f"has no array {missing[0]!r}, only {', '.join(archive.files) or 'nothing'}",
                    file=file,
                    remedy="save it by numpy.savez(file, images=..., labels=...)",
                )
            images, labels = archive["images"], archive["labels"]
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib, struct and ValueError (pickles), by the kind of damage
        raise UnreadableError(
            f"cannot be read as .npz ({error})", file=file, remedy="save it again by numpy.savez"
        ) from error
    _check_shapes(images, labels, file)
    return (images[..., None] if images.ndim == 3 else images), labels


def _refuse_too_large(archive: Any, file: Path) -> None:
    size = sum(entry.file_size for entry in archive.zip.infolist())
    if size > MAX_BYTES:
        raise UnreadableError(
            f"its arrays take {size:,} bytes unpacked; {MAX_BYTES:,} are allowed",
            file=file,
            remedy="cut it into several files, or save the images as PNG",
        )


def _check_shapes(images: NDArray[Any], labels: NDArray[Any], file: Path) -> None:
    fits = images.ndim in (3, 4) and len(images) == len(labels) and labels.dtype.kind in "ui"
    if not fits or (labels.ndim != 1 and labels.shape != images.shape[:3]):
        raise LayoutError(
            f"images {images.dtype} {list(images.shape)} and labels {labels.dtype} {list(labels.shape)} "
            "do not fit together",
            file=file,
            remedy="images are [N, H, W] or [N, H, W, C]; labels are integers [N] or [N, H, W]",
        )
    if images.dtype not in (np.uint8, np.uint16, np.float32):
        raise LayoutError(f"images are {images.dtype}", file=file, remedy="store uint8, uint16 or float32")
    if not len(images):
        raise LayoutError("holds no images", file=file, remedy="add some or remove the file")
