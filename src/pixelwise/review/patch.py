"""Corrections of masks as a file to read, to edit and to apply: regions with what they were and what they may become.

A patch is JSON with a closed, versioned schema. The shape of a region is written as run lengths within its box, row
by row, beginning with pixels outside (which may be 0): `[1, 2, 1]` in a box of two by two is its upper right and its
lower left pixel. `accept` says whether `apply_patch` takes the region over, `suggested` what it becomes: the name of a
class, or `ignore`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pixelwise.data.dataset import Dataset, Split
from pixelwise.data.items import Pair
from pixelwise.errors import DataError, OptionError, OutputError, UnreadableError, close_matches
from pixelwise.files import locked, write_bytes, write_json, write_text
from pixelwise.report.pictures import index_png
from pixelwise.types import IGNORE, Labels

VERSION = 1
NOTHING = "ignore"
"""What a region becomes that shall count nowhere."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Correction(_Closed):
    """One region.

    Attributes:
        rank: From 1, the most probable error.
        image: Name in the dataset.
        box: top, left, bottom, right; half-open.
        runs: Its pixels within the box, see above.
        given: The class it is labelled as.
        suggested: The class that it may be instead.
        score: What it was ranked by.
        accept: Whether it is to be corrected.
    """

    rank: int
    image: str
    box: tuple[int, int, int, int]
    runs: list[int]
    given: str
    suggested: str
    score: float
    accept: bool = False


class Patch(_Closed):
    """All regions of a dataset, ranked."""

    version: Literal[1] = 1
    dataset: str
    classes: list[str]
    regions: list[Correction]


@dataclass(frozen=True)
class Applied:
    """What `apply_patch` has written: masks in all, those that differ from the originals, regions and pixels."""

    masks: int
    changed: int
    regions: int
    pixels: int

    def as_dict(self) -> dict[str, int]:
        """Plain values, for `--json`."""
        return asdict(self)


def to_runs(shape: NDArray[np.bool_]) -> list[int]:
    """The run lengths of a shape [h, w].

    >>> to_runs(np.array([[False, True], [True, False]]))
    [1, 2, 1]
    """
    flat = shape.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs: list[int] = np.diff([0, *edges.tolist(), flat.size]).tolist()
    return [0, *runs] if flat.size and flat[0] else runs


def from_runs(runs: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The shape [h, w] of run lengths.

    Raises:
        DataError: a negative length, or a sum that is not h times w.

    >>> from_runs([1, 2, 1], (2, 2)).tolist()
    [[False, True], [True, False]]
    """
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise DataError(
            f"the run lengths add up to {sum(runs)}, the box has {size[0] * size[1]} pixels",
            remedy="take the region from the patch as it was written, or leave it out",
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, np.asarray(runs, np.int64)).reshape(size)


def write_patch(path: Path, patch: Patch) -> None:
    """Write a patch, one region after the other."""
    write_json(path, patch.model_dump(mode="json"))


def read_patch(path: str | Path) -> Patch:
    """Read a patch and check every field of it.

    Raises:
        UnreadableError: no such file.
        DataError: not JSON, an unknown field, or a value of the wrong kind; its place is named.
    """
    try:
        return Patch.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise UnreadableError("no such patch", file=path, remedy="give a patch.json") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
        if first["type"] in ("json_invalid", "missing"):
            raise DataError(
                f"is no whole patch: {place or 'the file'}: {first['msg']}",
                file=path,
                remedy="give the patch.json of `pixelwise review labels`",
            ) from error
        raise DataError(
            f"{place or 'the file'}: {first['msg']}",
            file=path,
            remedy="change nothing but `accept` (true or false) and `suggested` (a class name or ignore)",
        ) from error


def parse_ranks(text: str, known: Collection[int]) -> set[int]:
    """Ranks as a person writes them; `all` are all of `known`.

    Raises:
        OptionError: neither numbers and ranges of known ranks, nor `all` or `none`.

    >>> sorted(parse_ranks("1,2,5-7", range(1, 10)))
    [1, 2, 5, 6, 7]
    """
    if text in ("all", "none"):
        return set(known) if text == "all" else set()
    ranks: set[int] = set()
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"([0-9]{1,7})(?:-([0-9]{1,7}))?", part)
        wanted = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not wanted or any(rank not in known for rank in wanted):
            allowed = f"the patch has {min(known)} to {max(known)}" if known else "the patch has none"
            raise OptionError(
                f"--accept {text!r}: no regions {part!r}; {allowed}",
                remedy="write ranks such as 1,2,5-9, or all, or none",
            )
        ranks.update(wanted)
    return ranks


def accepting(patch: Patch, ranks: Collection[int]) -> Patch:
    """The patch with exactly the regions of these ranks accepted."""
    regions = [region.model_copy(update={"accept": region.rank in ranks}) for region in patch.regions]
    return patch.model_copy(update={"regions": regions})


def apply_patch(
    patch: Patch, data: Dataset, out: str | Path, *, progress: Callable[[int, int], None] | None = None
) -> Applied:
    """Write copies of all masks of `data`, corrected where the patch says so, and a classes.yaml that describes them.

    The copies lie below `out` as the masks lie below the dataset. They are index PNGs (255: ignore), whatever the
    originals are. The originals are never written to.

    Raises:
        DataError: a region of an unknown image or class, one that does not fit its mask, or one whose pixels are
            labelled otherwise than the patch says, because masks have changed since.
        OutputError: a copy would take the place of an original.
    """
    names = [spec.name for spec in data.classes]
    if patch.classes != names:
        raise DataError(
            f"the patch is for the classes {', '.join(patch.classes)}; the dataset has {', '.join(names)}",
            file=data.root,
            remedy="give the dataset that the patch was made for, and the same --classes",
        )
    by_image = _accepted(patch, data)
    targets = _targets(data, Path(out))
    for split in data.splits:  # all of the patch before anything is written
        for index, item in enumerate(split.items):
            if item.name in by_image:
                _corrected(split.labels(index), by_image[item.name], names, split, index)
    masks = changed = regions = pixels = 0
    with locked(out) as folder:
        document: dict[str, Any] = {"classes": [{"name": c.name, "color": c.color} for c in data.classes]}
        write_text(
            folder / "classes.yaml",
            yaml.safe_dump({**document, "ignore": [IGNORE]}, sort_keys=False, allow_unicode=True),
        )
        for split in data.splits:
            for index, item in enumerate(split.items):
                labels = split.labels(index)
                mine = by_image.get(item.name, [])
                corrected = _corrected(labels, mine, names, split, index)
                write_bytes(targets[item.name], index_png(corrected, data.classes))
                count = int((corrected != labels).sum())
                masks, pixels = masks + 1, pixels + count
                changed, regions = changed + (count > 0), regions + len(mine)
                if progress is not None:
                    progress(masks, len(targets))
    return Applied(masks, changed, regions, pixels)


def _accepted(patch: Patch, data: Dataset) -> dict[str, list[Correction]]:
    """The accepted regions of each image; regions of images that are not there are refused, accepted or not."""
    by_image: dict[str, list[Correction]] = {}
    known = {name for split in data.splits for name in split.names}
    for region in patch.regions:
        if region.image not in known:
            raise DataError(
                f"region {region.rank} is in {region.image!r}, which is not in the dataset",
                file=data.root,
                remedy=close_matches(region.image, sorted(known)[:100]),
            )
        if region.accept:
            by_image.setdefault(region.image, []).append(region)
    return by_image


def _targets(data: Dataset, out: Path) -> dict[str, Path]:
    """Where the copy of each image's mask goes."""
    targets: dict[str, Path] = {}
    originals = set()
    for item in (item for split in data.splits for item in split.items):
        if not isinstance(item, Pair):
            raise DataError(
                "its labels are not in a mask file of its own",
                file=item.image,
                remedy="correct the polygons or arrays where they come from; patches are for mask files",
            )
        inside = item.mask.is_relative_to(data.root)
        below = item.mask.relative_to(data.root) if inside else Path("masks") / item.mask.name
        targets[item.name] = (out / below).with_suffix(".png")
        originals |= {item.mask.resolve(), item.image.resolve()}
    if len(set(targets.values())) < len(targets) or any(t.resolve() in originals for t in targets.values()):
        raise OutputError(
            "copies of the masks would take the place of other files",
            file=out,
            remedy="choose a folder outside the dataset with -o",
        )
    return targets


def _corrected(
    labels: Labels, regions: Sequence[Correction], names: list[str], split: Split, index: int
) -> Labels:
    corrected = labels.copy()
    for region in regions:
        try:
            _correct(corrected, labels, region, names)
        except DataError as error:
            error.file = split.items[index].image
            raise
    return corrected


def _correct(corrected: Labels, labels: Labels, region: Correction, names: list[str]) -> None:
    top, left, bottom, right = region.box
    height, width = labels.shape
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise DataError(
            f"region {region.rank} has the box {list(region.box)}, its mask {height} x {width} pixels",
            remedy="give the dataset that the patch was made for",
        )
    allowed = {NOTHING: IGNORE} | {name: number for number, name in enumerate(names)}
    for name in (region.given, region.suggested):
        if name not in allowed:
            raise DataError(
                f"region {region.rank} names the class {name!r}", remedy=close_matches(name, allowed)
            )
    inside = from_runs(region.runs, (bottom - top, right - left))
    there = labels[top:bottom, left:right]
    other = int((there[inside] != allowed[region.given]).sum())
    if other:
        raise DataError(
            f"{other} pixels of region {region.rank} are not labelled {region.given} (any more)",
            remedy="look for label errors again: the masks have changed since the patch was written",
        )
    corrected[top:bottom, left:right][inside] = allowed[region.suggested]
