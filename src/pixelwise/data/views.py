"""Other readings of a dataset: one class for all pixels of an image, or no labels at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.assign import SplitChoice, assign
from pixelwise.data.classes import ClassTable
from pixelwise.data.dataset import Dataset, Split, open_dataset
from pixelwise.data.folders import list_folders
from pixelwise.data.items import Item, Labelled, in_order
from pixelwise.data.layouts import Layout
from pixelwise.data.read import image_size
from pixelwise.errors import LayoutError
from pixelwise.types import SPLITS, ClassSpec, Sample, SplitName


@dataclass(frozen=True, eq=False)
class WholeImages:
    """A classification split as samples whose labels hold the image's class everywhere.

    Views of such a sample keep its class, and what lies outside the image is IGNORE as always.
    """

    split: Split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Sample:
        one = self.split.classified(index)
        return Sample(one.name, one.image, np.full(one.image.shape[:2], one.target, np.uint8))


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Any split as samples without truth: labels are 0 everywhere."""

    split: Split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Sample:
        image = self.split.image(index)
        return Sample(self.split.items[index].name, image, np.zeros(image.shape[:2], np.uint8))


def open_images(path: str | Path, *, split: SplitChoice = None, seed: int = 0) -> Dataset:
    """Open images without labels, to train an autoencoder on.

    Every image below `path` is taken, whatever its folder is called, except folders of masks; the arrays of .npz
    files are read too. `split` and `seed` are as in `open_dataset`.

    Raises:
        LayoutError: there is no image.
        UnreadableError: an image cannot be opened.
    """
    root = Path(path)
    if root.is_file() or any(root.glob("*.npz")):
        return open_dataset(root, split=split, seed=seed)
    folders = list_folders(root).folders
    groups: dict[SplitName | None, tuple[Item, ...]] = {}
    for folder in folders:
        if folder.role == "mask":
            continue
        items = tuple(Labelled(file, 0, str(file.relative_to(root).with_suffix(""))) for file in folder.files)
        groups[folder.split] = groups.get(folder.split, ()) + items
    if not any(groups.values()):
        raise LayoutError("holds no image", file=root, remedy="put images into it, in folders or not")
    layout = Layout("classify", {split: in_order(items) for split, items in groups.items()}, "split folders")
    assigned = assign(layout, split, seed=seed, root=root)
    # a table of classes is part of every dataset; nothing reads this one
    table = ClassTable((ClassSpec("image", "#808080"), ClassSpec("outside", "#000000")))
    by_name = {item.name: item for item in layout.items}
    size = image_size(next(iter(by_name.values())).image)
    train, val, test = (
        Split(
            name,
            tuple(by_name[key] for key in assigned.names[name]),
            table,
            "classify",
            *size[2:],
            root,
            assigned.sheet,
        )
        for name in SPLITS
    )
    notes = tuple(assigned.notes)
    return Dataset(root, "classify", table, size.bands, size.dtype, train, val, test, assigned.origin, notes)
