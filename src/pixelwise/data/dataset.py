"""Open a folder of labelled images: what is in it, in which classes, in which splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.arrays import load_arrays, row_image
from pixelwise.data.assign import SplitChoice, assign
from pixelwise.data.classes import ClassTable
from pixelwise.data.items import Item, Labelled, Pair, Row, Window
from pixelwise.data.layouts import Task, find_pairs
from pixelwise.data.places import refuse_other_place, without_empty
from pixelwise.data.read import ImageSize, RawMask, image_and_empty, image_size, read_mask
from pixelwise.data.scenes import window_image, window_labels
from pixelwise.data.tables import choose_table
from pixelwise.errors import DataError, LayoutError, MaskError
from pixelwise.geo.scenes import scene_facts
from pixelwise.types import IGNORE, SPLITS, ClassSpec, Image, Labels, Sample, SplitName


@dataclass(frozen=True, eq=False)
class ClassifiedImage:
    """An image [H, W, C] as stored and the index of its class."""

    name: str
    image: Image
    target: int


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split in natural order; `split[i]` reads and decodes one Sample."""

    name: SplitName
    items: tuple[Item, ...]
    table: ClassTable
    task: Task
    bands: int
    dtype: str
    root: Path
    sheet: Path | None = None  # that says the splits, and maybe what belongs together

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The items that are an image file with a mask file."""
        return tuple(item for item in self.items if isinstance(item, Pair))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, unique in the dataset."""
        return tuple(item.name for item in self.items)

    @property
    def classes(self) -> tuple[ClassSpec, ...]:
        """The classes of the dataset."""
        return self.table.classes

    @property
    def targets(self) -> tuple[int, ...]:
        """The class index of each image; empty unless the task is classification."""
        return tuple(self._target(item) for item in self.items) if self.task == "classify" else ()

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Read image and labels number `index`.

        Raises:
            DataError: a file cannot be read, sizes differ, or the mask holds what is in no class.
        """
        item = self.items[index]
        image, empty = self.measured(index)
        labels = self._labels(item)
        if image.shape[:2] != labels.shape:
            raise size_mismatch(item, image.shape[:2], labels.shape[:2])
        if empty is not None:
            labels[empty] = IGNORE
        return Sample(item.name, image, labels)

    def evenly(self, count: int) -> Split:
        """The split thinned to at most `count` images, evenly spaced."""
        step = max(1.0, len(self) / max(1, count))
        chosen = tuple(self.items[int(place * step)] for place in range(min(count, len(self))))
        return replace(self, items=chosen)

    def classified(self, index: int) -> ClassifiedImage:
        """Read image number `index` with its class; only where the task is classification."""
        if self.task != "classify":
            raise DataError("this dataset has a class per pixel, not per image", remedy="use split[index]")
        return ClassifiedImage(self.items[index].name, self.image(index), self._target(self.items[index]))

    def image(self, index: int) -> Image:
        """Image number `index` [H, W, C] as stored."""
        return self.measured(index)[0]

    def measured(self, index: int) -> tuple[Image, NDArray[np.bool_] | None]:
        """Image number `index`, and where it holds no data [H, W]; None where nothing says so."""
        item = self.items[index]
        image, empty = measured(item)
        if image.shape[2] != self.bands or str(image.dtype) != self.dtype:
            raise DataError(
                f"has {image.shape[2]} bands of {image.dtype}, others have {self.bands} of {self.dtype}",
                file=item.image,
                remedy="keep images of one kind in a dataset; `pixelwise check` lists both groups",
            )
        return image, empty

    def labels(self, index: int) -> Labels:
        """Labels number `index`, uint8 [H, W], 255 where pixels count nowhere."""
        item = self.items[index]
        return without_empty(item, self._labels(item))

    def _labels(self, item: Item) -> Labels:
        """Labels as the mask has them, wherever the image holds data."""
        if self.task == "classify":
            raise DataError("has a class per image, not per pixel", remedy="use split.classified(index)")
        return self.table.to_labels(raw_mask(item), files_of(item)[-1])

    def _target(self, item: Item) -> int:
        if isinstance(item, Labelled):
            return item.target
        return int(load_arrays(item.image)[1][item.index]) if isinstance(item, Row) else -1


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset on disk: classes, bands and splits, and how what was not said was decided (`notes`)."""

    root: Path
    task: Task
    table: ClassTable
    bands: int
    dtype: str
    train: Split
    val: Split
    test: Split
    split_origin: str
    notes: tuple[str, ...] = field(default=())

    @property
    def classes(self) -> tuple[ClassSpec, ...]:
        """The classes; the index of a class is its position."""
        return self.table.classes

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """Train, val and test."""
        return self.train, self.val, self.test

    def split_names(self) -> dict[str, list[str]]:
        """The names of the images in each split, to store and to give to `open_dataset(split=...)` again."""
        return {split.name: list(split.names) for split in self.splits}

    def digest(self) -> str:
        """SHA-256 over splits, names, file sizes and the bytes of all images and masks."""
        total = hashlib.sha256()
        hashed: dict[Path, bytes] = {}
        for split in self.splits:
            for item in split.items:
                total.update(f"{split.name}\0{item.name}\0".encode(errors="surrogateescape"))
                for file in files_of(item):
                    if file not in hashed:  # an .npz file holds many images
                        hashed[file] = _file_digest(file)
                    total.update(hashed[file])
        return total.hexdigest()


def open_dataset(
    path: str | Path,
    *,
    classes: str | Path | ClassTable | None = None,
    split: SplitChoice = None,
    seed: int = 0,
) -> Dataset:
    """Open a folder of images and masks (or of images per class, or .npz files) without decoding images.

    `classes`, a file or a table, stands in for a classes.yaml in the folder. `split` replaces the split of
    the folder: names by split, "blocks", "FILE.csv" or "FILE.csv:COLUMN". What is missing of a split is made
    by chance from `seed` and said in `notes`.

    Raises:
        LayoutError: no layout can be made out, or files do not pair up.
        ClassesError: the classes are wrong, or cannot be found from the masks.
        DataError: a file cannot be read.
    """
    root = Path(path)
    layout = find_pairs(root, classes)
    if layout.problems:
        raise merged(layout.problems, root)
    table, class_notes = choose_table(layout, root, classes)
    assigned = assign(layout, split, seed=seed, root=root)
    items = {item.name: item for item in layout.items}
    size, sheet = size_of(next(iter(items.values()))), assigned.sheet
    train, val, test = (
        Split(
            name,
            tuple(items[key] for key in assigned.names[name]),
            table,
            layout.task,
            *size[2:],
            root,
            sheet,
        )
        for name in SPLITS
    )
    warned = (warning.found for warning in layout.warnings)
    notes = (*layout.notes, *warned, *class_notes, *assigned.notes)
    return Dataset(root, layout.task, table, size.bands, size.dtype, train, val, test, assigned.origin, notes)


def size_of(item: Item) -> ImageSize:
    """Size, bands and dtype of the image of an item, from its header."""
    if isinstance(item, Window):
        facts = scene_facts(item.image)
        return ImageSize(item.box.height, item.box.width, facts.bands, facts.dtype)
    if not isinstance(item, Row):
        return image_size(item.image)
    images = load_arrays(item.image)[0]
    return ImageSize(images.shape[1], images.shape[2], images.shape[3], str(images.dtype))


def image_of(item: Item) -> Image:
    """The image [H, W, C] of an item as stored."""
    return measured(item)[0]


def measured(item: Item) -> tuple[Image, NDArray[np.bool_] | None]:
    """The image [H, W, C] of an item as stored, and where it holds no data [H, W]; None where nothing says so."""
    if isinstance(item, Window):
        return window_image(item)
    return (row_image(item), None) if isinstance(item, Row) else image_and_empty(item.image)


def raw_mask(item: Item) -> RawMask:
    """The mask of an item as stored; an item of a classification dataset has none."""
    if isinstance(item, Pair):
        refuse_other_place(item)
        return read_mask(item.mask)
    if isinstance(item, Window):
        return RawMask(window_labels(item))
    if isinstance(item, Row):
        return RawMask(load_arrays(item.image)[1][item.index])
    raise DataError(
        "has a class for the whole image and no mask", file=item.image, remedy="train a classifier"
    )


def files_of(item: Item) -> tuple[Path, ...]:
    """The files that an item is read from."""
    if isinstance(item, Window):
        return item.image, item.labels
    return (item.image, item.mask) if isinstance(item, Pair) else (item.image,)


def size_mismatch(item: Item, image: Sequence[int], labels: Sequence[int]) -> MaskError:
    """The error for a mask whose size [H, W] is not that of its image."""
    hint = " (width and height are exchanged)" if tuple(image) == tuple(labels)[::-1] else ""
    return MaskError(
        f"the mask is {labels[1]} x {labels[0]} pixels, its image {image[1]} x {image[0]}{hint}",
        file=files_of(item)[-1],
        code="mask-size",
        remedy="export the mask at the size of the image; pixelwise does not guess which way to resize",
    )


def merged(problems: Sequence[DataError], root: Path) -> DataError:
    """One error out of several, which lists them all."""
    if len(problems) == 1:
        return problems[0]
    by_kind: dict[str, list[str]] = {}
    for problem in problems:
        file = problem.file.name if problem.file is not None else ""
        by_kind.setdefault(problem.found, []).append(file)
    lines = [f"  {found}: {', '.join(files)}" for found, files in by_kind.items()]
    return LayoutError(
        f"{len(problems)} problems with the files:\n" + "\n".join(lines),
        file=root,
        remedy=f"{problems[0].remedy}; `pixelwise check` tells the remedy for each file",
    )


def _file_digest(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:  # a scene may be larger than memory
            digest = hashlib.file_digest(stream, "sha256").digest()
        size = file.stat().st_size
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=file, remedy="check the file") from error
    return np.int64(size).tobytes() + digest
