"""What a check puts together from its looks at single items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.alignment import Alignment
from pixelwise.data.assign import Assigned
from pixelwise.data.checkreport import CheckReport, ClassShare, Finding, Histogram, Level, SplitShare
from pixelwise.data.classes import ClassTable
from pixelwise.data.displaced import Peak, find_displaced, moved_error
from pixelwise.data.examine import Looked
from pixelwise.data.items import Item, Pair
from pixelwise.data.layouts import Layout
from pixelwise.data.leakwatch import LeakWatch
from pixelwise.data.smooth import Smooth, smooth_error
from pixelwise.data.specks import Specks, holes_error
from pixelwise.data.stats import BandMoments
from pixelwise.data.traits import NOTES, WARNINGS, Trait
from pixelwise.errors import ClassesError, DataError, LayoutError, MaskError, PixelwiseError
from pixelwise.types import SPLITS, Normalization, SplitName

_BINS = 64
_MOST_SAMPLES, _FEWEST_SAMPLES = 8, 4


class Gathered:
    """Counts and findings, item by item; the items must come in the same order whenever they come."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.findings = [Finding("error", problem) for problem in layout.problems]
        self.findings += [Finding("warning", problem) for problem in layout.warnings]
        self.notes: list[str] = []
        self.table: ClassTable | None = None
        self._moments: dict[tuple[int, str], BandMoments] = {}
        self._samples: dict[tuple[int, str], list[NDArray[Any]]] = {}
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._kinds: dict[tuple[int, str], list[Path]] = {}
        self._pixels: dict[SplitName, NDArray[np.int64]] = {}
        self._ignored: Counter[SplitName] = Counter()
        self._images = np.zeros(0, np.int64)
        self._best: dict[int, tuple[float, int, Item, frozenset[int]]] = {}
        self._specks: list[tuple[Path, Specks]] = []
        self._smooth: list[tuple[Path, Smooth]] = []
        self._traits: dict[Trait, list[Path]] = {}
        self._without_data: dict[str, Counter[Path]] = {}
        self._copies: dict[bytes, dict[SplitName, list[Path]]] = {}
        self._alignment = Alignment()
        self._peaks: list[tuple[Path, Peak]] = []
        self._watch = LeakWatch()
        self._taken = 0

    def add(self, problem: PixelwiseError, level: Level = "error") -> None:
        """Keep a finding."""
        self.findings.append(Finding(level, problem))

    def know(self, table: ClassTable | None) -> None:
        """The classes to count; None where they could not be found."""
        self.table = table
        count = len(table.classes) if table is not None else 0
        self._pixels = {split: np.zeros(count, np.int64) for split in SPLITS}
        self._images = np.zeros(count, np.int64)

    def take(self, seen: Looked) -> None:
        """Take in what one item holds."""
        self.findings += seen.findings
        for trait, file in seen.traits:
            self._traits.setdefault(trait, []).append(file)
        self._count_without(seen)
        if seen.size is not None and seen.kind is not None:
            self._sizes[seen.size] += 1
            self._kinds.setdefault(seen.kind, []).append(seen.item.image)
            for block in seen.blocks:
                self._moments.setdefault(seen.kind, BandMoments()).merge(block)
            if seen.sample is not None:
                self._samples.setdefault(seen.kind, []).append(seen.sample)
        if seen.digest is not None:
            self._copies.setdefault(seen.digest, {}).setdefault(seen.split, []).append(seen.item.image)
        if seen.counts is not None:
            self._pixels[seen.split] += seen.counts.pixels
            self._images += seen.counts.pixels > 0
            self._ignored[seen.split] += seen.counts.ignored
            self._choose(seen.item, seen.counts.pixels)
        if isinstance(seen.item, Pair):
            self._take_pair(seen, seen.item)
        self._remember(seen.watch)
        self._taken += 1

    def _count_without(self, seen: Looked) -> None:
        for why, pixels in seen.without_data.items():
            self._without_data.setdefault(why, Counter())[seen.item.image] += pixels

    def _take_pair(self, seen: Looked, pair: Pair) -> None:
        if seen.outlines is not None:
            self._alignment.add(pair.image, pair.mask, seen.outlines)
        if seen.peak is not None:
            self._peaks.append((pair.mask, seen.peak))
        if seen.specks is not None:
            self._specks.append((pair.mask, seen.specks))
        if seen.smooth is not None:
            self._smooth.append((pair.mask, seen.smooth))

    def _remember(self, watch: LeakWatch) -> None:
        mine, other = self._watch, watch
        mine.items += other.items
        mine.homes += other.homes
        mine.book.sizes += other.book.sizes
        mine.book.digests += other.book.digests
        mine.book.vectors += other.book.vectors

    def _choose(self, item: Item, pixels: NDArray[np.int64]) -> None:
        """Remember the item that shows most of each class."""
        total = max(1, int(pixels.sum()))
        there = frozenset(np.flatnonzero(pixels > total / 200).tolist())
        for index in np.flatnonzero(pixels).tolist():
            share = int(pixels[index]) / total
            # An image of this class alone shows it well enough; half of the pixels are better than all.
            merit = min(share, 0.5) + len(there) / 1000
            if index not in self._best or merit > self._best[index][0]:
                self._best[index] = (merit, self._taken, item, there)

    def compare(self) -> None:
        """What only shows when all files are known: mixed kinds, copies across splits, classes never seen."""
        self._compare_kinds()
        self._compare_copies()
        for problem in self._watch.warnings():
            self.add(problem, "warning")
        self._compare_classes()
        self._compare_outlines()
        if self._specks:
            self.add(holes_error(self._specks), "warning")
        if self._smooth:
            self.add(smooth_error(self._smooth), "warning")
        self._tell_traits()

    def _compare_kinds(self) -> None:
        if len(self._kinds) > 1:
            groups = sorted(self._kinds.items(), key=lambda group: -len(group[1]))
            found = "; ".join(f"{bands} bands of {dtype}: {_few(files)}" for (bands, dtype), files in groups)
            remedy = "keep images of one kind, or convert the smaller group"
            file = groups[-1][1][0]
            problem = DataError(
                f"images of different kinds: {found}", file=file, code="image-kinds", remedy=remedy
            )
            self.add(problem)
        kind = max(self._kinds, key=lambda kind: len(self._kinds[kind]), default=None)
        if kind is None or kind not in self._moments or self._taken < 2:
            return
        for band in self._moments[kind].constant():
            remedy = "take the band out of the images, or find out why it is empty"
            found = f"band {band} has one value in all images looked at"
            file = self._kinds[kind][0]
            self.add(DataError(found, file=file, code="band-constant", remedy=remedy), "warning")

    def _compare_copies(self) -> None:
        for where in self._copies.values():
            if len(where) > 1:
                found = "; ".join(f"{split}: {_few(files)}" for split, files in where.items())
                files = next(iter(where.values()))
                remedy = "keep it in one split, or scores on the others are too good"
                problem = DataError(
                    f"the same image is in several splits: {found}",
                    file=files[0],
                    code="split-copy",
                    count=sum(len(files) for files in where.values()),
                    remedy=remedy,
                )
                self.add(problem, "warning")

    def _compare_classes(self) -> None:
        pixels = sum(self._pixels.values(), np.zeros_like(self._images))
        if self.table is None or not pixels.any():
            return
        names = [f"{index} {name}" for index, name in enumerate(self.table.names)]
        trained = self._pixels["train"]
        unseen = [name for name, there in zip(names, pixels > 0, strict=True) if not there]
        untrained = [
            name
            for name, there, known in zip(names, pixels > 0, trained > 0, strict=True)
            if there and not known and trained.any()
        ]
        for classes, where in ((unseen, "no file"), (untrained, "no training file")):
            if classes:
                remedy = "check the values in classes.yaml, take the class out, or add images that show it"
                found = f"classes that occur in {where}: {', '.join(classes)}"
                problem = ClassesError(found, code="class-unseen", count=len(classes), remedy=remedy)
                self.add(problem, "warning")
        for split in ("val", "test"):
            here = self._pixels[split]
            absent = [name for name, a, b in zip(names, here > 0, trained > 0, strict=True) if b and not a]
            if here.any() and absent:
                self.notes.append(f"the {split} split never shows {', '.join(absent)}: no score there")

    def _compare_outlines(self) -> None:
        for misfit in self._alignment.misfits():
            better = f"; that of {misfit.other.name} does ({misfit.other_fit:.2f})" if misfit.other else ""
            problem = MaskError(
                f"the mask does not follow the edges of its image (fit {misfit.fit:.2f}){better}: "
                "it may belong to another image",
                file=misfit.mask,
                code="mask-other",
                value=round(misfit.fit, 3),
                remedy="look at both; if the masks were exchanged, rename them",
            )
            self.add(problem, "warning")
        for mask, peak in find_displaced(self._peaks):
            self.add(moved_error(mask, peak), "warning")

    def _tell_traits(self) -> None:
        for trait, sentence in NOTES:
            if files := self._traits.get(trait):
                self.notes.append(f"{sentence}: {_few(files)}")
        for why, pixels in self._without_data.items():
            self.notes.append(
                f"{pixels.total():,} pixels without data ({why}) count nowhere: {_few([*pixels])}"
            )
        for trait, code, sentence, remedy in WARNINGS:
            if files := self._traits.get(trait):
                problem = DataError(
                    f"{sentence}: {_few(files)}", file=files[0], code=code, count=len(files), remedy=remedy
                )
                self.add(problem, "warning")
        if links := self.layout.links:
            remedy = "copy the files into the folder if it is to be moved or given away"
            found = f"links that lead out of the folder: {_few(links)}"
            problem = LayoutError(found, file=links[0], code="link-outside", count=len(links), remedy=remedy)
            self.add(problem, "warning")

    def report(self, root: Path, assigned: Assigned) -> CheckReport:
        """Everything gathered."""
        ignored = sum(self._ignored.values())
        pixels = sum(self._pixels.values(), np.zeros_like(self._images))
        total = int(pixels.sum()) + ignored
        kind = max(self._kinds, key=lambda kind: len(self._kinds[kind]), default=(0, ""))
        moments = self._moments.get(kind)
        normalization: Normalization | None = moments.normalization() if moments is not None else None
        specs = self.table.classes if self.table is not None else ()
        return CheckReport(
            root=root,
            task=self.layout.task,
            images={split: len(assigned.names[split]) for split in SPLITS},
            split_origin=assigned.origin,
            sizes=tuple((height, width, count) for (height, width), count in self._sizes.most_common()),
            bands=kind[0],
            dtype=kind[1],
            classes=tuple(
                ClassShare(spec.name, spec.color, int(count), int(count) / max(1, total), int(images))
                for spec, count, images in zip(specs, pixels, self._images, strict=True)
            ),
            pixels=total,
            ignored=ignored,
            normalization=normalization,
            notes=(*self.layout.notes, *self.notes, *assigned.notes),
            findings=tuple(sorted(self.findings, key=lambda finding: finding.level)),
            by_split={
                split: SplitShare(tuple(counts.tolist()), self._ignored[split])
                for split, counts in self._pixels.items()
            },
            histograms=_histograms(self._samples.get(kind, [])),
            samples=self._shown(),
            table=self.table,
            speckled=tuple(file for file, _ in self._specks),
        )

    def _shown(self) -> tuple[Item, ...]:
        """A few items that show every class between them, in the order of the dataset."""
        chosen: dict[int, Item] = {}
        known: set[int] = set()
        for index in sorted(self._best, key=lambda index: int(self._images[index])):  # the rarest first
            _, place, item, there = self._best[index]
            if (index not in known and len(chosen) < _MOST_SAMPLES) or len(chosen) < _FEWEST_SAMPLES:
                chosen[place] = item
                known |= there | {index}
        return tuple(chosen[place] for place in sorted(chosen))


def _histograms(samples: Sequence[NDArray[Any]]) -> tuple[Histogram, ...]:
    if not samples:
        return ()
    values = np.concatenate(samples)
    found = []
    for band in values.T:
        low, high = (0.0, 256.0) if band.dtype == np.uint8 else (float(band.min()), float(band.max()))
        counts, _ = np.histogram(
            band.astype(np.float64), bins=_BINS, range=(low, high if high > low else low + 1)
        )
        found.append(Histogram(low, high, tuple(counts.tolist())))
    return tuple(found)


def _few(files: Sequence[Path]) -> str:
    """How many there are and the first names."""
    names = [file.name for file in files]
    return f"{len(names)} ({', '.join(names[:5])}{' ...' if len(names) > 5 else ''})"
