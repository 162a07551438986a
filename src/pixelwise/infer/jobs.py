"""Which image files are to be answered for, and what the results are called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.folders import IMAGE_SUFFIXES, list_folders
from pixelwise.data.read import image_size
from pixelwise.data.unused import by_suffix, unread
from pixelwise.errors import DataError, OutputError, UnreadableError


@dataclass(frozen=True)
class Job:
    """One image file and the name its results get: a path without suffix, below each result folder."""

    image: Path
    name: Path

    @property
    def label(self) -> str:
        """What tables call the image: its name, with the folders that keep it apart from others."""
        return self.name.with_name(self.image.name).as_posix()


def find_jobs(inputs: Sequence[Path], out: Path) -> list[Job]:
    """The images below `inputs`, without those below `out`, each with the name of its results.

    Raises:
        UnreadableError: an input is missing.
        DataError: no image found.
        OutputError: `out` contains an input, or two images would get one result.
    """
    images: dict[Path, None] = {}  # a set that keeps its order: a file given twice is mapped once
    target = out.resolve()
    for given in inputs:
        if not given.exists():
            raise UnreadableError("no such file or folder", file=given, remedy="check the path")
        if given.resolve().is_relative_to(target):
            raise OutputError(
                f"the output folder contains the input {given}",
                file=out,
                remedy="choose another folder with -o, such as -o predictions",
            )
        found = _images(given, target) if given.is_dir() else [given]
        images.update(dict.fromkeys(image.absolute() for image in found))
    if not images:
        others = passed_over(inputs, out)
        raise DataError(
            f"no image in {', '.join(str(given) for given in inputs) or 'no input'}"
            + (f", but {by_suffix(others)}, which are not read" if others else ""),
            remedy=f"give image files ({' '.join(sorted(IMAGE_SUFFIXES))}) or folders that contain some",
        )
    return _named(list(images))


def passed_over(inputs: Sequence[Path], out: Path) -> list[Path]:
    """Files in the folders among `inputs`, not below `out`, that may be images but are of a kind that is not read."""
    target = out.resolve()
    return [
        file
        for given in inputs
        if given.is_dir()
        for file in unread(list_folders(given).others)
        if not file.resolve().is_relative_to(target)
    ]


def of_one_size(jobs: Sequence[Job]) -> bool:
    """Whether all images have the same height and width, by their headers; those that cannot be read do not count."""
    first = None
    for job in jobs:
        try:
            size = image_size(job.image)[:2]
        except UnreadableError:
            continue
        first = first or size
        if size != first:
            return False
    return True


def _images(folder: Path, target: Path) -> list[Path]:
    images = [image for found in list_folders(folder)[0] for image in found.files]
    return [image for image in images if not image.resolve().is_relative_to(target)]


def _named(images: list[Path]) -> list[Job]:
    names = [Path(image.stem) for image in images]
    # Compared without case: on many disks A.png and a.png are one file.
    if len({str(name).casefold() for name in names}) < len(names):
        root = Path(os.path.commonpath([image.parent for image in images]))
        names = [image.relative_to(root).with_name(image.stem) for image in images]
    counts = Counter(str(name).casefold() for name in names)
    for image, name in zip(images, names, strict=True):
        if counts[str(name).casefold()] > 1:
            raise OutputError(
                f"more than one image would be written to {name}.png",
                file=image,
                remedy="rename one of them, or map them one after the other into two folders",
            )
    return [Job(image, name) for image, name in zip(images, names, strict=True)]
