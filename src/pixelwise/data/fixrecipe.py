"""The recipe of a corrected copy: steps that a user can read and edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import yaml

from pixelwise.data.palette import is_color
from pixelwise.errors import OptionError

Action = Literal["drop", "map_values", "snap", "to_index", "fill_specks", "transpose", "rename"]
_NEEDS: dict[Action, str] = {
    "map_values": "values", "snap": "classes", "to_index": "colors", "fill_specks": "of", "rename": "to",
}  # fmt: skip
_MAY: dict[Action, str] = {"snap": "within", "to_index": "within", "fill_specks": "up_to"}
_COMMON = ("do", "files", "why", "enabled")
_OPTIONS = ("values", "classes", "colors", "within", "of", "up_to", "to")
_LARGEST = 65535
_HEAD = """\
# What `pixelwise check DATA --fix OUT --recipe THIS` does to a copy of DATA; DATA itself is never changed.
# Steps with `enabled: false` are guesses: look at the files, and write true where the step is right.
# A file may stand in several steps, which are done in this order. Changed masks are written as PNG.
# do: drop         leave files out
#     map_values   of masks           values: {old: new}; 255 counts nowhere
#     snap         of lossy masks     classes: [...], each pixel gets the nearest; further than `within` from all: 255
#     to_index     of colour masks    colors: {"#rrggbb": value}, also for palettes and, `within` a distance, for
#                                     colours that are nearly right; all others: 255
#     fill_specks  holes in masks     of: [...], values that mean unlabelled; holes of `up_to` pixels inside one class
#     transpose    masks whose width and height are exchanged
#     rename       one file           to: new name
"""


@dataclass(frozen=True)
class Step:
    """One thing to do to some files, given relative to DATA.

    Attributes:
        do: What.
        files: To which files.
        why: What was found.
        enabled: Whether it is done.
        values: Of map_values: old and new mask values.
        classes: Of snap: the mask values that there should be.
        colors: Of to_index: colours `#rrggbb` and their mask values.
        within: Of snap and to_index: how far off a value or each band of a colour may be; None: any distance.
        of: Of fill_specks: mask values that mean unlabelled.
        up_to: Of fill_specks: pixels of the largest hole.
        to: Of rename: the new name.
    """

    do: Action
    files: tuple[str, ...]
    why: str = ""
    enabled: bool = True
    values: tuple[tuple[int, int], ...] = ()
    classes: tuple[int, ...] = ()
    colors: tuple[tuple[str, int], ...] = ()
    within: int | None = None
    of: tuple[int, ...] = ()
    up_to: int | None = None
    to: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The step as it stands in a recipe."""
        plain: dict[str, Any] = {
            "values": dict(self.values), "classes": list(self.classes), "colors": dict(self.colors),
            "within": self.within, "of": list(self.of), "up_to": self.up_to, "to": self.to,
        }  # fmt: skip
        extra = {key: value for key, value in plain.items() if value or value == 0}
        return {"do": self.do, "enabled": self.enabled, "files": list(self.files), **extra, "why": self.why}


def recipe_text(steps: list[Step]) -> str:
    """The recipe as YAML."""
    body = yaml.safe_dump(
        {"version": 1, "steps": [step.as_dict() for step in steps]},
        sort_keys=False,
        allow_unicode=True,
        width=110,
    )
    return _HEAD + body


def read_recipe(path: str | Path) -> list[Step]:
    """Read a recipe.

    Raises:
        OptionError: missing, broken YAML, an unknown key or action, a value of the wrong type.
    """
    path = Path(path)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise OptionError("the recipe cannot be read", file=path, remedy="write one with --recipe") from error
    if not isinstance(document, Mapping) or set(document) != {"version", "steps"} or document["version"] != 1:
        raise OptionError(
            "not a recipe of version 1 with steps",
            file=path,
            remedy="write one: pixelwise check DATA --recipe FILE",
        )
    if not isinstance(document["steps"], list):
        raise OptionError("steps is no list", file=path, remedy="write - do: drop ... lines")
    return [_parsed(entry, number, path) for number, entry in enumerate(document["steps"], 1)]


def _parsed(entry: Any, number: int, path: Path) -> Step:
    def refuse(found: str, remedy: str) -> OptionError:
        return OptionError(f"step {number}: {found}", file=path, remedy=remedy)

    if not isinstance(entry, Mapping):
        raise refuse(f"{entry!r}", "write do:, files: and what the action needs")
    if unknown := [key for key in entry if key not in (*_COMMON, *_OPTIONS)]:
        raise refuse(f"unknown key {unknown[0]!r}", f"known: {', '.join((*_COMMON, *_OPTIONS))}")
    do: Any = entry.get("do")
    if do not in get_args(Action):
        raise refuse(f"do: {do!r}", f"known: {', '.join(get_args(Action))}")
    names = entry.get("files")
    if not isinstance(names, list) or not names or not all(_inside(name) for name in names):
        raise refuse(f"files: {names!r}", "list files by their path below DATA")
    if not isinstance(entry.get("enabled", True), bool):
        raise refuse(f"enabled: {entry['enabled']!r}", "write true or false")
    if problem := _wrong_options(do, entry):
        raise refuse(*problem)
    if do == "rename" and len(names) != 1:
        raise refuse(f"files: {names!r}", "rename one file in a step")
    return Step(
        do,
        tuple(names),
        why=str(entry.get("why", "")),
        enabled=entry.get("enabled", True),
        values=tuple(entry.get("values", {}).items()),
        classes=tuple(entry.get("classes", ())),
        colors=tuple(entry.get("colors", {}).items()),
        within=entry.get("within"),
        of=tuple(entry.get("of", ())),
        up_to=entry.get("up_to"),
        to=entry.get("to", ""),
    )


def _wrong_options(do: Action, entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong with the options of a step and how to mend it, or None."""
    needed, allowed = _NEEDS.get(do), (_NEEDS.get(do), _MAY.get(do))
    if needed is not None and not entry.get(needed):
        return f"{do} without {needed}:", f"write {_EXAMPLES[needed]}"
    for key in _OPTIONS:
        if key in entry and key not in allowed:
            return f"{do} with {key}:", f"take it out; {do} has {needed or 'nothing but files'}"
        if key in entry and not _sound(key, entry[key]):
            return f"{key}: {entry[key]!r}", f"write for instance {_EXAMPLES[key]}"
    return None


_EXAMPLES = {
    "values": "values: {255: 1}, new values from 0 to 65535",
    "classes": "classes: [0, 100, 200], from 0 to 65535",
    "colors": 'colors: {"#c0392b": 1}, values from 0 to 65535',
    "within": "within: 24, 0 or more",
    "of": "of: [255], whole numbers",
    "up_to": "up_to: 8, 1 or more",
    "to": "to: images/a_2.png, a name below DATA",
}


def _sound(key: str, value: Any) -> bool:
    """Whether an option of a step has a value that it may have."""
    if key == "to":
        return _inside(value)
    if key in ("within", "up_to"):
        return type(value) is int and value >= (key == "up_to")
    if key in ("classes", "of"):
        return isinstance(value, list) and all(_whole(entry, key == "classes") for entry in value)
    if not isinstance(value, Mapping) or not all(_whole(new, True) for new in value.values()):
        return False
    return all(is_color(old) if key == "colors" else _whole(old, False) for old in value)


def _whole(value: Any, bounded: bool) -> bool:
    return type(value) is int and (not bounded or 0 <= value <= _LARGEST)


def _inside(name: Any) -> bool:
    if not isinstance(name, str) or not name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
