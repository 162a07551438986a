"""Look at one image and its mask: what they hold, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data import alignment
from pixelwise.data.alignment import Outlines
from pixelwise.data.checkreport import Finding, Level
from pixelwise.data.classes import ClassTable
from pixelwise.data.dataset import Split, measured, raw_mask, size_mismatch
from pixelwise.data.displaced import Peak, find_peak
from pixelwise.data.headers import Header
from pixelwise.data.items import Item, Pair, Row, Window
from pixelwise.data.layouts import Task
from pixelwise.data.leakwatch import LeakWatch
from pixelwise.data.read import RawMask, read_header
from pixelwise.data.smooth import Smooth, find_smooth
from pixelwise.data.specks import Specks, find_specks
from pixelwise.data.stats import Block, ClassCounts, blocks, count_labels
from pixelwise.data.traits import Trait
from pixelwise.errors import DataError, MaskError, PixelwiseError, UnreadableError
from pixelwise.geo.scenes import lost_pixels
from pixelwise.types import IGNORE, Image, Labels, SplitName

_SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
}
Empty = NDArray[np.bool_] | None
_SAMPLE = 4096  # pixels of an image that the histograms are made of


@dataclass
class Looked:
    """What one item holds.

    Attributes:
        findings: What is wrong with it.
        traits: What is said of all files together, with the file.
        size: Height and width of the image; None where it cannot be read.
        kind: Bands and dtype of the image.
        header: Header of an image in a file of its own.
        without_data: Pixels of the image that count nowhere, by the reason.
        blocks: For the mean and deviation, where `measure` was asked for.
        sample: Some of its pixels [n, C], where `measure` was asked for.
        digest: SHA-256 of the image as stored.
        counts: Pixels of each class.
        outlines: Where image and labels have edges.
        peak: Where the labels would fit those of the image best.
        specks: Holes of unlabelled pixels in its labels.
        smooth: Rims of values that were mixed at the borders of its mask.
        watch: What the search for near duplicates remembers of the image.
    """

    item: Item
    split: SplitName
    findings: list[Finding] = field(default_factory=list)
    traits: list[tuple[Trait, Path]] = field(default_factory=list)
    size: tuple[int, int] | None = None
    kind: tuple[int, str] | None = None
    header: Header | None = None
    without_data: dict[str, int] = field(default_factory=dict)
    blocks: Sequence[Block] = ()
    sample: NDArray[Any] | None = None
    digest: bytes | None = None
    counts: ClassCounts | None = None
    outlines: Outlines | None = None
    peak: Peak | None = None
    specks: Specks | None = None
    smooth: Smooth | None = None
    watch: LeakWatch = field(default_factory=LeakWatch)

    def add(self, problem: PixelwiseError, level: Level = "error") -> None:
        """Keep a finding."""
        self.findings.append(Finding(level, problem))


def look(item: Item, split: SplitName, table: ClassTable | None, task: Task, *, measure: bool) -> Looked:
    """Read image and mask of one item, each error being one finding; nothing of ours is raised."""
    seen = Looked(item, split)
    image: Image | None = None
    try:
        image, empty = _look_at_image(seen, measure=measure)
        if task == "classify":
            _count_target(seen, table)
        else:
            _look_at_mask(seen, image, empty, table)
    except PixelwiseError as error:
        seen.add(error)
    except MemoryError:
        file = item.image if image is None or not isinstance(item, Pair) else item.mask
        seen.add(UnreadableError("does not fit in memory", file=file, remedy="cut it into tiles"))
    return seen


def _look_at_image(seen: Looked, *, measure: bool) -> tuple[Image | None, Empty]:
    item = seen.item
    try:
        if not isinstance(item, Row | Window):
            seen.header = read_header(item.image)
            _notice(seen, seen.header, item.image, "alpha")
        image, empty = measured(item)
        seen.digest = _digest(item, image)
        if empty is not None:
            _count_empty(seen, empty)
    except DataError as error:
        seen.add(error)
        return None, None
    seen.size = image.shape[0], image.shape[1]
    seen.kind = image.shape[2], str(image.dtype)
    seen.watch.add(item, seen.split, image)
    pixels = image.reshape(-1, image.shape[2])
    if len(pixels) > 1 and _constant(pixels) and not isinstance(item, Window):
        seen.traits.append(("constant", item.image))
    if measure:
        seen.blocks = blocks(image, empty)
        pixels = pixels if empty is None else image[~empty]
        seen.sample = pixels[:: max(1, len(pixels) // _SAMPLE)].copy()
    return image, empty


def _count_empty(seen: Looked, empty: NDArray[np.bool_]) -> None:
    item, count = seen.item, int(empty.sum())
    lost = lost_pixels(item.image, item.box) if isinstance(item, Window) and count else 0
    for why, pixels in (("as declared", count - lost), ("NaN, which is not declared", lost)):
        if pixels:
            seen.without_data[why] = pixels


def _look_at_mask(seen: Looked, image: Image | None, empty: Empty, table: ClassTable | None) -> None:
    item = seen.item
    file = item.mask if isinstance(item, Pair) else item.image
    mask = raw_mask(item)
    if isinstance(item, Pair):
        _notice(seen, header := read_header(item.mask), item.mask, "mask alpha")
        if seen.digest is not None and _same_bytes(item, seen.digest):
            remedy = "put the mask in its place"
            seen.add(MaskError("the mask is a copy of its image", file=file, code="mask-copy", remedy=remedy))
            return
    if image is not None and image.shape[:2] != mask.values.shape[:2]:
        seen.add(size_mismatch(item, image.shape[:2], mask.values.shape[:2]))
        image = empty = None
    elif isinstance(item, Pair) and seen.header is not None and _turned_alone(seen.header, header):
        seen.traits.append(("mask upright", item.mask))
    if table is not None:
        _look_at_labels(seen, image, empty, mask, table, file)


def _look_at_labels(
    seen: Looked, image: Image | None, empty: Empty, mask: RawMask, table: ClassTable, file: Path
) -> None:
    labels = drawn = table.to_labels(mask, file)
    if empty is not None:
        labels = drawn.copy()
        labels[empty] = IGNORE
    seen.counts = counts = count_labels(labels, len(table.classes))
    if counts.ignored == labels.size:
        remedy = "remove image and mask, or label it"
        problem = MaskError(
            "every pixel is ignored", file=file, code="mask-ignored", count=labels.size, remedy=remedy
        )
        seen.add(problem, "warning")
    elif np.count_nonzero(counts.pixels) == 1:
        seen.traits.append(("one class", file))
    for text in table.contradictions(mask):
        remedy = "if the palette is right, write palette: colors into classes.yaml"
        problem = MaskError(
            f"palette and classes differ: {text}", file=file, code="mask-palette", remedy=remedy
        )
        seen.add(problem, "warning")
    if isinstance(seen.item, Pair):
        _look_for_specks(seen, drawn, table, counts)  # what the image lacks is no hole of the mask
        seen.smooth = find_smooth(mask.values) if mask.values.ndim == 2 else None
    if image is not None and isinstance(seen.item, Pair):
        seen.outlines = alignment.outlines(image, labels)
        seen.peak = find_peak(seen.outlines) if seen.outlines is not None else None


def _look_for_specks(seen: Looked, labels: Labels, table: ClassTable, counts: ClassCounts) -> None:
    """Holes of unlabelled pixels; only where there are such pixels at all, because it takes some time."""
    there = {index for index in table.unlabelled if index != IGNORE and counts.pixels[index]}
    if counts.ignored:
        there.add(IGNORE)
    seen.specks = find_specks(labels, there) if there else None


def _count_target(seen: Looked, table: ClassTable | None) -> None:
    if table is None:
        return
    probe = Split(seen.split, (seen.item,), table, "classify", 0, "", Path())
    counted = np.bincount(probe.targets, minlength=len(table.classes)).astype(np.int64)
    seen.counts = ClassCounts(counted, 0)


def _notice(seen: Looked, header: Header, file: Path, alpha: Trait) -> None:
    if header.orientation not in (0, 1) and alpha == "alpha":
        seen.traits.append(("rotated", file))
    if header.alpha:
        seen.traits.append((alpha, file))
    if header.white and alpha == "alpha":
        seen.traits.append(("white", file))
    if file.suffix.lower() not in _SUFFIXES[header.format]:
        seen.traits.append(("misnamed", file))


def _turned_alone(image: Header, mask: Header) -> bool:
    """Whether the tags turn image and mask unlike each other, and the sizes do not tell whether that is right."""
    turns = [max(1, header.orientation) if header.orientation <= 8 else 1 for header in (image, mask)]
    return turns[0] != turns[1] and (image.height, image.width) == (mask.height, mask.width)


def _constant(pixels: NDArray[Any]) -> bool:
    first = pixels[0]
    return bool((pixels[::997] == first).all() and (pixels == first).all())


def _digest(item: Item, image: Image) -> bytes | None:
    if isinstance(item, Row | Window):
        # Two windows without data are no copies.
        return hashlib.sha256(image.tobytes()).digest() if isinstance(item, Row) or image.any() else None
    return _file_digest(item.image)


def _file_digest(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        found = f"cannot be read: {error.strerror}"
        raise UnreadableError(found, file=file, remedy="leave the folder alone and run again") from error


def _same_bytes(pair: Pair, digest: bytes) -> bool:
    try:
        if pair.image.stat().st_size != pair.mask.stat().st_size:
            return False
    except OSError:
        return False  # it has vanished since it was read
    return _file_digest(pair.mask) == digest


def of_rows(items: Sequence[Item]) -> bool:
    """Whether items share files that one thread at a time may read."""
    return any(isinstance(item, Row | Window) for item in items)
