"""`predict`: images to class maps, classes, reconstructions or boxes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.terms import Json, Model, emit
from pixelwise.errors import OptionError


def predict(  # noqa: PLR0913  the command line has more options than a function should
    model: Model,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Images or folders.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write to.", show_default=False)
    ],
    overlay: Annotated[
        bool, typer.Option(help="Of class maps: also write the classes laid over each image.")
    ] = True,
    confidence: Annotated[
        bool, typer.Option(help="Of class maps: also write how sure the model is of each pixel.")
    ] = False,
    objects: Annotated[
        bool,
        typer.Option("--objects", help="Of class maps: also write the connected pixels of each class."),
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="With --objects: a class that is no object; may be repeated."),
    ] = None,
    min_area: Annotated[int, typer.Option(help="With --objects: leave out smaller ones, in pixels.")] = 1,
    engine: Annotated[
        str,
        typer.Option(
            help="Of class maps: auto, eager, openvino, compiled or onnxruntime. auto starts at once and changes to "
            "something quicker where that pays."
        ),
    ] = "auto",
    json: Json = False,
) -> None:
    """Answer for images with a model of any task.

    Class maps as index PNGs with the classes' colours and overlays; classes.csv; reconstructions; boxes.csv and
    pictures with the box drawn in.
    """
    from pixelwise.infer import EngineChoice, ObjectOptions, predict_files
    from pixelwise.models.bundle import load_network

    if not objects and (skip or min_area != 1):
        raise OptionError("--skip and --min-area say which objects are written", remedy="add --objects")
    network = load_network(model)
    with Bar("images") as bar:
        written = predict_files(
            network,
            inputs,
            out,
            overlays=overlay,
            confidence=confidence,
            objects=ObjectOptions(tuple(skip or ()), min_area) if objects else None,
            engine=EngineChoice(engine, say=lambda text: print(text, file=sys.stderr)),
            progress=bar,
        )
    if json:
        emit({"task": network.task, "written": [str(path) for path in written]})
    else:
        print(f"{len(written)} {'file' if len(written) == 1 else 'files'} in {out}")
