"""`compare`: is one model better than another, or is it chance?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.terms import (
    Classes,
    Data,
    Json,
    Place,
    Seed,
    SplitName,
    Splits,
    chosen_split,
    emit,
    open_data,
)

if TYPE_CHECKING:
    from pixelwise.data.dataset import Split
    from pixelwise.metrics import Scores
    from pixelwise.models.segmenter import Segmenter


def compare(  # noqa: PLR0913  the command line has more options than a function should
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A model, or several runs of one recipe: A1,A2,A3.", show_default=False
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The model to hold against it.", show_default=False)],
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="DIR", help="Folder for compare.json and compare.html.", show_default=False
        ),
    ] = None,
    split: SplitName = None,
    classes: Classes = None,
    splits: Splits = None,
    seed: Seed = 0,
    device: Place = "auto",
    json: Json = False,
) -> None:
    """Score two models on the same images and tell whether one is better, by how much and how sure that is.

    Several runs of a model, with other seeds, are given separated by commas: then the answer is about the recipe and
    not about one network.
    """
    from pixelwise.data.groups import find_groups
    from pixelwise.evaluation.checks import seen_in_training
    from pixelwise.evaluation.comparison import compare_runs
    from pixelwise.evaluation.comparisonreport import comparison_text, write_comparison
    from pixelwise.models.bundle import facts_of

    sides = [_networks(a, device), _networks(b, device)]
    _check_alike([network for side in sides for network in side])
    dataset = open_data(data, classes, splits, seed=seed, stored=facts_of(sides[0][0]).split)
    chosen = chosen_split(dataset, split)
    scores = [[_scores(network, chosen) for network in side] for side in sides]
    found = compare_runs(scores[0], scores[1], find_groups(chosen))
    named = zip([network for side in sides for network in side], [*_paths(a), *_paths(b)], strict=True)
    warnings = dict.fromkeys(
        note for network, name in named for note in seen_in_training(network, chosen, name)
    )
    for note in warnings:
        typer.echo(f"warning: {note}", err=True)
    if out is not None:
        about = {"A": a, "B": b, "data": dataset.root, "split": f"{chosen.name}, {len(chosen):,} images"}
        about |= {"intervals over": found.units.origin}
        write_comparison(found, out, chosen.classes, about, warnings=tuple(warnings))
    if json:
        emit({**found.as_dict(), "warnings": list(warnings)})
    else:
        print(f"A  {a}\nB  {b}\n{chosen.name} split of {dataset.root} ({dataset.split_origin})\n")
        print(comparison_text(found))
        if out is not None:
            print(f"\nreport  {out / 'compare.html'}\nnumbers {out / 'compare.json'}")


def _networks(text: str, device: str) -> list[Segmenter]:
    """The networks of a list of model files or run folders, separated by commas."""
    from pixelwise.evaluation.checks import check_different
    from pixelwise.models.bundle import load

    paths = _paths(text)
    networks = [load(Path(path), device) for path in paths]
    check_different(networks, paths)
    return networks


def _paths(text: str) -> list[str]:
    from pixelwise.errors import OptionError

    paths = [part.strip() for part in text.split(",")]
    if not all(paths):
        raise OptionError(
            f"{text!r} names an empty path", remedy="separate models by single commas: A1,A2,A3"
        )
    return paths


def _check_alike(networks: list[Segmenter]) -> None:
    """Refuse models of other classes."""
    from pixelwise.errors import ClassesError

    known, *others = [[spec.name for spec in network.classes] for network in networks]
    for names in others:
        if names != known:
            raise ClassesError(
                f"the models know different classes: {', '.join(known)}, and {', '.join(names)}",
                remedy="compare models that were trained for the same classes, in the same order",
            )


def _scores(network: Segmenter, split: Split) -> Scores:
    from pixelwise.evaluation import evaluate

    with Bar("images") as bar:
        return evaluate(network, split, progress=bar)
