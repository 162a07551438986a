"""`score`: a class map that is there already, compared with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.terms import Json, emit


def score(
    found: Annotated[
        Path,
        typer.Argument(metavar="MAP", help="Class map: GeoTIFF or PNG, of any size.", show_default=False),
    ],
    truth: Annotated[
        Path,
        typer.Argument(metavar="TRUTH", help="The true map, on the same grid.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="DIR", help="Folder for the scores.", show_default=False),
    ],
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="classes.yaml of both maps.", show_default=False),
    ] = None,
    boundary: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Width of the boundary and tolerance of boundary F; by default shares of the diagonal.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compare a class map with the true one: scores over all pixels and along the borders."""
    from pixelwise.data.classfile import read_classes
    from pixelwise.evaluation.maps import score_files
    from pixelwise.evaluation.report import CONFUSION_NAME, SCORES_NAME, confusion_csv
    from pixelwise.evaluation.terminal import render, render_boundary
    from pixelwise.files import locked, write_json, write_text

    table = None if classes is None else read_classes(classes)
    with locked(out) as folder:
        scored = score_files(found, truth, table=table, width=boundary)
        names = [one.name for one in scored.scores.classes]
        write_text(folder / CONFUSION_NAME, confusion_csv(scored.scores.confusion, names))
        write_json(folder / SCORES_NAME, scored.as_dict())
    if json:
        emit({"written": str(out / SCORES_NAME), **scored.as_dict()})
        return
    print(render(scored.scores))
    print(render_boundary(scored.boundary))
    for note in scored.notes:
        print(f"note: {note}")
    print(f"scores in {out}")
