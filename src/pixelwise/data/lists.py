"""Text files that list the images of each split: train.txt, val.txt, test.txt."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.data.folders import IMAGE_SUFFIXES, SPLIT_WORDS
from pixelwise.errors import LayoutError, UnreadableError
from pixelwise.types import SplitName

_PLACES = (".", "ImageSets/Segmentation", "ImageSets", "splits", "split")


@dataclass
class SplitLists:
    """For each split its list file and the names in it, without image suffixes."""

    names: dict[SplitName, tuple[Path, list[str]]] = field(default_factory=dict)


def read_lists(root: Path) -> SplitLists:
    """Read the lists beside the folders of a dataset, or below ImageSets/Segmentation as VOC has them.

    Raises:
        LayoutError: two files list the same split, or one name is in two splits.
        UnreadableError: a list cannot be read.
    """
    for place in _PLACES:
        lists = SplitLists()
        folder = root / place
        # A named pipe would block for ever.
        files = sorted(file for file in folder.glob("*.txt") if file.is_file()) if folder.is_dir() else []
        for file in files:
            split = SPLIT_WORDS.get(file.stem.lower())
            if split is None:
                continue
            if split in lists.names:
                other = lists.names[split][0].name
                raise LayoutError(
                    f"{file.name} and {other} both list the {split} split", file=file, remedy="keep one"
                )
            lists.names[split] = (file, _names(file))
        if lists.names:
            _refuse_overlap(lists)
            return lists
    return SplitLists()


def stem_of(entry: str) -> str:
    """The name in a path: folders before it are kept, an image suffix is not.

    >>> stem_of("images/tile_1.5.png")
    'images/tile_1.5'
    """
    entry = entry.replace("\\", "/")
    return str(Path(entry).with_suffix("")) if Path(entry).suffix.lower() in IMAGE_SUFFIXES else entry


def _names(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(
            "the list cannot be read as text", file=file, remedy="save it as UTF-8"
        ) from error
    return [stem_of(_first(line.strip())) for line in lines if line.strip()]


def _first(line: str) -> str:
    """The image of a line that names image and mask; a name may hold spaces of its own."""
    head, _, rest = line.partition(" ")
    two_files = Path(head).suffix.lower() in IMAGE_SUFFIXES and rest.strip()
    return head if two_files else line


def _refuse_overlap(lists: SplitLists) -> None:
    home: dict[str, Path] = {}
    for file, names in lists.names.values():
        for name in names:
            if home.setdefault(name, file) != file:
                raise LayoutError(
                    f"{name!r} is listed in {home[name].name} as well",
                    file=file,
                    remedy="keep it in one list",
                )
