"""`predict`: images to class maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.terms import Json, Model, emit


def predict(
    model: Model,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Images or folders.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write to.", show_default=False)
    ],
    overlay: Annotated[bool, typer.Option(help="Also write the classes laid over each image.")] = True,
    confidence: Annotated[bool, typer.Option(help="Also write how sure the model is of each pixel.")] = False,
    json: Json = False,
) -> None:
    """Label every pixel of images: index PNGs with the classes' colours, and overlays."""
    from pixelwise.infer import predict_files
    from pixelwise.models.bundle import load

    network = load(model)
    with Bar("images") as bar:
        written = predict_files(network, inputs, out, overlays=overlay, confidence=confidence, progress=bar)
    if json:
        emit({"written": [str(path) for path in written]})
    else:
        print(f"{len(written)} files in {out}")
