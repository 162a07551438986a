"""`leakcost`, and what `check --leaks` prints: images that show the same in several splits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.terms import Classes, Data, Json, Seed, Set, Splits, emit, open_data

if TYPE_CHECKING:
    from pixelwise.data.leaks import LeakReport

Leaks = Annotated[
    bool,
    typer.Option(
        "--leaks", help="Also look for crops, tiles, footprints and groups that are in several splits."
    ),
]
SplitTo = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.csv",
        help="Write a split without leaks, to be given as --splits; looks as --leaks does.",
        show_default=False,
    ),
]


def look(data: Path, classes: Path | None, splits: str | None, split_to: Path | None) -> LeakReport:
    """Find leaks, and write the proposed split where it is asked for."""
    from pixelwise.data.leaks import find_leaks
    from pixelwise.errors import OptionError
    from pixelwise.files import write_text

    if split_to is not None and split_to.suffix.lower() != ".csv":
        raise OptionError(f"--split-to {split_to}", remedy="give a name that ends with .csv")
    with Bar("images") as bar:
        report = find_leaks(open_data(data, classes, splits), progress=bar)
    if split_to is not None:
        write_text(split_to, report.proposal.csv_text())
        print(f"split    {split_to}", file=sys.stderr)
    return report


def leakcost(  # noqa: PLR0913  the command line has more options than a function should
    data: Data,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write to.", show_default=False)
    ],
    minutes: Annotated[float, typer.Option(help="Budget of each of the three trainings.")] = 3.0,
    clock: Annotated[str, typer.Option(help="What minutes count: wall, or processor.")] = "wall",
    set_: Set = None,
    classes: Classes = None,
    splits: Splits = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure how much a split by chance flatters: three trainings, with neighbours in training and without.

    --splits gives a split that keeps groups together; without it the one that `check --leaks` proposes is used.
    """
    from pixelwise.config import fill, parse_settings
    from pixelwise.data.dataset import open_dataset
    from pixelwise.review.leakcost import FILE, leak_cost
    from pixelwise.training.options import TrainOptions

    settings = {"minutes": minutes, "clock": clock, "seed": seed} | parse_settings(set_ or [])
    if "epochs" in settings:
        settings["minutes"] = None
    options = fill(TrainOptions(), settings)
    if splits is None:
        proposal = look(data, classes, None, None).proposal
        split: dict[str, list[str]] = {name: list(names) for name, names in proposal.names.items()}
        dataset = open_dataset(data, classes=classes, split=split, seed=seed)
    else:
        dataset = open_data(data, classes, splits, seed=seed)
    cost = leak_cost(dataset, out=out, options=options, say=lambda text: print(text, file=sys.stderr))
    if json:
        emit(cost.as_dict())
        return
    print(f"{len(cost.images)} test images, {cost.trained} to train in each training")
    print(f"mean IoU {cost.mixed:.4f} with {cost.exchanged} neighbours of the test images in training")
    print(f"mean IoU {cost.apart:.4f} without: neighbours are worth {cost.gain:+.4f}")
    print(f"{_interval(cost.interval, cost.reliable)}, over {cost.units}")
    print(f"mean IoU {cost.by_chance:.4f} by a split by chance, {cost.by_groups:.4f} by the split by groups,")
    interval = _interval(cost.flattery_interval, cost.flattery_reliable)
    print(f"each on its own test images: {cost.flattery:+.4f}, {interval}")
    for note in cost.notes:
        print(f"note: {note}")
    print(f"scores   {out / FILE}")


def _interval(bounds: tuple[float, float], reliable: bool) -> str:
    """In words, with a question mark where it is not to be relied on."""
    return f"95 % interval {bounds[0]:+.4f} to {bounds[1]:+.4f}{'' if reliable else ' ?'}"
