"""Look at every file of a dataset once and report all that is wrong, with remedies."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pixelwise.data.arrays import load_arrays
from pixelwise.data.assign import Assigned, SplitChoice, assign
from pixelwise.data.checkreport import CheckReport, ClassShare, Finding, Level, render
from pixelwise.data.classes import ClassTable
from pixelwise.data.dataset import Split, raw_mask, size_mismatch
from pixelwise.data.discover import Discovery
from pixelwise.data.headers import Header
from pixelwise.data.items import Item, Pair, Row, Window
from pixelwise.data.layouts import Layout, find_pairs
from pixelwise.data.read import RawMask, read_header, read_image
from pixelwise.data.scenes import window_image
from pixelwise.data.stats import MOST_IMAGES, BandMoments, count_labels
from pixelwise.data.tables import choose_table, given_table, reading_palettes
from pixelwise.errors import ClassesError, DataError, MaskError, PixelwiseError
from pixelwise.types import SPLITS, Image, Normalization, SplitName

__all__ = ["CheckReport", "Finding", "check_dataset", "render"]


def check_dataset(
    path: str | Path,
    *,
    classes: str | Path | ClassTable | None = None,
    split: SplitChoice = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Read every file of a dataset and report its contents and all findings; options as `open_dataset`.

    Raises:
        LayoutError: missing, empty, or no layout can be made out.
        UnreadableError: a folder cannot be listed.
    """
    root = Path(path)
    layout = find_pairs(root, classes)
    examiner = _Examiner(layout, [Finding("error", problem) for problem in layout.problems])
    examiner.find_classes(root, classes)
    assigned = assign(layout, split, seed=0, root=root)
    home = {name: part for part in SPLITS for name in assigned.names[part]}
    items = [item for item in layout.items if item.name in home]
    measured = _measured(items, home)
    for number, item in enumerate(items):
        examiner.examine(item, home[item.name], measure=item.name in measured)
        if progress is not None:
            progress(number + 1, len(items))
    examiner.compare()
    return examiner.report(root, assigned)


def _measured(items: Sequence[Item], home: dict[str, SplitName]) -> set[str]:
    """The images that the normalisation is taken from: as `stats.normalization` has them, of train."""
    train = tuple(item for item in items if home[item.name] == "train") or tuple(items)
    probe = Split("train", train, ClassTable(()), "segment", 0, "", Path())
    return set(probe.evenly(MOST_IMAGES).names)


class _Examiner:
    """Gathers counts and findings item by item."""

    def __init__(self, layout: Layout, findings: list[Finding]) -> None:
        self.layout = layout
        self.findings = findings
        self.notes: list[str] = []
        self.table: ClassTable | None = None
        self.moments: dict[tuple[int, str], BandMoments] = {}
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.kinds: dict[tuple[int, str], list[Path]] = {}
        self.pixels = np.zeros(0, np.int64)
        self.images = np.zeros(0, np.int64)
        self.in_train = np.zeros(0, np.int64)
        self.ignored = 0
        self.rotated: list[str] = []
        self.alpha: list[str] = []
        self.copies: dict[bytes, dict[SplitName, list[Path]]] = {}

    def add(self, problem: PixelwiseError, level: Level = "error") -> None:
        self.findings.append(Finding(level, problem))

    def find_classes(self, root: Path, classes: str | Path | ClassTable | None) -> None:
        """Settle the class table; where that fails, the rest of the check goes on without."""
        try:
            if self.layout.task == "classify":
                self.table, notes = choose_table(self.layout, root, classes)
            else:
                self.table, notes = given_table(root, classes)
                if self.table is None:
                    self.table, note = self._discovered()
                    notes = [note]
                else:
                    self.table = reading_palettes(self.table, self.layout)
            self.notes += notes
        except DataError as error:
            self.add(error)
        count = len(self.table.classes) if self.table is not None else 0
        self.pixels, self.images, self.in_train = (np.zeros(count, np.int64) for _ in range(3))

    def _discovered(self) -> tuple[ClassTable, str]:
        """Classes from the masks that can be read; the others are reported when they are examined."""
        discovery = Discovery()
        for item in self.layout.items:
            try:
                discovery.add(item.mask if isinstance(item, Pair) else item.image, raw_mask(item))
            except DataError:
                continue
        if not discovery.seen:
            raise ClassesError("no mask can be read, so no class is known", remedy="mend the masks first")
        return discovery.table()

    def examine(self, item: Item, split: SplitName, *, measure: bool) -> None:
        """Read image and mask of one item, each error being one finding."""
        image = self._examine_image(item, split, measure=measure)
        if self.layout.task == "classify":
            if self.table is not None:
                probe = Split(split, (item,), self.table, "classify", 0, "", Path())
                self._count(np.bincount(probe.targets, minlength=len(self.table.classes)), split)
            return
        try:
            mask = raw_mask(item)
        except DataError as error:
            self.add(error)
            return
        if image is not None and image.shape[:2] != mask.values.shape[:2]:
            self.add(size_mismatch(item, image.shape[:2], mask.values.shape[:2]))
        if self.table is not None:
            self._examine_labels(item, mask, self.table, split)

    def _examine_image(self, item: Item, split: SplitName, *, measure: bool) -> Image | None:
        try:
            if isinstance(item, Row):
                image: Image = load_arrays(item.image)[0][item.index]
                self._remember(image.tobytes(), item, split)
            elif isinstance(item, Window):
                image = window_image(item)
                if image.any():  # two windows without data are no copies
                    self._remember(image.tobytes(), item, split)
            else:
                self._notice(item, read_header(item.image))
                image = read_image(item.image)
                self._remember(item.image.read_bytes(), item, split)
        except DataError as error:
            self.add(error)
            return None
        self.sizes[image.shape[0], image.shape[1]] += 1
        kind = (image.shape[2], str(image.dtype))
        self.kinds.setdefault(kind, []).append(item.image)
        if measure:
            self.moments.setdefault(kind, BandMoments()).add(image)
        return image

    def _notice(self, item: Item, header: Header) -> None:
        if header.orientation not in (0, 1):
            self.rotated.append(item.image.name)
        if header.alpha:
            self.alpha.append(item.image.name)

    def _remember(self, data: bytes, item: Item, split: SplitName) -> None:
        where = self.copies.setdefault(hashlib.sha256(data).digest(), {})
        where.setdefault(split, []).append(item.image)
        if isinstance(item, Pair) and item.mask.exists() and item.mask.read_bytes() == data:
            remedy = "put the mask in its place"
            self.add(MaskError("the mask is a copy of its image", file=item.mask, remedy=remedy))

    def _examine_labels(self, item: Item, mask: RawMask, table: ClassTable, split: SplitName) -> None:
        file = item.mask if isinstance(item, Pair) else item.image
        try:
            labels = table.to_labels(mask, file)
        except DataError as error:
            self.add(error)
            return
        counts = count_labels(labels, len(table.classes))
        self._count(counts.pixels, split)
        self.ignored += counts.ignored
        if counts.ignored == labels.size:
            remedy = "remove image and mask, or label it"
            self.add(MaskError("every pixel is ignored", file=file, remedy=remedy), "warning")
        for text in table.contradictions(mask):
            remedy = "if the palette is right, write palette: colors into classes.yaml"
            self.add(MaskError(f"palette and classes differ: {text}", file=file, remedy=remedy), "warning")

    def _count(self, pixels: np.ndarray[tuple[int, ...], np.dtype[np.int64]], split: SplitName) -> None:
        self.pixels += pixels
        self.images += pixels > 0
        if split == "train":
            self.in_train += pixels

    def compare(self) -> None:
        """What only shows when all files are known: mixed kinds, copies across splits, classes never seen."""
        if len(self.kinds) > 1:
            groups = sorted(self.kinds.items(), key=lambda group: -len(group[1]))
            found = "; ".join(f"{bands} bands of {dtype}: {_few(files)}" for (bands, dtype), files in groups)
            remedy = "keep images of one kind, or convert the smaller group"
            self.add(DataError(f"images of different kinds: {found}", file=groups[-1][1][0], remedy=remedy))
        for where in self.copies.values():
            if len(where) > 1:
                found = "; ".join(f"{split}: {_few(files)}" for split, files in where.items())
                files = next(iter(where.values()))
                remedy = "keep it in one split, or scores on the others are too good"
                problem = DataError(
                    f"the same image is in several splits: {found}", file=files[0], remedy=remedy
                )
                self.add(problem, "warning")
        self._compare_classes()
        if self.rotated:
            self.notes.append(f"turned upright by their EXIF tag: {_few(self.rotated)}")
        if self.alpha:
            self.notes.append(f"alpha channel not read: {_few(self.alpha)}")

    def _compare_classes(self) -> None:
        if self.table is None or not self.pixels.any():
            return
        names = [f"{index} {name}" for index, name in enumerate(self.table.names)]
        unseen = [name for name, pixels in zip(names, self.pixels, strict=True) if not pixels]
        untrained = [
            name
            for name, pixels, trained in zip(names, self.pixels, self.in_train, strict=True)
            if pixels and not trained and self.in_train.any()
        ]
        for classes, where in ((unseen, "no file"), (untrained, "no training file")):
            if classes:
                remedy = "check the values in classes.yaml, take the class out, or add images that show it"
                problem = ClassesError(f"classes that occur in {where}: {', '.join(classes)}", remedy=remedy)
                self.add(problem, "warning")

    def report(self, root: Path, assigned: Assigned) -> CheckReport:
        """Everything gathered."""
        total = int(self.pixels.sum()) + self.ignored
        kind = max(self.kinds, key=lambda kind: len(self.kinds[kind]), default=(0, ""))
        moments = self.moments.get(kind)
        normalization: Normalization | None = moments.normalization() if moments is not None else None
        specs = self.table.classes if self.table is not None else ()
        return CheckReport(
            root=root,
            task=self.layout.task,
            images={split: len(assigned.names[split]) for split in SPLITS},
            split_origin=assigned.origin,
            sizes=tuple((height, width, count) for (height, width), count in self.sizes.most_common()),
            bands=kind[0],
            dtype=kind[1],
            classes=tuple(
                ClassShare(spec.name, spec.color, int(pixels), int(pixels) / max(1, total), int(images))
                for spec, pixels, images in zip(specs, self.pixels, self.images, strict=True)
            ),
            pixels=total,
            ignored=self.ignored,
            normalization=normalization,
            notes=(*self.layout.notes, *self.notes, *assigned.notes),
            findings=tuple(sorted(self.findings, key=lambda finding: finding.level)),
        )


def _few(files: Sequence[Path | str]) -> str:
    """How many there are and the first names."""
    names = [file.name if isinstance(file, Path) else file for file in files]
    return f"{len(names)} ({', '.join(names[:5])}{' ...' if len(names) > 5 else ''})"
