"""What the folders of a dataset mean: their role (images or masks) and their split, told from their names."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from pixelwise.data.items import natural_key
from pixelwise.errors import DataError, LayoutError, UnreadableError
from pixelwise.types import SplitName

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp"}
MAX_DEPTH = 6
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!")

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

_TO_MAP = {"scene", "scenes"}

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


class Listing(NamedTuple):
    """What lies below a folder.

    Attributes:
        folders: Folders that hold image files.
        others: All other files.
        deep: Folders too deep to be looked into.
        junk: Hidden files and folders, and what operating systems leave behind; passed over.
        loops: Links to folders that are read already; passed over.
        outside: Links that lead out of the folder; followed.
    """

    folders: list[Folder]
    others: list[Path]
    deep: list[Path]
    junk: int
    loops: list[DataError]
    outside: list[Path]


def list_folders(root: Path) -> Listing:
    """All folders below `root` that hold image files, and what else there is.

    Raises:
        LayoutError: `root` is missing or no folder.
        UnreadableError: a folder cannot be listed.
    """
    if not root.exists():
        raise LayoutError("no such folder", file=root, remedy="check the path")
    _refuse_archive(root)
    if not root.is_dir():
        raise LayoutError("is no folder", file=root, remedy="give the folder that holds images and masks")
    home = os.path.realpath(root)
    folders: list[Folder] = []
    others: list[Path] = []
    deep: list[Path] = []
    loops: list[DataError] = []
    outside: list[Path] = []
    junk = 0
    pending, seen = [root], dict[str, Path]()
    while pending:
        path = pending.pop()
        real = os.path.realpath(path)
        if real in seen:
            first = seen[real].relative_to(root).as_posix()
            found = f"a link to a folder that is read already ({first if first != '.' else 'DATA itself'})"
            loops.append(LayoutError(found, file=path, code="link-loop", remedy="remove the link"))
            continue
        seen[real] = path
        entries = _entries(path)
        inside, files = entries.folders, entries.files
        junk += entries.junk
        outside += [link for link in entries.links if not _inside(link, home)]
        parts = path.relative_to(root).parts
        if len(parts) < MAX_DEPTH:
            pending += sorted(inside, reverse=True, key=lambda folder: (folder.is_symlink(), folder.name))
        else:
            deep += inside
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        others += [file for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]
        if images:
            folders.append(_folder(path, parts, sorted(images, key=lambda file: natural_key(file.name))))
    ordered = sorted(folders, key=lambda folder: natural_key(str(folder.path)))
    return Listing(ordered, sorted(others), sorted(deep), junk, loops, sorted(outside))


def is_told_apart(folder: Folder) -> bool:
    """Whether the names above say that the files are neither images to learn from nor masks of classes."""
    return any((_OTHER | _TO_MAP) & set(_tokens(part)) for part in folder.rest)


def split_word(name: str) -> SplitName | None:
    """The split that a name like train, val_labels or mnist_test speaks of, if it is one alone."""
    found = {SPLIT_WORDS[token] for token in _tokens(name) if token in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def _refuse_archive(root: Path) -> None:
    if not root.is_file():
        return
    with root.open("rb") as stream:
        start = stream.read(265)
    if start.startswith(_ARCHIVES) or start[257:262] == b"ustar":
        raise LayoutError(
            "is an archive; archives are not opened",
            file=root,
            code="archive",
            remedy="unpack it first, and give the folder",
        )


class _Entries(NamedTuple):
    folders: list[Path]
    files: list[Path]
    links: list[Path]
    junk: int


def _entries(path: Path) -> _Entries:
    try:
        with os.scandir(path) as entries:
            every = list(entries)
    except OSError as error:
        raise UnreadableError(
            f"the folder cannot be listed: {error.strerror}",
            file=path,
            remedy="give yourself permission: chmod u+rx on the folder",
        ) from error
    found = [entry for entry in every if not _is_junk(entry.name)]
    folders = [path / entry.name for entry in found if _leads_to_a_folder(entry)]
    files = [path / entry.name for entry in found if not _leads_to_a_folder(entry)]
    links = [path / entry.name for entry in found if entry.is_symlink()]
    return _Entries(folders, files, links, len(every) - len(found))


def _leads_to_a_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; reading it says what is wrong
        return False


def _inside(link: Path, home: str) -> bool:
    return os.path.realpath(link).startswith(home.rstrip(os.sep) + os.sep)


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
