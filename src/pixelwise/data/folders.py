"""What the folders of a dataset mean: their role (images or masks) and their split, told from their names."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pixelwise.data.items import natural_key
from pixelwise.errors import LayoutError, UnreadableError
from pixelwise.types import SplitName

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp"}
_MAX_DEPTH = 6

# In order of preference, where a dataset has several.
IMAGE_WORDS = ("images", "image", "imgs", "img", "jpegimages", "imagery", "photos", "photo", "pictures",
               "inputs", "input", "leftimg8bit")  # fmt: skip
MASK_WORDS = ("masks", "mask", "labels", "label", "annotations", "annotation", "segmentationclass",
              "annots", "annot", "anns", "ann", "gtfine", "groundtruth", "truth", "gt", "gts", "targets",
              "target", "segmentations", "segmentation", "seg")  # fmt: skip
SPLIT_WORDS: dict[str, SplitName] = {
    "train": "train", "training": "train", "tr": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "ts": "test",
}  # fmt: skip
_NEUTRAL = {"dir", "folder", "data", "set"}
_OTHER = {"object", "objects", "instance", "instances", "panoptic", "depth", "unlabelled", "unlabeled",
          "predict", "prediction", "predictions", "pred", "overlay", "overlays", "preview",
          "previews"}  # fmt: skip

Role = Literal["image", "mask"]


@dataclass(frozen=True)
class Folder:
    """A folder that holds image files, and what its path below the dataset says.

    `word` is what gave the role: a known word alone (masks), or all of a name that says more (masks_rgb).
    """

    path: Path
    files: tuple[Path, ...]
    role: Role | None
    split: SplitName | None
    rest: tuple[str, ...]
    word: str = ""


@dataclass(frozen=True)
class _Meaning:
    role: Role | None
    split: SplitName | None
    word: str = ""


def list_folders(root: Path) -> tuple[list[Folder], dict[str, int]]:
    """All folders below `root` that hold image files, and how many other files there are by suffix.

    Hidden files and folders, and what operating systems leave behind, are passed over.

    Raises:
        LayoutError: `root` is missing or no folder.
        UnreadableError: a folder cannot be listed.
    """
    if not root.exists():
        raise LayoutError("no such folder", file=root, remedy="check the path")
    if not root.is_dir():
        raise LayoutError("is no folder", file=root, remedy="give the folder that holds images and masks")
    folders: list[Folder] = []
    others: dict[str, int] = {}
    pending, seen = [root], set[str]()
    while pending:
        path = pending.pop()
        real = os.path.realpath(path)
        if real in seen:  # a link back to a folder above
            continue
        seen.add(real)
        inside, files = _entries(path)
        parts = path.relative_to(root).parts
        if len(parts) < _MAX_DEPTH:
            pending += inside
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        for file in files:
            if file.suffix.lower() not in IMAGE_SUFFIXES:
                others[file.suffix.lower()] = others.get(file.suffix.lower(), 0) + 1
        if images:
            folders.append(_folder(path, parts, sorted(images, key=lambda file: natural_key(file.name))))
    return sorted(folders, key=lambda folder: natural_key(str(folder.path))), others


def split_word(name: str) -> SplitName | None:
    """The split that a name like train, val_labels or mnist_test speaks of, if it is one alone."""
    found = {SPLIT_WORDS[token] for token in _tokens(name) if token in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def _entries(path: Path) -> tuple[list[Path], list[Path]]:
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not _is_junk(entry.name)]
            folders = [path / entry.name for entry in found if entry.is_dir()]
            files = [path / entry.name for entry in found if not entry.is_dir()]
    except OSError as error:
        raise UnreadableError(
            f"the folder cannot be listed: {error.strerror}",
            file=path,
            remedy="give yourself permission: chmod u+rx on the folder",
        ) from error
    return folders, files


def _is_junk(name: str) -> bool:
    return name.startswith((".", "__MACOSX")) or name.lower() in ("thumbs.db", "desktop.ini", "ehthumbs.db")


def _folder(path: Path, parts: tuple[str, ...], files: list[Path]) -> Folder:
    meanings = [(part, _meaning(part)) for part in parts]
    roles = [meaning for _, meaning in meanings if meaning is not None and meaning.role is not None]
    splits = [meaning.split for _, meaning in meanings if meaning is not None and meaning.split is not None]
    rest = tuple(part for part, meaning in meanings if meaning is None)
    last = roles[-1] if roles else _Meaning(None, None)
    return Folder(path, tuple(files), last.role, splits[-1] if splits else None, rest, last.word)


def _meaning(name: str) -> _Meaning | None:
    """Role and split of one folder name, or None where it says neither."""
    joined = re.sub(r"[^a-z0-9]", "", name.lower())
    whole = _word(joined, joined)
    if whole is not None:
        return whole
    if joined.endswith("annot") and joined.removesuffix("annot") in SPLIT_WORDS:  # CamVid: trainannot
        return _Meaning("mask", SPLIT_WORDS[joined.removesuffix("annot")], "annot")
    tokens = [token for token in _tokens(name) if token not in _NEUTRAL]
    known = [meaning for token in tokens if (meaning := _word(token, token)) is not None]
    roles = [meaning for meaning in known if meaning.role is not None]
    splits = [meaning.split for meaning in known if meaning.split is not None]
    if len(known) == len(tokens) and len(roles) <= 1 and len(splits) <= 1 and known:
        split = splits[0] if splits else None
        return _Meaning(roles[0].role, split, roles[0].word) if roles else _Meaning(None, split)
    if len(roles) == 1 and not splits and not _OTHER & set(tokens):  # masks_rgb
        return _Meaning(roles[0].role, None, "_".join(tokens))
    return None


def _word(token: str, word: str) -> _Meaning | None:
    if token in IMAGE_WORDS:
        return _Meaning("image", None, word)
    if token in MASK_WORDS:
        return _Meaning("mask", None, word)
    if token in SPLIT_WORDS:
        return _Meaning(None, SPLIT_WORDS[token])
    return None


def _tokens(name: str) -> list[str]:
    """Words of a name: trainLabels_v2 gives train, labels, v, 2."""
    return [token.lower() for token in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]
