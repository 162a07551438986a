"""What a check of a dataset found, as values and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pixelwise.data.classes import ClassTable
from pixelwise.data.items import Item
from pixelwise.data.layouts import Task
from pixelwise.errors import PixelwiseError
from pixelwise.types import IGNORE, Normalization, SplitName

Level = Literal["error", "warning"]

_TOLD = 8  # findings of one code that the text spells out


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`error`) or worth a look (`warning`)."""

    level: Level
    problem: PixelwiseError

    def as_dict(self) -> dict[str, Any]:
        """Level, code, file, found and remedy as plain values; value, count and position where pixels are wrong."""
        return {"level": self.level, **self.problem.as_dict()}


@dataclass(frozen=True)
class ClassShare:
    """How much of the data is of one class: pixels, their share of all pixels, and images that show it."""

    name: str
    color: str
    pixels: int
    share: float
    images: int


@dataclass(frozen=True)
class SplitShare:
    """Pixels of each class in one split, and those that count nowhere; images where the task is classification."""

    pixels: tuple[int, ...]
    ignored: int


@dataclass(frozen=True)
class Histogram:
    """How often the values of a band lie in equal steps from `low` to `high`, over some pixels of some images."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class CheckReport:
    """The contents of a dataset and every finding of one pass over all its files.

    `sizes` holds (height, width, images), the most frequent first; `pixels` counts all pixels, the `ignored`
    among them; for classification they count images. `samples` are a few items that show every class between them,
    `speckled` the masks with holes.
    """

    root: Path
    task: Task
    images: dict[SplitName, int]
    split_origin: str
    sizes: tuple[tuple[int, int, int], ...]
    bands: int
    dtype: str
    classes: tuple[ClassShare, ...]
    pixels: int
    ignored: int
    normalization: Normalization | None
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    by_split: dict[SplitName, SplitShare] = field(default_factory=dict)
    histograms: tuple[Histogram, ...] = ()
    samples: tuple[Item, ...] = ()
    table: ClassTable | None = None
    speckled: tuple[Path, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no error among the findings."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that must be mended before training."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that are worth a look."""
        return tuple(finding for finding in self.findings if finding.level == "warning")

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for `--json`."""
        normalization = self.normalization
        return {
            "root": str(self.root),
            "task": self.task,
            "ok": self.ok,
            "images": dict(self.images),
            "split_origin": self.split_origin,
            "sizes": [{"height": h, "width": w, "images": count} for h, w, count in self.sizes],
            "bands": self.bands,
            "dtype": self.dtype,
            "classes": [
                {"name": c.name, "color": c.color, "pixels": c.pixels, "share": c.share, "images": c.images}
                for c in self.classes
            ],
            "pixels": self.pixels,
            "ignored": self.ignored,
            "normalization": normalization
            and {"mean": list(normalization.mean), "std": list(normalization.std)},
            "by_split": {
                split: {"pixels": list(share.pixels), "ignored": share.ignored}
                for split, share in self.by_split.items()
            },
            "histograms": [
                {"low": band.low, "high": band.high, "counts": list(band.counts)} for band in self.histograms
            ],
            "notes": list(self.notes),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def render(report: CheckReport) -> str:
    """The report as text with aligned columns."""
    lines = [str(report.root), *_facts(report), "", *_class_table(report)]
    if report.notes:
        lines += ["", *(f"note: {note}" for note in report.notes)]
    if report.findings:
        lines += ["", *_told(report.findings)]
    errors, warnings = len(report.errors), len(report.warnings)
    verdict = "ready to train" if report.ok else "mend the errors before training"
    return "\n".join([*lines, "", f"{_count(errors, 'error')}, {_count(warnings, 'warning')}: {verdict}"])


def _told(findings: Sequence[Finding]) -> Iterator[str]:
    """Findings as text; of many with one code the first few, and how many more there are."""
    left = Counter((finding.level, finding.problem.code) for finding in findings)
    told = Counter[tuple[Level, str]]()
    for finding in findings:
        kind = (finding.level, finding.problem.code)
        told[kind] += 1
        left[kind] -= 1
        if told[kind] <= _TOLD:
            yield f"{finding.level}: {finding.problem}"
        elif not left[kind]:
            yield f"{finding.level}: and {told[kind] - _TOLD} more of code {kind[1]}; --json lists every one"


def _facts(report: CheckReport) -> list[str]:
    unit = "image" if report.task == "classify" else "pair"
    total = sum(report.images.values())
    parts = ", ".join(f"{name} {count}" for name, count in report.images.items())
    facts = [("pairs" if unit == "pair" else "images", f"{total} ({parts})"), ("split", report.split_origin)]
    if report.sizes:
        facts.append(("size", _sizes(report.sizes)))
        facts.append(("bands", f"{report.bands} of {report.dtype}"))
    if report.normalization is not None:
        values = zip(report.normalization.mean, report.normalization.std, strict=True)
        facts.append(("mean \u00b1 std", "  ".join(f"{mean:.4g} \u00b1 {std:.4g}" for mean, std in values)))
    return [f"  {name:<10}  {text}" for name, text in facts]


def _sizes(sizes: Sequence[tuple[int, int, int]]) -> str:
    """Sizes as width x height, the most frequent first."""
    if len(sizes) == 1:
        return f"{sizes[0][1]} x {sizes[0][0]}"
    heights, widths = [size[0] for size in sizes], [size[1] for size in sizes]
    most = f"{sizes[0][1]} x {sizes[0][0]} in {sizes[0][2]}"
    return f"{len(sizes)} sizes, {min(widths)} to {max(widths)} x {min(heights)} to {max(heights)}; {most}"


def _class_table(report: CheckReport) -> list[str]:
    if not report.classes:
        return ["  classes     not known"]
    unit = "images" if report.task == "classify" else "pixels"
    rows = [("", "class", "colour", "share", unit, "in images")]
    rows += [
        (str(index), share.name, share.color, f"{share.share:.2%}", f"{share.pixels:,}", str(share.images))
        for index, share in enumerate(report.classes)
    ]
    if report.ignored:
        rest = report.ignored / max(1, report.pixels)
        rows.append((str(IGNORE), "(ignored)", "", f"{rest:.2%}", f"{report.ignored:,}", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    left = (1, 2)
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
