"""`quantize`: a bundle whose convolutions compute in 8-bit integers where an engine can."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.terms import (
    Classes,
    Data,
    Json,
    Model,
    Seed,
    Splits,
    chosen_split,
    emit,
    open_data,
    refuse_folder,
)


def quantize(  # noqa: PLR0913  the command line has more options than a function should
    model: Model,
    data: Data,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="New bundle to write.", show_default=False)
    ],
    images: Annotated[int, typer.Option(help="Images of the training split to measure ranges on.")] = 64,
    split: Annotated[
        str, typer.Option(help="Images to compare labels on: val, or others not trained on.")
    ] = "val",
    classes: Classes = None,
    splits: Splits = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Let a model predict in 8-bit integers, about 1.7 times as fast, and tell how many labels that changes.

    The new bundle predicts so with the engine openvino, which `auto` may go over to in a long job; the other engines
    and `evaluate` take it as it was.
    """
    from pixelwise.errors import OptionError
    from pixelwise.evaluation.checks import seen_in_training
    from pixelwise.evaluation.comparisonreport import comparison_text
    from pixelwise.evaluation.quantize import quantized
    from pixelwise.models.bundle import facts_of, load, save

    refuse_folder(out, "quick.safetensors")
    if images < 1:
        raise OptionError(f"--images is {images}", remedy="measure ranges on one image or more")
    network = load(model)
    facts = facts_of(network)
    dataset = open_data(data, classes, splits, seed=seed, stored=facts.split)
    judged = chosen_split(dataset, split)
    warnings = list(seen_in_training(network, judged, str(model)))
    for note in warnings:
        typer.echo(f"warning: {note}", err=True)
    with Bar("images") as bar:
        found, comparison = quantized(network, dataset.train, judged, images=images, progress=bar)
    save(network, out, facts=facts.model_copy(update={"quantization": found}))
    if facts.calibration is not None and facts.calibration.set_threshold is not None:
        warnings.append("label sets hold what was promised without integers: with them it was not measured")
        typer.echo(f"warning: {warnings[-1]}", err=True)
    if json:
        told = {"model": str(out), "quantization": found.model_dump(mode="json", exclude={"ranges"})}
        emit({**told, "layers": len(found.ranges), "comparison": comparison.as_dict(), "warnings": warnings})
        return
    print(f"A  {model}\nB  the same in integers\n\n{comparison_text(comparison)}")
    print(
        f"\n{len(found.ranges)} layers in integers, their ranges from {found.images} images of {found.split}"
    )
    print(
        f"{found.agreement:.2%} of labels are what they were, on {found.judged_images} images of {judged.name}"
    )
    print(f"model   {out}\nuse     pixelwise predict {out} IMAGES -o DIR --engine openvino")
