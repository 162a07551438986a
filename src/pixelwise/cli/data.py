"""`sample` and `check`: datasets made and looked at."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.leaks import Leaks, SplitTo, look
from pixelwise.cli.terms import Classes, Data, Json, Splits, emit, spell


def sample(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="New folder to write to.", show_default=False)
    ],
    seed: Annotated[int, typer.Option(help="Another seed, other towns.")] = 0,
    json: Json = False,
) -> None:
    """Write the built-in dataset: generated aerial towns with exact labels."""
    from pixelwise.data.sample import write_sample

    with Bar("writing tiles") as bar:
        written = write_sample(folder, seed=seed, progress=bar, workers=os.cpu_count() or 1)
    if json:
        emit({"folder": str(written)})
    else:
        print(f"dataset  {written}\nnext     {spell('check', written)}")


def check(  # noqa: PLR0913  the command line has more options than a function should
    data: Data,
    classes: Classes = None,
    splits: Splits = None,
    leaks: Leaks = False,
    split_to: SplitTo = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="DIR",
            help="Write check.html and check.json there, with the leaks if asked for.",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write there what could be done about the errors, to read and edit; with --fix: do what it says.",
            show_default=False,
        ),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT", help="Write a corrected copy there; DATA stays as it is.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Say what is in a folder of images and masks, what is wrong with it and how to mend it.

    Exit status 1 when there are errors among the findings.
    """
    from pixelwise.data.check import check_dataset, render

    with Bar("reading images") as bar:
        report = check_dataset(data, classes=classes, split=splits, progress=bar)
    found = None
    if leaks or split_to is not None:
        if all(finding.problem.code == "split-empty" for finding in report.errors):
            found = look(data, classes, splits, split_to)
        else:
            print("leaks are looked for once the errors are mended", file=sys.stderr)
    page = None
    if out is not None:
        from pixelwise.data.checkpage import write_check

        page = write_check(report, out, found)
    if json:
        emit(report.as_dict() | ({"leaks": found.as_dict()} if found is not None else {}))
    else:
        print(render(report))
        if found is not None:
            print(f"\n{found.render()}")
        if page is not None:
            print(f"report    {page}")
        if report.ok and recipe is None and fix is None:
            task = report.task if report.task != "segment" else None
            options = {"--minutes": 20, "--task": task, "--classes": classes, "--splits": split_to or splits}
            print(f"next      {spell('train', data, '-o', 'run', options=options)}")
    if recipe is not None or fix is not None:
        from pixelwise.data.fixes import mend

        for line in mend(report, recipe, fix, classes=classes):
            print(line, file=sys.stderr)
    return 0 if report.ok else 1
