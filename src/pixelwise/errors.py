"""Every error a user can cause, each saying what was found, what is allowed and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class PixelwiseError(Exception):
    """Base of all errors of pixelwise: one finding in one sentence, and its remedy in another.

    `code` is stable and machine-readable (`mask-value`), `file` the file it is about, if any. Where pixels are
    wrong, `value` is what they hold (a number, or a colour as `#rrggbb`), `count` how many there are and
    `position` the column and row (x, y) of the first.
    """

    code = "error"

    def __init__(
        self,
        found: str,
        *,
        remedy: str = "",
        file: str | Path | None = None,
        code: str = "",
        value: int | float | str | None = None,
        count: int | None = None,
        position: tuple[int, int] | None = None,
    ) -> None:
        self.found = found
        self.remedy = remedy
        self.file = None if file is None else Path(file)
        self.code = code or type(self).code
        self.value = value
        self.count = count
        self.position = position
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"{self.file}: " if self.file is not None else ""
        fix = f"\n  fix: {self.remedy}" if self.remedy else ""
        return f"{where}{self.found}{fix}"

    def as_dict(self) -> dict[str, Any]:
        """The error as plain values, for `--json`; `value`, `count` and `position` where they are known."""
        file = None if self.file is None else str(self.file)
        # NaN and infinity are no JSON.
        value = str(self.value) if isinstance(self.value, float) else self.value
        details = {"value": value, "count": self.count, "position": self.position and list(self.position)}
        known = {name: detail for name, detail in details.items() if detail is not None}
        return {"code": self.code, "file": file, "found": self.found, "remedy": self.remedy, **known}


class DataError(PixelwiseError):
    """Something is wrong with an image, a mask or a folder of them."""

    code = "data"


class UnreadableError(DataError):
    """A file cannot be opened or decoded: missing, empty, truncated, not an image, no permission."""

    code = "unreadable"


class LayoutError(DataError):
    """No dataset can be made out in a folder, or its files do not pair up."""

    code = "layout"


class MaskError(DataError):
    """A mask file does not say which class each pixel has."""

    code = "mask"


class ClassesError(DataError):
    """`classes.yaml` is missing something, contradicts itself or does not fit the masks."""

    code = "classes"


class OptionError(PixelwiseError):
    """An option has an unknown name or a value that is not allowed."""

    code = "option"


class BundleError(PixelwiseError):
    """A model file is damaged, of another kind or made by a newer version."""

    code = "bundle"


class OutputError(PixelwiseError):
    """The place to write to is in use, full, read-only or holds something already."""

    code = "output"


class TrainingError(PixelwiseError):
    """Training cannot go on: the loss is not finite, a resumed run does not match."""

    code = "training"


class MissingExtraError(PixelwiseError):
    """An optional dependency is needed and not installed."""

    code = "extra"


def close_matches(name: str, known: Iterable[str]) -> str:
    """The sentence to add when `name` is unknown: up to three that are like it, and all there are.

    >>> close_matches("resnet19", ["resnet18", "resnet34", "vgg16"])
    "did you mean 'resnet18' or 'resnet34'? known: resnet18, resnet34, vgg16"
    """
    names = sorted(known)
    *others, last = [repr(close) for close in difflib.get_close_matches(name, names, n=3)] or [""]
    meant = f"{', '.join(others)} or {last}" if others else last
    hint = f"did you mean {meant}? " if meant else ""
    return f"{hint}known: {', '.join(names)}"
