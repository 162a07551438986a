"""`train` and `evaluate`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    Place,
    RunSeed,
    Seed,
    Set,
    Size,
    SplitName,
    Splits,
    Weights,
    chosen_split,
    emit,
    open_data,
    parse_size,
    spell,
)
from pixelwise.cli.thorough import Thorough
from pixelwise.cli.thorough import thorough as look_thoroughly

if TYPE_CHECKING:
    from pixelwise.data.dataset import Dataset, Split
    from pixelwise.evaluation.comparison import RunsSummary
    from pixelwise.evaluation.report import Context
    from pixelwise.evaluation.terminal import AnyScores
    from pixelwise.models.network import Network
    from pixelwise.models.segmenter import Segmenter


def train(  # noqa: PLR0913  the command line has more options than a function should
    data: Data,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="RUN", help="The run folder to write.", show_default=False)
    ],
    task: Annotated[
        str | None, typer.Option(help="segment (default), classify, reconstruct or localize.")
    ] = None,
    model: Decoder = None,
    encoder: Encoder = None,
    encoder_weights: Weights = None,
    strategy: Annotated[
        str | None, typer.Option(help="With weights: full (default), last, partial or staged.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Wall-clock budget; 20 unless --epochs is given.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images, instead.")] = None,
    size: Size = None,
    batch: Batch = None,
    seed: RunSeed = None,
    device: Device = None,
    config: Config = None,
    set_: Set = None,
    classes: Classes = None,
    splits: Splits = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN, exactly.")] = False,
    json: Json = False,
) -> None:
    """Train a network; choose its best weights on the validation split; write a run folder.

    Ctrl-C saves and ends; --resume goes on.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once: large pages, fewer page faults
    from pixelwise.config import fill
    from pixelwise.data.views import open_images
    from pixelwise.training import train as run_training
    from pixelwise.training.log import spoken
    from pixelwise.training.options import TrainOptions
    from pixelwise.training.run import stored_options, stored_split

    named: dict[str, Any] = {
        "task": task,
        "model": model,
        "encoder": encoder,
        "minutes": minutes,
        "epochs": epochs,
    }
    named |= {"size": parse_size(size), "batch": batch, "seed": seed, "device": device}
    transfer = {"encoder_weights": encoder_weights, "strategy": strategy}
    settings = training_settings(config, named, transfer=transfer, set_=set_)
    options = fill(TrainOptions(), settings)
    stored = stored_split(out) if resume else None
    goal = stored_options(out).task if stored is not None else options.task
    if goal == "reconstruct":
        dataset = open_images(data, split=stored or splits, seed=options.seed)
    else:
        dataset = open_data(data, classes, splits, seed=options.seed, stored=stored)
    given = options if settings else None
    run = run_training(dataset, out=out, options=given, resume=resume)
    if json:
        emit(run.as_dict())
    else:
        print(f"model   {run.model}\nreport  {run.folder / 'report.html'}")
        if run.score is not None:
            score = f"{spoken(run.measure)} {run.score:.4f}"
            print(f"validation {score} after {run.seconds / 60:.1f} minutes, {run.steps} steps")
        same = {"--classes": classes, "--splits": splits}
        print(f"next    {spell('evaluate', out, data, '-o', 'report', options=same)}")


def evaluate(  # noqa: PLR0913  see train
    model: Model,
    data: Data,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write to.", show_default=False)
    ],
    split: SplitName = None,
    classes: Classes = None,
    splits: Splits = None,
    seed: Seed = 0,
    check: Annotated[
        bool, typer.Option(help="Check all files of DATA too and put the findings into the report.")
    ] = True,
    thorough: Thorough = False,
    runs: Annotated[
        list[Path] | None,
        typer.Option(metavar="OTHER", help="Another seed of the recipe; may be repeated. All are summed up."),
    ] = None,
    device: Place = "auto",
    json: Json = False,
) -> None:
    """Score a model of any task on a dataset: scores.json and a report that opens offline."""
    from pixelwise.errors import OptionError
    from pixelwise.evaluation import evaluate as score
    from pixelwise.evaluation import render
    from pixelwise.evaluation.comparisonreport import summary_text
    from pixelwise.evaluation.scores import evaluate as score_segmenter
    from pixelwise.models.bundle import facts_of, load_network
    from pixelwise.models.segmenter import Segmenter

    network = load_network(model, device)
    if thorough and not isinstance(network, Segmenter):
        raise OptionError("--thorough with a network that does not segment", remedy="leave --thorough out")
    others = _others(network, model, runs or [], device)
    labelled = network.task != "reconstruct"
    dataset = open_data(data, classes, splits, seed=seed, stored=facts_of(network).split, labelled=labelled)
    chosen = chosen_split(dataset, split)
    options = {"--split": chosen.name, "--classes": classes, "--splits": splits, "--seed": seed or None}
    title = f"{model.name} on {dataset.root.name}"
    _warn({model: network} | others, chosen)
    scores: AnyScores
    if isinstance(network, Segmenter):
        again = _again(model, dataset, options, ["--thorough"] * thorough, runs or [])
        context = _context(dataset, again, model, check=check)
        if thorough:
            context = look_thoroughly(context, network, dataset, chosen, out)
        with Bar("images") as bar:
            scores = score_segmenter(network, chosen, out=out, title=title, progress=bar, context=context)
    else:
        with Bar("images") as bar:
            scores = score(network, chosen, out=out, title=title, progress=bar)
    summary = _summed_up(others, scores, chosen, out) if runs else None
    if json:
        emit(scores.as_dict() if summary is None else {**scores.as_dict(), "runs": summary.as_dict()})
    else:
        print(f"{chosen.name} split of {dataset.root} ({dataset.split_origin})\n{render(scores)}")
        if summary is not None:
            print(f"\n{1 + len(runs or [])} runs together\n{summary_text(summary)}\n")
        print(f"report  {out / 'report.html'}\nscores  {out / 'scores.json'}")
        print(f"next    {spell('predict', model, 'IMAGES', '-o', 'maps')}")


def _others(network: Network, model: Path, runs: list[Path], device: str) -> dict[Path, Segmenter]:
    """The networks of the other runs of a recipe, each another one."""
    from pixelwise.errors import OptionError
    from pixelwise.evaluation.checks import check_different
    from pixelwise.models.bundle import load

    if runs and network.task != "segment":
        raise OptionError("--runs with a network that does not segment", remedy="leave --runs out")
    others = [load(run, device) for run in runs]
    check_different([network, *others], [str(path) for path in (model, *runs)])
    return dict(zip(runs, others, strict=True))


def _warn(networks: Mapping[Path, Network], split: Split) -> None:
    """Say on standard error what makes scores of these models on this split too good."""
    from pixelwise.evaluation.checks import fitted_on_these, seen_in_training

    for path, network in networks.items():
        for note in seen_in_training(network, split, str(path)):
            typer.echo(f"warning: {note}", err=True)
    for note in fitted_on_these(next(iter(networks.values())), split):
        typer.echo(f"warning: {note}", err=True)


def _summed_up(
    others: Mapping[Path, Segmenter], scores: AnyScores, split: Split, out: Path
) -> RunsSummary | None:
    """Scores of several runs of one recipe on the same images, with what seeds and images make of them."""
    from pixelwise.data.groups import find_groups
    from pixelwise.evaluation.comparison import summarise_runs
    from pixelwise.evaluation.scores import evaluate
    from pixelwise.files import write_json
    from pixelwise.metrics import Scores

    if not isinstance(scores, Scores):
        return None
    every = [scores]
    for run, network in others.items():
        with Bar(f"images, {run.name}") as bar:
            every.append(evaluate(network, split, progress=bar))
    summary = summarise_runs(every, find_groups(split))
    write_json(out / "runs.json", summary.as_dict())
    return summary


def _again(
    model: Path, dataset: Dataset, options: Mapping[str, object], flags: list[str], runs: list[Path]
) -> dict[str, object]:
    """The commands that train the model and evaluate it once more."""
    from pixelwise.config import read_yaml
    from pixelwise.training.run import CONFIG

    others = [*flags, *(word for run in runs for word in ("--runs", run))]
    again: dict[str, object] = {
        "evaluate": spell("evaluate", model, dataset.root, "-o", "DIR", *others, options=options)
    }
    config = model / CONFIG
    if not config.is_file():
        return again
    data = Path(str(read_yaml(config).get("data", dataset.root)))
    # The file says the split, image by image, and the seed; which classes file was given it does not say.
    same = data.resolve() == dataset.root.resolve()
    given = {"--config": config, "--splits": config, "--classes": options["--classes"] if same else None}
    return {"train": spell("train", data, "-o", "RUN", options=given), **again}


def _context(dataset: Dataset, again: Mapping[str, object], model: Path, *, check: bool) -> Context:
    """What the report of an evaluation says beside the scores: how the model was trained, findings, commands."""
    from pixelwise.data.check import check_dataset
    from pixelwise.evaluation.report import Context
    from pixelwise.training.log import stored_course

    findings = None
    if check:
        with Bar("checking files") as bar:
            report = check_dataset(
                dataset.root, classes=dataset.table, split=dataset.split_names(), progress=bar
            )
        # To evaluate, no training images are needed.
        findings = [finding.as_dict() for finding in report.findings if finding.problem.code != "split-empty"]
    return Context(stored_course(model), findings, again)
