"""`calibrate`: a bundle with temperatures fitted on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.terms import (
    Classes,
    Data,
    Json,
    Model,
    Place,
    Seed,
    Splits,
    chosen_split,
    emit,
    open_data,
    refuse_folder,
)


def calibrate(  # noqa: PLR0913  the command line has more options than a function should
    model: Model,
    data: Data,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="New bundle to write.", show_default=False)
    ],
    split: Annotated[str, typer.Option(help="Images to fit on: val, or others not trained on.")] = "val",
    perturb: Annotated[
        bool,
        typer.Option(
            "--perturb",
            help="Fit on images made darker, blurred, larger: for images that are to come from elsewhere.",
        ),
    ] = False,
    share: Annotated[
        float, typer.Option(help="Of pixels whose true class the label sets are to hold.")
    ] = 0.9,
    classes: Classes = None,
    splits: Splits = None,
    seed: Seed = 0,
    device: Place = "auto",
    json: Json = False,
) -> None:
    """Fit temperatures, so that a confidence of 0.8 is right four times in five. Labels stay what they are."""
    from pixelwise.errors import OptionError
    from pixelwise.evaluation.checks import seen_in_training
    from pixelwise.evaluation.temperature import calibrated
    from pixelwise.models.bundle import facts_of, load, save

    refuse_folder(out, "calibrated.safetensors")
    if not 0 < share < 1:
        raise OptionError(f"--share is {share:g}", remedy="a share lies between 0 and 1, such as 0.9")
    network = load(model, device)
    facts = facts_of(network)
    dataset = open_data(data, classes, splits, seed=seed, stored=facts.split)
    chosen = chosen_split(dataset, split)
    warnings = list(seen_in_training(network, chosen, str(model)))
    if warnings:  # images it knows are no draw of those to come, so nothing can be promised of these
        warnings.append("no label sets: their promise takes images that the model did not learn from")
    for note in warnings:
        typer.echo(f"warning: {note}", err=True)
    with Bar("images") as bar:
        found = calibrated(
            network, chosen, perturb=perturb, share=None if warnings else share, seed=seed, progress=bar
        )
    save(network, out, facts=facts.model_copy(update={"calibration": found}))
    if json:
        told: dict[str, Any] = {"model": str(out), "calibration": found.model_dump(mode="json")}
        emit({**told, "warnings": warnings})
        return
    names = [spec.name for spec in network.classes]
    values = found.each(len(names))
    if found.kind == "per_class":
        print(
            "\n".join(
                f"{name:<20} temperature {value:.3f}" for name, value in zip(names, values, strict=True)
            )
        )
    else:
        print(f"temperature {values[0]:.3f}")
    print(
        f"calibration error {found.ece_before:.4f} -> {found.ece_after:.4f} on {found.images} images of {found.split}"
    )
    if found.set_threshold is not None:
        print(
            f"label sets of {found.set_share:.0%}: classes with a probability of {found.set_threshold:.4f} or more"
        )
    print(f"model   {out}")
