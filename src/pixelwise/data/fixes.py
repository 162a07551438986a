"""A corrected copy of a dataset, made by a recipe that can be read and edited first."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import numpy as np
import PIL.Image
import yaml

from pixelwise import files
from pixelwise.data.checkreport import CheckReport
from pixelwise.data.items import Pair
from pixelwise.data.layouts import Layout, find_pairs
from pixelwise.data.read import read_mask
from pixelwise.errors import OptionError, OutputError, PixelwiseError

Action = Literal["drop", "map_values", "transpose", "rename"]
_KEYS = ("do", "files", "why", "enabled", "values", "to")
_HEAD = """\
# What `pixelwise check DATA --fix OUT --recipe THIS` does to a copy of DATA; DATA itself is never changed.
# Steps with `enabled: false` are guesses: look at the files, and write true where the step is right.
# do: drop (leave files out), map_values (of masks: old value: new value), transpose (masks), rename (to: new name)
"""


@dataclass(frozen=True)
class Step:
    """One thing to do to some files, given relative to DATA."""

    do: Action
    files: tuple[str, ...]
    why: str = ""
    enabled: bool = True
    values: tuple[tuple[int, int], ...] = ()
    to: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The step as it stands in a recipe."""
        extra: dict[str, Any] = {"values": dict(self.values)} if self.values else {}
        extra |= {"to": self.to} if self.to else {}
        return {"do": self.do, "enabled": self.enabled, "files": list(self.files), **extra, "why": self.why}


def mend(
    report: CheckReport, recipe: Path | None, out: Path | None, *, classes: Path | None = None
) -> list[str]:
    """Write the recipe, or the corrected copy by it or by what is proposed, and say what was done.

    Raises:
        OptionError: the recipe is wrong, or DATA is no folder.
        OutputError: a file is there already or cannot be written.
    """
    if not report.root.is_dir():
        raise OptionError("only folders can be mended", file=report.root, remedy="give the folder")
    if out is None and recipe is not None:
        if recipe.exists():
            raise OutputError(
                "is there already", file=recipe, remedy="choose another name, or use it: --fix OUT"
            )
        steps = propose(report, find_pairs(report.root, classes))
        files.write_text(recipe, recipe_text(steps))
        return [f"recipe    {recipe}: {len(steps)} steps, {sum(step.enabled for step in steps)} enabled"]
    if out is None:
        return []
    steps = read_recipe(recipe) if recipe is not None else propose(report, find_pairs(report.root, classes))
    done = apply(report.root, steps, out)
    left = sum(not step.enabled for step in steps)
    return [
        *done,
        f"copy      {out}: {len(done)} changes; {left} steps not enabled",
        f"next      pixelwise check {out}",
    ]


def propose(report: CheckReport, layout: Layout) -> list[Step]:
    """A step for each error that has a known remedy; only what loses nothing that could be used is enabled."""
    root = report.root
    partner: dict[Path, tuple[Path, ...]] = {}
    for item in layout.items:
        if isinstance(item, Pair):
            partner[item.image] = partner[item.mask] = (item.image, item.mask)
    steps: dict[tuple[str, ...], Step] = {}
    for problem in (finding.problem for finding in report.errors):
        if problem.file is None or not problem.file.is_relative_to(root):
            continue
        step = _step(problem, _named(root, partner.get(problem.file, (problem.file,))), problem.file, root)
        if step is not None:
            steps.setdefault((step.do, *step.files, str(step.values)), step)
    dropped = {name for step in steps.values() if step.do == "drop" and step.enabled for name in step.files}
    return [step for step in steps.values() if step.do == "drop" or not dropped.issuperset(step.files)]


def _step(problem: PixelwiseError, pair: tuple[str, ...], file: Path, root: Path) -> Step | None:
    one = _named(root, (file,))
    code, why = problem.code, problem.found
    if code in ("unreadable", "lone-image", "lone-mask", "mask-copy", "mask-ignored"):
        return Step("drop", pair, why)
    if code == "mask-binary":
        return Step("map_values", one, why, enabled=False, values=((255, 1),))
    if code == "mask-value" and isinstance(problem.value, int):
        return Step("map_values", one, why, enabled=False, values=((problem.value, 255),))
    if code == "mask-size" and "exchanged" in why:
        return Step("transpose", one, why, enabled=False)
    if code.startswith(("mask-", "image-")):
        return Step("drop", pair, why, enabled=False)
    if code == "name-clash":
        return Step(
            "rename", one, why, enabled=False, to=str(PurePosixPath(one[0]).with_stem(file.stem + "_2"))
        )
    return None


def _named(root: Path, paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(path.relative_to(root).as_posix() for path in paths)


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
    if unknown := [key for key in entry if key not in _KEYS]:
        raise refuse(f"unknown key {unknown[0]!r}", f"known: {', '.join(_KEYS)}")
    do: Any = entry.get("do")
    names, values = entry.get("files"), entry.get("values") or {}
    if do not in get_args(Action):
        raise refuse(f"do: {do!r}", f"known: {', '.join(get_args(Action))}")
    if not isinstance(names, list) or not names or not all(_inside(name) for name in names):
        raise refuse(f"files: {names!r}", "list files by their path below DATA")
    if not isinstance(values, Mapping) or not all(type(v) is int for pair in values.items() for v in pair):
        raise refuse(f"values: {values!r}", "write values: {255: 1}")
    if any(not 0 <= new <= 65535 for new in values.values()) or (do == "map_values") != bool(values):
        raise refuse(f"values: {values!r}", "map_values, and only that, has values from 0 to 65535")
    to = entry.get("to", "")
    if (do == "rename") != bool(to) or (to and (not _inside(to) or len(names) != 1)):
        raise refuse(f"to: {to!r}", "rename, and only that, has one file and a new name below DATA")
    if not isinstance(entry.get("enabled", True), bool):
        raise refuse(f"enabled: {entry['enabled']!r}", "write true or false")
    pairs = tuple((int(old), int(new)) for old, new in values.items())
    return Step(do, tuple(names), str(entry.get("why", "")), entry.get("enabled", True), pairs, to)


def _inside(name: Any) -> bool:
    if not isinstance(name, str) or not name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def apply(root: Path, steps: list[Step], out: Path) -> list[str]:
    """Write a copy of `root` with the enabled steps done into the new folder `out`; say what was done.

    Raises:
        OutputError: `out` exists and is not empty, lies in `root`, or cannot be written to.
        OptionError: a step names a file that is not there.
        DataError: a mask that is to be changed cannot be read.
    """
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise OutputError("lies inside DATA, or DATA inside it", file=out, remedy="choose another folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError("is there already", file=out, remedy="choose a new or empty folder")
    active = [step for step in steps if step.enabled]
    drop = {name for step in active if step.do == "drop" for name in step.files}
    moved = {step.files[0]: step.to for step in active if step.do == "rename"}
    changes = {name: step for step in active if step.do in ("map_values", "transpose") for name in step.files}
    for name in (*drop, *moved, *changes):
        if not (root / name).exists() and not (root / name).is_symlink():
            raise OptionError(f"no such file: {name}", file=root, remedy="correct the recipe")
    done = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root).as_posix()
        if name in drop:
            done.append(f"left out {name}")
            continue
        target = out / moved.get(name, name)
        if name in moved:
            done.append(f"renamed {name} to {moved[name]}")
        if name in changes:
            target = target.with_suffix(".png")
            files.write_bytes(target, _changed(path, changes[name]))
            done.append(f"{changes[name].do} {name}")
        else:
            files.write_bytes(target, path.read_bytes())
    return done


def _changed(path: Path, step: Step) -> bytes:
    mask = read_mask(path)
    values = mask.values
    if step.do == "transpose":
        values = values.swapaxes(0, 1)
    else:
        if values.ndim == 3:
            raise OptionError(
                "map_values is for masks of one band", file=path, remedy="take it out of the recipe"
            )
        mapped = values.astype(np.int64)
        for old, new in step.values:
            mapped[values == old] = new
        values = mapped.astype(np.uint8 if mapped.min() >= 0 and mapped.max() <= 255 else np.uint16)
    stream = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(values)).save(stream, "PNG")
    return stream.getvalue()
