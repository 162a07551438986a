"""`review`: label errors, images to label next, and corrected copies of masks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.settings import training_settings
from pixelwise.cli.terms import (
    Batch,
    Classes,
    Config,
    Data,
    Decoder,
    Device,
    Encoder,
    Json,
    Model,
    RunSeed,
    Set,
    Size,
    Splits,
    Weights,
    emit,
    open_data,
    parse_size,
)

review = typer.Typer(
    help="Look back at labels: probable errors, corrections, what to label next.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Out = Annotated[
    Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write to.", show_default=False)
]


@review.command("labels")
def labels(  # noqa: PLR0913  the command line has more options than a function should
    data: Data,
    out: Out,
    minutes: Annotated[
        float | None, typer.Option(help="Budget of each fold's training; 20 unless --epochs is given.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over its images, instead.")] = None,
    folds: Annotated[int, typer.Option(help="So many networks are trained.")] = 3,
    by: Annotated[
        str, typer.Option(help="What keeps images in one fold: groups (scene, film), or blocks of names.")
    ] = "groups",
    split: Annotated[str, typer.Option(help="Whose labels: all, train, val or test.")] = "all",
    model: Decoder = None,
    encoder: Encoder = None,
    encoder_weights: Weights = None,
    size: Size = None,
    batch: Batch = None,
    seed: RunSeed = None,
    device: Device = None,
    config: Config = None,
    set_: Set = None,
    band: Annotated[int, typer.Option(help="Boundaries may be off by as many pixels.")] = 3,
    min_area: Annotated[int, typer.Option(help="Smaller regions are left out, in pixels.")] = 60,
    shown: Annotated[int, typer.Option(help="Regions on the page; the patch holds all.")] = 100,
    classes: Classes = None,
    splits: Splits = None,
    json: Json = False,
) -> None:
    """Find regions that are probably labelled wrongly: a ranked page and a patch.

    Each image is judged by a network that was trained on the other folds. Interrupted, the same command goes on.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once: large pages, fewer page faults
    from pixelwise.config import fill
    from pixelwise.errors import OptionError
    from pixelwise.review.audit import AuditOptions, find_label_errors
    from pixelwise.review.folds import OPTIONS
    from pixelwise.review.labels import SuspectOptions

    if by not in ("groups", "blocks"):
        raise OptionError(f"--by {by!r}", remedy="give groups or blocks")
    named: dict[str, Any] = {"model": model, "encoder": encoder, "minutes": minutes, "epochs": epochs}
    named |= {"size": parse_size(size), "batch": batch, "seed": seed, "device": device}
    transfer = {"encoder_weights": encoder_weights}
    options = fill(OPTIONS, training_settings(config, named, transfer=transfer, set_=set_))
    dataset = open_data(data, classes, splits, seed=options.seed)
    with Bar("images") as bar:
        found = find_label_errors(
            dataset,
            out,
            options=options,
            audit=AuditOptions(folds, "groups" if by == "groups" else "blocks", split, shown),
            suspects=SuspectOptions(band, min_area),
            say=lambda text: print(text, file=sys.stderr),
            progress=bar,
        )
    if json:
        emit(found.as_dict())
        return
    print(f"{found.regions} regions in {found.images} of {found.judged} images are probably labelled wrongly")
    print(f"report  {found.page}\npatch   {found.patch}")
    if found.regions:
        print(f"next    pixelwise review apply {found.patch} {data} -o CORRECTED --accept 1,2,5-9")


@review.command("next")
def next_images(
    model: Model,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Image files or folders.", show_default=False)
    ],
    out: Out,
    count: Annotated[int, typer.Option(help="So many images are chosen.")] = 20,
    json: Json = False,
) -> None:
    """Say which images to label next: those that MODEL is unsure of, and not twice the same."""
    from pixelwise.review.audit import choose_images

    with Bar("images") as bar:
        chosen = choose_images(model, images, out, count=count, progress=bar)
    if json:
        emit(chosen.as_dict())
        return
    for place, one in enumerate(chosen.choices, 1):
        print(f"{place:>4}  uncertainty {one.uncertainty:.3f}  distance {one.distance:.3f}  {one.name}")
    print(f"report  {out / 'next.html'}\ntable   {out / 'next.csv'}")


@review.command("apply")
def apply(
    patch: Annotated[
        Path, typer.Argument(metavar="PATCH", help="patch.json of `review labels`.", show_default=False)
    ],
    data: Data,
    out: Out,
    accept: Annotated[
        str | None,
        typer.Option(
            metavar="RANKS",
            help="Regions to correct: 1,2,5-9, all or none; without it those that the patch accepts.",
        ),
    ] = None,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Write copies of all masks of DATA with the accepted regions corrected; DATA stays as it is."""
    from pixelwise.review.patch import accepting, apply_patch, parse_ranks, read_patch

    corrections = read_patch(patch)
    if accept is not None:
        known = {region.rank for region in corrections.regions}
        corrections = accepting(corrections, parse_ranks(accept, known))
    dataset = open_data(data, classes, None)
    with Bar("masks") as bar:
        done = apply_patch(corrections, dataset, out, progress=bar)
    if json:
        emit(done.as_dict())
        return
    print(f"{done.regions} regions, {done.pixels} pixels corrected in {done.changed} of {done.masks} masks")
    print(f"masks   {out}, with a classes.yaml; the images are still in {data}")
