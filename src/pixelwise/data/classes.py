"""Which class each value or colour of a mask means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.palette import default_colors, packed, unpacked
from pixelwise.data.read import RawMask
from pixelwise.data.runs import Runs, pack_colors, runs_of
from pixelwise.errors import MaskError
from pixelwise.types import IGNORE, ClassSpec, Labels


@dataclass(frozen=True)
class ClassTable:
    """The classes of a dataset and how its masks write them.

    Without `values` a mask value is the class index. `values` and `colors` map mask values and declared
    colours (packed) to class indices. `ignore` and `ignore_colors` count nowhere; neither does 255, unless
    `values` has it.
    `by_color`: palette masks are read by their colours instead of by their raw indices.
    """

    classes: tuple[ClassSpec, ...]
    ignore: frozenset[int] = frozenset()
    values: Mapping[int, int] | None = None
    colors: Mapping[int, int] = field(default_factory=dict)
    ignore_colors: frozenset[int] = frozenset()
    by_color: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The class names in order of their index."""
        return tuple(spec.name for spec in self.classes)

    @property
    def unlabelled(self) -> frozenset[int]:
        """The labels of pixels that nobody has labelled, as far as names tell: 255, void and the like."""
        named = {index for index, name in enumerate(self.names) if name.lower() in _UNLABELLED}
        return frozenset({IGNORE, *named})

    @property
    def unlabelled_values(self) -> tuple[int, ...]:
        """The values of index masks that stand for `unlabelled`; none where palettes are read by colour."""
        if self.by_color:
            return ()
        values = (
            self.values if self.values is not None else {index: index for index in range(len(self.classes))}
        )
        rest = set() if IGNORE in values else {IGNORE}
        return tuple(
            sorted({v for v, index in values.items() if index in self.unlabelled} | self.ignore | rest)
        )

    def means(self, value: int, nodata: int | None = None) -> bool:
        """Whether a mask value is a class or counts nowhere."""
        return self._index_of(value, nodata) is not None

    def to_labels(self, mask: RawMask, file: str | Path | None = None) -> Labels:
        """Labels uint8 [H, W] of a mask as stored; pixels that count nowhere are 255.

        Raises:
            MaskError: a value or colour is in no class, or the mask holds only 0 and an undeclared 255.
        """
        if mask.values.ndim == 3:
            return self._from_colors(runs_of(pack_colors(mask.values)), file)
        runs = runs_of(mask.values)
        if self.by_color and mask.palette is not None:
            return self._from_colors(_through_palette(runs, mask.palette, file), file)
        self._refuse_undeclared_binary(runs, file)
        self._refuse_class_declared_empty(runs, mask.nodata, file)
        table = {value: self._index_of(value, mask.nodata) for value in runs.values.tolist()}
        return self._filled(runs, table, file)

    def contradictions(self, mask: RawMask) -> list[str]:
        """Where the palette of a mask read by index shows the declared colour of another class."""
        if mask.values.ndim == 3 or mask.palette is None or self.by_color:
            return []
        found = []
        for value in np.unique(mask.values).tolist():
            shown = mask.palette.get(value, "")
            by_color = self.colors.get(packed(shown)) if shown else None
            by_value = self._index_of(value, mask.nodata)
            if by_color is not None and by_value is not None and by_color != by_value:
                meant = "ignore" if by_value == IGNORE else self.names[by_value]
                found.append(
                    f"value {value} is read as {meant} but shown as {self.names[by_color]} ({shown})"
                )
        return found

    def as_dict(self) -> dict[str, Any]:
        """The table as the document of a classes.yaml: plain values that `from_dict` reads back."""
        document: dict[str, Any] = {"classes": [{"name": c.name, "color": c.color} for c in self.classes]}
        ignore = [*sorted(self.ignore), *(unpacked(color) for color in sorted(self.ignore_colors))]
        if ignore:
            document["ignore"] = ignore
        extra = {color: i for color, i in self.colors.items() if unpacked(color) != self.classes[i].color}
        values: dict[int | str, str] = {
            value: self.names[i] for value, i in sorted((self.values or {}).items())
        }
        values.update({unpacked(color): self.names[index] for color, index in sorted(extra.items())})
        if values:
            document["values"] = values
        if self.by_color:
            document["palette"] = "colors"
        return document

    @staticmethod
    def from_dict(document: Any) -> ClassTable:
        """The table of a classes.yaml document, of `as_dict` or of its JSON.

        Raises:
            ClassesError: a key, name, colour or value is wrong.
        """
        from pixelwise.data.classfile import parse_document  # it builds tables, so it imports this module

        return parse_document(document)

    @staticmethod
    def of_names(names: list[str], *, colors: Mapping[int, str] | None = None) -> ClassTable:
        """Classes whose mask value is their index; `colors` gives `#rrggbb` for some of them."""
        known = dict(colors or {})
        if len(set(known.values())) != len(known):
            known = {}  # a palette with repeated colours tells no classes apart
        free = iter(default_colors(len(names), taken=set(known.values())))
        return ClassTable(tuple(ClassSpec(name, known.get(i) or next(free)) for i, name in enumerate(names)))

    def _index_of(self, value: int, nodata: int | None) -> int | None:
        """The class index of a mask value, IGNORE, or None where it means nothing."""
        if value in self.ignore:
            return IGNORE
        if self.values is not None:
            index = self.values.get(value)
        else:
            index = value if 0 <= value < len(self.classes) else None
        if index is None and value in (IGNORE, nodata):
            return IGNORE
        return index

    def _from_colors(self, runs: Runs, file: str | Path | None) -> Labels:
        ignore = dict.fromkeys(self.ignore_colors, IGNORE)
        table = {value: ignore.get(value, self.colors.get(value)) for value in runs.values.tolist()}
        return self._filled(runs, table, file, colors=True)

    def _filled(
        self, runs: Runs, table: Mapping[int, int | None], file: str | Path | None, *, colors: bool = False
    ) -> Labels:
        unknown = [index for index, value in enumerate(runs.values.tolist()) if table[value] is None]
        if unknown:
            raise self._unknown(runs, unknown, file, colors=colors)
        labels = np.array([table[value] for value in runs.values.tolist()], dtype=np.uint8)
        return runs.fill(labels)

    def _unknown(self, runs: Runs, unknown: list[int], file: str | Path | None, *, colors: bool) -> MaskError:
        counts = runs.counts
        worst = max(unknown, key=lambda index: int(counts[index]))
        row, column = runs.first(worst)
        unknown.sort(key=lambda index: -int(counts[index]))
        shown = [_shown(runs.values[index], colors=colors) for index in unknown]
        others = f"; also {', '.join(shown[1:9])}{' ...' if len(shown) > 9 else ''}" if len(shown) > 1 else ""
        found = f"{'colour' if colors else 'value'} {shown[0]} is in no class: {int(counts[worst])} pixels"
        allowed = self._allowed_colors() if colors else self._allowed_values()
        ignore = ", ".join(self._ignored(shown))
        return MaskError(
            f"{found}, first at row {row}, column {column}{others}; {allowed}",
            file=file,
            code="mask-color" if colors else "mask-value",
            value=shown[0] if colors else int(shown[0]),
            count=int(counts[worst]),
            position=(column, row),
            remedy="give every class of classes.yaml its colour: {name: ..., color: '#rrggbb'}"
            if colors and not self.colors
            else f"add the class to classes.yaml, or let it count nowhere: ignore: [{ignore}]",
        )

    def _ignored(self, more: list[str]) -> list[str]:
        """Entries for an `ignore:` line that keeps what is ignored already; colours are quoted for YAML."""
        now = [str(value) for value in sorted(self.ignore)] + [
            unpacked(c) for c in sorted(self.ignore_colors)
        ]
        return [f"'{entry}'" if entry.startswith("#") else entry for entry in now + more[:10]]

    def _allowed_values(self) -> str:
        if self.values is None:
            last = len(self.classes) - 1
            return f"the {last + 1} classes have values 0 to {last}" if last else "the only class has value 0"
        return f"the classes have values {', '.join(str(value) for value in sorted(self.values))}"

    def _allowed_colors(self) -> str:
        if not self.colors:
            return "the classes have no colours"
        return f"the classes have {', '.join(unpacked(color) for color in self.colors)}"

    def _refuse_undeclared_binary(self, runs: Runs, file: str | Path | None) -> None:
        declared = IGNORE in self.ignore or (self.values is not None and IGNORE in self.values)
        if declared or runs.values.tolist() != [0, IGNORE]:
            return
        names = self.names if len(self.names) > 1 else ("background", "foreground")
        raise undeclared_binary(int(runs.counts[1]), runs.first(1), names, file)

    def _refuse_class_declared_empty(self, runs: Runs, nodata: int | None, file: str | Path | None) -> None:
        """A value that is a class only by its position and that the file declares empty may be either."""
        if nodata is None or nodata not in runs.values or self.values is not None:
            return
        index = self._index_of(nodata, None)
        if index is None or index == IGNORE:
            return
        which = int(np.searchsorted(runs.values, nodata))
        row, column = runs.first(which)
        every = ", ".join(f"{value}: {quoted(name)}" for value, name in enumerate(self.names))
        rest = ", ".join(f"{v}: {quoted(name)}" for v, name in enumerate(self.names) if v != nodata)
        raise MaskError(
            f"the file declares {nodata} as nodata, and {nodata} is class {self.names[index]!r} "
            f"({int(runs.counts[which])} pixels, first at row {row}, column {column})",
            file=file,
            code="mask-nodata",
            value=nodata,
            count=int(runs.counts[which]),
            position=(column, row),
            remedy=f"if it is the class, say so in classes.yaml: values: {{{every}}}\n"
            f"  if these pixels count nowhere: ignore: [{nodata}] and values: {{{rest}}}",
        )


def undeclared_binary(
    count: int, first: tuple[int, int], names: tuple[str, ...], file: str | Path | None
) -> MaskError:
    """The error for a mask of 0 and 255 alone, where 255 may be a class or ignore."""
    return MaskError(
        f"holds only the values 0 and 255 ({count} pixels of 255, first at row {first[0]}, column "
        f"{first[1]}), and nothing says whether 255 is a class or means ignore",
        file=file,
        code="mask-binary",
        value=IGNORE,
        count=count,
        position=(first[1], first[0]),
        remedy="put this into classes.yaml:\n"
        f"    classes: [{', '.join(f'{{name: {quoted(name)}}}' for name in names)}]\n"
        f"    values: {{0: {quoted(names[0])}, 255: {quoted(names[1])}}}\n"
        "  or, where 255 counts nowhere, instead of the last line: ignore: [255]",
    )


def quoted(name: str) -> str:
    """A class name as it may stand in YAML."""
    return name if name.replace("_", "").isalpha() and name.lower() not in _YAML_WORDS else f'"{name}"'


# Background is a class like others: a hole of it in a building may be a yard.
_UNLABELLED = {"unlabelled", "unlabeled", "unknown", "undefined", "void"}
_YAML_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}


def _shown(value: Any, *, colors: bool) -> str:
    return unpacked(int(value)) if colors else str(int(value))


def _through_palette(runs: Runs, palette: Mapping[int, str], file: str | Path | None) -> Runs:
    """The runs of a palette mask with each index replaced by its packed colour."""
    missing = [value for value in runs.values.tolist() if value not in palette]
    if missing:
        raise MaskError(
            f"value {missing[0]} is beyond the palette of the file", file=file, remedy="export it again"
        )
    colors: NDArray[Any] = np.array([packed(palette[value]) for value in runs.values.tolist()])
    values, which = np.unique(colors, return_inverse=True)
    return replace(runs, values=values, which=which[runs.which])
