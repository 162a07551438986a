"""A corrected copy of a dataset, made by a recipe that can be read and edited first."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pixelwise import files
from pixelwise.data.checkreport import CheckReport
from pixelwise.data.classfile import CLASS_FILES
from pixelwise.data.fixrecipe import Step, read_recipe, recipe_text
from pixelwise.data.items import Pair
from pixelwise.data.layouts import Layout, find_pairs
from pixelwise.data.maskfixes import changed, speck_step, step_for
from pixelwise.data.unused import NOT_READ
from pixelwise.errors import OptionError, OutputError, PixelwiseError, UnreadableError

_WARNINGS = ("mask-palette", "mask-specks")  # that a step could mend
# A file of which nothing is left may be dropped with its pair; one that we alone cannot read may not.
_LOST = ("the file is empty", "damaged")
_LET_OR_DROP = (
    "give yourself permission to read it, or leave it out by a step drop of a recipe: --recipe FILE"
)
_OF_MASKS = ("map_values", "snap", "to_index", "fill_specks", "transpose")


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
    done = apply(report.root, steps, out, classes=classes)
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
    for finding in report.findings:
        problem = finding.problem
        if finding.level == "warning" and problem.code not in _WARNINGS:
            continue
        if problem.file is None or not problem.file.is_relative_to(root):
            continue
        pair = _named(root, partner.get(problem.file, (problem.file,)))
        step = _step(problem, pair, problem.file, report)
        if step is not None:
            steps.setdefault((step.do, *step.files), step)
    dropped = {name for step in steps.values() if step.do == "drop" and step.enabled for name in step.files}
    return [step for step in steps.values() if step.do == "drop" or not dropped.issuperset(step.files)]


def _step(problem: PixelwiseError, pair: tuple[str, ...], file: Path, report: CheckReport) -> Step | None:
    root, table = report.root, report.table
    one = _named(root, (file,))
    code, why = problem.code, problem.found
    if code in ("unreadable", "lone-image", "lone-mask", "mask-copy"):
        lost = why.startswith(_LOST) if code == "unreadable" else NOT_READ not in why
        return Step("drop", pair, why, enabled=lost)
    if code == "mask-binary":
        return Step("map_values", one, why, enabled=False, values=((255, 1),))
    if code == "mask-size" and "exchanged" in why:
        return Step("transpose", one, why, enabled=False)
    if code == "mask-specks":
        return speck_step(table, file, _named(root, report.speckled), why) if table is not None else None
    if table is not None and (step := step_for(code, table, file, one, why)) is not None:
        return step
    if code.startswith(("mask-", "image-")) and code not in _WARNINGS:
        return Step("drop", pair, why, enabled=False)
    if code == "name-clash":
        return Step(
            "rename", one, why, enabled=False, to=str(PurePosixPath(one[0]).with_stem(file.stem + "_2"))
        )
    return None


def _named(root: Path, paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(path.relative_to(root).as_posix() for path in paths)


def apply(root: Path, steps: list[Step], out: Path, *, classes: Path | None = None) -> list[str]:
    """Write a copy of `root` with the enabled steps done into the new folder `out`; say what was done.

    A file of `classes` takes the place of what `root` has.

    Raises:
        OutputError: `out` exists and is not empty, lies in `root`, or cannot be written to.
        OptionError: a step names a file that is not there.
        DataError: a mask that is to be changed, or a file that is to be copied, cannot be read.
    """
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise OutputError("lies inside DATA, or DATA inside it", file=out, remedy="choose another folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError("is there already", file=out, remedy="choose a new or empty folder")
    active = [step for step in steps if step.enabled]
    drop = {name for step in active if step.do == "drop" for name in step.files}
    moved = {step.files[0]: step.to for step in active if step.do == "rename"}
    changes: dict[str, list[Step]] = {}
    for step in active:
        for name in step.files if step.do in _OF_MASKS else ():
            changes.setdefault(name, []).append(step)
    _refuse_absent(root, (*drop, *moved, *changes))
    done, written = [f"left out {name}" for name in sorted(drop)], dict[Path, str]()
    every = {path: path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()}
    left_out = {*drop, *CLASS_FILES} if classes is not None else drop
    kept = {path: name for path, name in every.items() if name not in left_out}
    _refuse_closed(kept)
    for path, name in kept.items():
        target = out / moved.get(name, name)
        target = target.with_suffix(".png") if name in changes else target
        if target in written:
            found = f"{written[target]} and {name} would both become {target.name}"
            raise OptionError(found, file=root, remedy="rename or drop one of them in the recipe")
        written[target] = name
        done += [f"renamed {name} to {moved[name]}"] if name in moved else []
        done += _written(path, name, target, changes.get(name, []))
    if classes is not None:
        target = out / _class_file(classes)
        _copy(classes, target)
        done.append(f"{target.name} from {classes}")
    return done


def _refuse_absent(root: Path, names: Iterable[str]) -> None:
    for name in names:
        if not (root / name).exists() and not (root / name).is_symlink():
            raise OptionError(f"no such file: {name}", file=root, remedy="correct the recipe")


def _refuse_closed(paths: Iterable[Path]) -> None:
    """Before anything is written: a copy that lacks a file would not say so."""
    for path in paths:
        if not os.access(path, os.R_OK):
            raise UnreadableError("no permission to read the file", file=path, remedy=_LET_OR_DROP)


def _class_file(classes: Path) -> str:
    """The name under which the copy finds its classes."""
    if classes.suffix.lower() != ".txt":
        return "classes.yaml"
    return "labelmap.txt" if classes.name.lower() == "labelmap.txt" else "classes.txt"


def _copy(path: Path, target: Path) -> None:
    try:
        stream = path.open("rb")
    except OSError as error:
        found = f"cannot be copied: {error.strerror}"
        raise UnreadableError(found, file=path, remedy=_LET_OR_DROP) from error
    with stream:
        files.write_stream(target, stream)


def _written(path: Path, name: str, target: Path, steps: list[Step]) -> list[str]:
    if not steps:
        _copy(path, target)
        return []
    content, ignored = changed(path, steps)
    files.write_bytes(target, content)
    lost = f": {ignored} pixels near no class are ignored now" if ignored else ""
    return [f"{', '.join(step.do for step in steps)} {name}{lost}"]
