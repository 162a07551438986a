"""Pair image and mask files by their names, never by their order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.data.items import Pair
from pixelwise.errors import DataError, LayoutError

_MASK_AFFIX = re.compile(
    r"^(?:masks?|labels?|gt|seg|annotation)[_\-. ]+|"
    r"[_\-. ]+(?:masks?|p|l|labels?|gt|gtfine|seg|segmentation|annotations?|annot|ann|labeltrainids)$",
    re.IGNORECASE,
)
_IMAGE_AFFIX = re.compile(
    r"^(?:images?|img|photo)[_\-. ]+|[_\-. ]+(?:images?|img|sat|rgb|leftimg8bit|0000)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Named:
    """A file and its name inside the dataset: the folders that mean nothing, and the stem."""

    file: Path
    name: str

    @property
    def key(self) -> str:
        """The name without regard to case and Unicode form, as some file systems compare it."""
        return fold(self.name)


@dataclass
class Pairing:
    """Pairs, the files left alone, and the names that mean more than one file."""

    pairs: list[Pair] = field(default_factory=list)
    lone_images: list[Named] = field(default_factory=list)
    lone_masks: list[Named] = field(default_factory=list)
    problems: list[LayoutError] = field(default_factory=list)


def fold(name: str) -> str:
    r"""`name` without regard to case and Unicode form.

    >>> fold("E\u0301TE") == fold("\u00c9te")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def bare(name: str) -> str:
    """`name` folded and without `_mask`, `_sat` and the like, by which images and masks may differ.

    >>> bare("7_Mask") == bare("7_sat")
    True
    """
    return _bare_image(_bare_mask(fold(name)))


def pair_up(images: Iterable[Named], masks: Iterable[Named]) -> Pairing:
    """Pair by equal names first, then by names without `_mask`, `_P` and the like."""
    result = Pairing()
    left_images, twice_images = _by_key(images, "images", result)
    left_masks, twice_masks = _by_key(masks, "masks", result)
    # What cannot be told apart is reported once; its partner is not missing.
    for key in twice_images:
        left_masks.pop(key, None)
    for key in twice_masks:
        left_images.pop(key, None)
    for image_name, mask_name in ((_as_it_is, _as_it_is), (_as_it_is, _bare_mask), (_bare_image, _bare_mask)):
        by_name = {image_name(key): key for key in left_images}
        for key in list(left_masks):
            partner = by_name.pop(mask_name(key), None)
            if partner is not None:
                image, mask = left_images.pop(partner), left_masks.pop(key)
                result.pairs.append(Pair(image.file, mask.file, image.name))
    result.lone_images += left_images.values()
    result.lone_masks += left_masks.values()
    return result


def split_by_suffix(files: Sequence[Named]) -> tuple[list[Named], list[Named]]:
    """Images and masks of one folder that may hold both, as 1_sat.jpg and 1_mask.png."""
    keys = {_bare_image(file.key) for file in files if _bare_mask(file.key) == file.key}
    masks = [file for file in files if _bare_mask(file.key) != file.key and _bare_mask(file.key) in keys]
    return [file for file in files if file not in masks], masks


def lone(images: list[Named], masks: list[Named]) -> list[DataError]:
    """The problem of each file that has no partner."""
    problems: list[DataError] = [
        LayoutError(
            "this image has no mask",
            file=image.file,
            code="lone-image",
            remedy=f"add a mask named {image.file.stem}.png beside the other masks, or remove the image",
        )
        for image in images
    ]
    problems += [
        LayoutError(
            "this mask has no image",
            file=mask.file,
            code="lone-mask",
            remedy=f"add an image named {mask.file.stem} beside the other images, or remove the mask",
        )
        for mask in masks
    ]
    return problems


def _by_key(files: Iterable[Named], what: str, result: Pairing) -> tuple[dict[str, Named], set[str]]:
    groups: dict[str, list[Named]] = {}
    for file in files:
        groups.setdefault(file.key, []).append(file)
    twice = {key for key, group in groups.items() if len(group) > 1}
    for key in sorted(twice):
        group = groups[key]
        names = ", ".join(file.file.name for file in group)
        same = len({file.name for file in group}) == 1
        reason = "have the same stem" if same else "differ only by case or Unicode form"
        result.problems.append(
            LayoutError(
                f"ambiguous {what}: {names} {reason}",
                file=group[0].file,
                code="name-clash",
                remedy="rename all but one, together with their partners, or remove them",
            )
        )
    return {key: group[0] for key, group in groups.items() if key not in twice}, twice


def _as_it_is(key: str) -> str:
    return key


def _bare_mask(key: str) -> str:
    return _without(_MASK_AFFIX, key)


def _bare_image(key: str) -> str:
    return _without(_IMAGE_AFFIX, key)


def _without(affix: re.Pattern[str], key: str) -> str:
    """The key with the affixes of its last part taken away, as long as something is left."""
    folder, slash, stem = key.rpartition("/")
    while (shorter := affix.sub("", stem)) and shorter != stem:
        stem = shorter
    return folder + slash + stem
