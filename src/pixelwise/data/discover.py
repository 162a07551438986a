"""Find the classes of a dataset from its masks, where no classes.yaml says them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pixelwise.data.classes import ClassTable, undeclared_binary
from pixelwise.data.classfile import class_lines
from pixelwise.data.palette import unpacked
from pixelwise.data.read import RawMask
from pixelwise.data.runs import pack_colors, runs_of
from pixelwise.errors import ClassesError, MaskError
from pixelwise.types import IGNORE, MAX_CLASSES

_MOST_COLORS = 30


class Discovery:
    """The values and colours seen in the masks added so far."""

    def __init__(self) -> None:
        self.values: Counter[int] = Counter()
        self.colors: Counter[int] = Counter()
        self._palette: dict[int, str] | None = {}
        self._nodata: set[int] = set()
        # first file, count and pixel of a value
        self._where: dict[int, tuple[Path, int, tuple[int, int]]] = {}
        self._colored: Path | None = None
        self.seen = 0  # masks

    def add(self, file: Path, mask: RawMask) -> None:
        """Count the values or colours of one mask."""
        self.seen += 1
        if mask.values.ndim == 3:
            runs = runs_of(pack_colors(mask.values))
            self.colors.update(dict(zip(runs.values.tolist(), runs.counts.tolist(), strict=True)))
            self._colored = self._colored or file
            return
        runs = runs_of(mask.values)
        for index, (value, count) in enumerate(zip(runs.values.tolist(), runs.counts.tolist(), strict=True)):
            self.values[value] += count
            if value not in self._where:
                self._where[value] = file, count, runs.first(index)
        if mask.nodata is not None:
            self._nodata.add(mask.nodata)
        self._add_palette(mask.palette)

    def table(self) -> tuple[ClassTable, str]:
        """The classes 0 to the largest value, named class_0 and so on, and a sentence on how they were found.

        Raises:
            ClassesError: colours, more than 255 classes, or nothing but ignored pixels.
            MaskError: negative values, or only 0 and 255.
        """
        if self._colored is not None:
            raise self._colors_error(self._colored)
        seen = set(self.values) - {IGNORE}
        if seen == {0} and IGNORE in self.values:
            file, count, first = self._where[IGNORE]
            raise undeclared_binary(count, first, ("background", "foreground"), file)
        classes = {value for value in seen if 0 <= value < MAX_CLASSES or value not in self._nodata}
        if not classes:
            raise ClassesError(
                "all pixels of all masks are 255, which means ignore", remedy="check the masks"
            )
        self._refuse_out_of_range(classes)
        count = max(classes) + 1
        palette = {value: color for value, color in (self._palette or {}).items() if value < count}
        table = ClassTable.of_names([f"class_{index}" for index in range(count)], colors=palette)
        found = f"classes found from {self.seen} masks: values 0 to {count - 1}, named class_0 and so on"
        unseen = count - len(classes)
        if unseen:
            found += f"; {unseen} of these values never occur"
        if IGNORE in self.values:
            table = replace(table, ignore=frozenset({IGNORE}))
            found += "; 255 is ignored"
        return table, f"{found}; a classes.yaml gives them names"

    def _add_palette(self, palette: Mapping[int, str] | None) -> None:
        """Keep a palette as long as all masks agree on it."""
        if self._palette is None:
            return
        if palette is None or (self._palette and dict(palette) != self._palette):
            self._palette = None
        else:
            self._palette = dict(palette)

    def _refuse_out_of_range(self, classes: set[int]) -> None:
        for value in sorted(classes):
            file, count, (row, column) = self._where[value]
            at = f"{count} pixels, first at row {row}, column {column}"
            if value < 0:
                raise MaskError(
                    f"value {value} is negative ({at})",
                    file=file,
                    code="mask-value",
                    value=value,
                    count=count,
                    position=(column, row),
                    remedy=f"write a classes.yaml with the classes and: ignore: [{value}]",
                )
            if value > IGNORE:
                raise ClassesError(
                    f"value {value} ({at}) would mean {value + 1} classes; {MAX_CLASSES} are possible",
                    file=file,
                    code="mask-value",
                    value=value,
                    count=count,
                    position=(column, row),
                    remedy="write a classes.yaml that says which value is which: values: {0: background, "
                    f"{value}: building}}; if these are instance numbers, use the class masks instead",
                )

    def _colors_error(self, file: Path) -> ClassesError:
        common = [color for color, _ in self.colors.most_common(_MOST_COLORS)]
        total = len(self.colors)
        if total > 256:
            return ClassesError(
                f"the masks hold {total} colours: these look like photographs, or like masks that were "
                "resized or stored as JPEG",
                file=file,
                remedy="use the original masks; PNG, without smoothing",
            )
        names = [f"class_{index}" for index in range(len(common))]
        rest = f" (the {_MOST_COLORS} most frequent of {total})" if total > len(common) else ""
        return ClassesError(
            f"the masks are colours ({total} of them, in all masks), and no classes.yaml says what they mean",
            file=file,
            remedy=f"write this to classes.yaml{rest}, most frequent first, with names of your own:\n"
            + class_lines(names, [unpacked(color) for color in common]),
        )


def discover(masks: Iterable[tuple[Path, RawMask]]) -> tuple[ClassTable, str]:
    """The classes of the given masks and a sentence on how they were found; errors as `Discovery.table`."""
    discovery = Discovery()
    for file, mask in masks:
        discovery.add(file, mask)
    return discovery.table()
