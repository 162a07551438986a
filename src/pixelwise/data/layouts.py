"""Find the images of a dataset, what belongs to each, and the splits that its folders or lists give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pixelwise.data import arrays, scenes
from pixelwise.data.classes import ClassTable
from pixelwise.data.folders import IMAGE_WORDS, MASK_WORDS, Folder, Listing, is_told_apart, list_folders
from pixelwise.data.items import Item, Labelled, Pair, Window, in_order, natural_key
from pixelwise.data.lists import SplitLists, read_lists
from pixelwise.data.pairing import Named, Pairing, fold, lone, pair_up, split_by_suffix
from pixelwise.data.unused import by_suffix, passed_over, unread, with_partners
from pixelwise.errors import DataError, LayoutError
from pixelwise.types import SPLITS, SplitName

Task = Literal["segment", "classify"]
_WANTED = (
    "put images into images/ and masks of the same names into masks/ (for classification: one folder of "
    "images per class); train/, val/, test/ may lie above or below"
)


@dataclass
class Layout:
    """What was found in a folder: items by split (None where nothing says), decisions and problems."""

    task: Task
    groups: dict[SplitName | None, tuple[Item, ...]]
    origin: str = ""
    notes: list[str] = field(default_factory=list)
    problems: list[DataError] = field(default_factory=list)
    warnings: list[DataError] = field(default_factory=list)
    class_names: tuple[str, ...] = ()
    links: list[Path] = field(default_factory=list)  # that lead out of the folder

    @property
    def items(self) -> tuple[Item, ...]:
        """All items in natural order."""
        return in_order(item for group in self.groups.values() for item in group)


def find_pairs(root: str | Path, classes: str | Path | ClassTable | None = None) -> Layout:
    """Recognise the layout of a folder, or of one .npz file, without decoding an image.

    Where scenes are labelled by polygons, `classes` stands in for a classes.yaml that says what the polygons mean.

    Names are unique in the result: where two splits have the same stem, the split stands before it.

    Raises:
        LayoutError: missing, empty, or no layout can be made out; files that do not pair are in `problems`.
        UnreadableError: a folder cannot be listed.
    """
    root = Path(root)
    if root.suffix.lower() == ".npz" and root.is_file():
        return _array_layout([root])
    if scenes.has_scenes(root):
        return _scene_layout(root, classes)
    listing = list_folders(root)
    folders = listing.folders
    if not folders:
        files = [file for file in sorted(root.iterdir()) if file.suffix.lower() == ".npz"]
        if files:
            layout = _array_layout(files)
            _tell_unused(
                layout, root, listing._replace(others=[f for f in listing.others if f not in files]), []
            )
            return layout
        held = by_suffix(listing.others)
        raise LayoutError(f"holds no images{f' (only {held})' if held else ''}", file=root, remedy=_WANTED)
    layout, spare = _layout_of(root, listing)
    layout.links = listing.outside
    if listing.junk:
        layout.notes.append(
            f"passed over {listing.junk} hidden files and what operating systems leave behind"
        )
    _tell_unused(layout, root, listing, spare)
    layout.problems += listing.loops
    if not layout.items and not layout.problems:
        raise LayoutError(f"no image has a mask: {'; '.join(layout.notes)}", file=root, remedy=_WANTED)
    _make_names_unique(layout)
    return layout


def _layout_of(root: Path, listing: Listing) -> tuple[Layout, list[Folder]]:
    """The layout of folders of images, and the folders without a telling name that have no part in it."""
    folders = listing.folders
    notes: list[str] = []
    images = _preferred([folder for folder in folders if folder.role == "image"], IMAGE_WORDS, root, notes)
    masks = _preferred([folder for folder in folders if folder.role == "mask"], MASK_WORDS, root, notes)
    plain = [folder for folder in folders if folder.role is None]
    try:
        if masks:
            images = images or _plain_images(plain, root, notes)
            layout = _pair_layout(root, _files(images), _files(masks), notes)
        else:
            images = images or plain
            layout = _layout_without_mask_folders(root, images, notes)
    except LayoutError as error:
        if held := by_suffix(unread(listing.others)):
            raise LayoutError(
                f"{error.found} (and {held}, not read)", file=root, remedy=error.remedy
            ) from error
        raise
    taken = {folder.path for folder in images}
    return layout, [folder for folder in plain if folder.path not in taken]


def _tell_unused(layout: Layout, root: Path, listing: Listing, spare: list[Folder]) -> None:
    """A note on folders whose name says that they are something else; a warning on all else that is not used."""
    for folder in filter(is_told_apart, spare):
        layout.notes.append(f"left out {_shown(folder, root)}: {len(folder.files)} images")
    warning = passed_over(root, listing, [folder for folder in spare if not is_told_apart(folder)])
    layout.warnings += [warning] if warning is not None else []
    layout.problems = with_partners(layout.problems, listing.others, root)


def _scene_layout(root: Path, classes: str | Path | ClassTable | None) -> Layout:
    found = scenes.find_windows(root, classes)
    return Layout("segment", found.groups, found.origin, found.notes, found.problems)


def _files(folders: list[Folder]) -> list[tuple[SplitName | None, Named]]:
    return [
        (folder.split, Named(file, "/".join([*folder.rest, file.stem])))
        for folder in folders
        for file in folder.files
    ]


def _preferred(folders: list[Folder], words: Sequence[str], root: Path, notes: list[str]) -> list[Folder]:
    """The folders of one role; of several kinds (masks/, masks_rgb/) the plainest, and a note says so."""

    def rank(folder: Folder) -> tuple[int, str]:
        return words.index(folder.word) if folder.word in words else len(words), folder.word

    if not folders:
        return []
    best = min(rank(folder) for folder in folders)
    chosen = [folder for folder in folders if rank(folder) == best]
    dropped = sorted({_shown(folder, root) for folder in folders if rank(folder) != best})
    if dropped:
        used = ", ".join(sorted({_shown(folder, root) for folder in chosen}))
        notes.append(f"used {used}; left out {', '.join(dropped)}")
    return chosen


def _shown(folder: Folder, root: Path) -> str:
    return folder.path.relative_to(root).as_posix() + "/"


def _plain_images(plain: list[Folder], root: Path, notes: list[str]) -> list[Folder]:
    """Folders without a telling name as the images of the mask folders: train/ beside trainannot/."""
    if not plain:
        raise LayoutError("there are masks but no images", file=root, remedy=_WANTED)
    if any(folder.split for folder in plain):
        return [folder for folder in plain if folder.split]
    if len({folder.rest for folder in plain}) == 1:
        notes.append(f"took the files in {_shown(plain[0], root)} for the images")
        return [Folder(folder.path, folder.files, "image", None, ()) for folder in plain]
    return plain


def _layout_without_mask_folders(root: Path, folders: list[Folder], notes: list[str]) -> Layout:
    """Masks beside the images by suffix, or folders of images per class."""
    images: list[tuple[SplitName | None, Named]] = []
    masks: list[tuple[SplitName | None, Named]] = []
    for folder in folders:
        beside = split_by_suffix([named for _, named in _files([folder])])
        images += [(folder.split, named) for named in beside[0]]
        masks += [(folder.split, named) for named in beside[1]]
    if masks:
        return _pair_layout(root, images, masks, notes)
    if any(folder.role == "image" for folder in folders):
        where = ", ".join(_shown(folder, root) for folder in folders if folder.role == "image")
        raise LayoutError(f"there are images in {where} but no folder of masks", file=root, remedy=_WANTED)
    return _class_layout(root, folders)


def _class_layout(root: Path, folders: list[Folder]) -> Layout:
    """One folder per class, below split folders or without."""
    names = sorted({folder.rest[-1] for folder in folders if folder.rest}, key=natural_key)
    if len(names) < 2:
        where = ", ".join(_shown(folder, root) for folder in folders)
        raise LayoutError(f"there are images in {where} but no masks", file=root, remedy=_WANTED)
    groups: dict[SplitName | None, tuple[Item, ...]] = {}
    outside = [_shown(folder, root) for folder in folders if not folder.rest]
    for split in (*SPLITS, None):
        items = [
            Labelled(file, names.index(folder.rest[-1]), "/".join([*folder.rest, file.stem]))
            for folder in folders
            if folder.split == split and folder.rest
            for file in folder.files
        ]
        if items:
            groups[split] = in_order(items)
    layout = Layout("classify", groups, "folders" if any(groups) else "", class_names=tuple(names))
    layout.notes.append(f"one folder per class: {', '.join(names)}")
    if outside:
        layout.notes.append(f"left out images outside the class folders, in {', '.join(outside)}")
    return layout


def _array_layout(files: list[Path]) -> Layout:
    task, groups = arrays.find_rows(files)
    return Layout(task, groups, "file names" if any(groups) else "")


def _pair_layout(
    root: Path,
    images: list[tuple[SplitName | None, Named]],
    masks: list[tuple[SplitName | None, Named]],
    notes: list[str],
) -> Layout:
    """Pair within each split, then let the lists beside the folders assign what has no split."""
    pairings = {
        split: pair_up([n for s, n in images if s == split], [n for s, n in masks if s == split])
        for split in (*SPLITS, None)
    }
    layout = Layout("segment", {}, notes=notes)
    lists = read_lists(root) if not any(pairings[split].pairs for split in SPLITS) else SplitLists()
    if lists.names:
        _apply_lists(layout, pairings[None], lists, root)
        return layout
    some = any(pairing.pairs for pairing in pairings.values())
    for split, pairing in pairings.items():
        layout.problems += pairing.problems
        if pairing.lone_images and not pairing.pairs and not pairing.lone_masks and some:
            where = f"the {split} split" if split else "the images outside the split folders"
            notes.append(f"left out {where}: {len(pairing.lone_images)} images without any mask")
            continue
        layout.problems += lone(pairing.lone_images, pairing.lone_masks)
        if pairing.pairs:
            layout.groups[split] = in_order(pairing.pairs)
    if any(layout.groups):
        layout.origin = "folders"
    return layout


def _apply_lists(layout: Layout, pairing: Pairing, lists: SplitLists, root: Path) -> None:
    """Assign pairs to splits by lists of names; files that no list names are left out."""
    pairs = {fold(pair.name): pair for pair in pairing.pairs}
    stems = Counter(key.rpartition("/")[2] for key in pairs)
    by_stem = {stem: pair for key, pair in pairs.items() if stems[stem := key.rpartition("/")[2]] == 1}
    alone = {file.key.rpartition("/")[2]: file for file in pairing.lone_images}
    layout.problems += pairing.problems
    used: set[str] = set()
    for split, (file, names) in lists.names.items():
        found: list[Pair] = []
        missing, unmasked = [], []
        for name in names:
            pair = pairs.get(fold(name)) or by_stem.get(fold(name).rpartition("/")[2])
            if pair is not None:
                found.append(pair)
            elif (image := alone.get(fold(name).rpartition("/")[2])) is not None:
                unmasked.append(image)
            else:
                missing.append(name)
        if missing:
            layout.problems.append(
                LayoutError(
                    f"lists {len(missing)} names that are not in the dataset: {', '.join(missing)}",
                    file=file,
                    remedy="take them out of the list, or add the images and masks",
                )
            )
        if unmasked and not found:
            layout.notes.append(f"left out the {split} split: {len(unmasked)} images without any mask")
        else:
            layout.problems += lone(unmasked, [])
        used |= {pair.name for pair in found}
        if found:
            layout.groups[split] = in_order(dict.fromkeys(found))
    unlisted = [pair for pair in pairing.pairs if pair.name not in used]
    _place_unlisted(layout, unlisted, train_is_listed="train" in lists.names)
    layout.origin = "lists " + ", ".join(
        file.relative_to(root).as_posix() for file, _ in lists.names.values()
    )
    lonely = len(pairing.lone_images) + len(pairing.lone_masks)
    if lonely:
        layout.notes.append(f"{lonely} files have no partner; of these only listed ones count")


def _place_unlisted(layout: Layout, pairs: list[Pair], *, train_is_listed: bool) -> None:
    """Pairs in no list belong to train where no list gives train, and are left out otherwise."""
    if not pairs:
        return
    if not train_is_listed:
        layout.groups["train"] = in_order(pairs)
        layout.notes.append(f"train: the {len(pairs)} pairs that no list names")
    else:
        layout.notes.append(f"left out {len(pairs)} pairs that no list names")


def _make_names_unique(layout: Layout) -> None:
    """Put the split before every name where two splits share one."""
    names = [fold(item.name) for item in layout.items]
    if len(set(names)) == len(names):
        return
    layout.groups = {
        split: tuple(_renamed(item, f"{split}/{item.name}" if split else item.name) for item in group)
        for split, group in layout.groups.items()
    }


def _renamed(item: Item, name: str) -> Item:
    if isinstance(item, Pair):
        return Pair(item.image, item.mask, name)
    if isinstance(item, Labelled):
        return Labelled(item.image, item.target, name)
    if isinstance(item, Window):
        return replace(item, name=name)
    return item
