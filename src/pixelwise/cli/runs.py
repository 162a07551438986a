"""`train` and `evaluate`."""

from __future__ import annotations

import os
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

    network = load_network(model)
    if thorough and not isinstance(network, Segmenter):
        raise OptionError("--thorough with a network that does not segment", remedy="leave --thorough out")
    labelled = network.task != "reconstruct"
    dataset = open_data(data, classes, splits, seed=seed, stored=facts_of(network).split, labelled=labelled)
    chosen = chosen_split(dataset, split)
    title = f"{model.name} on {dataset.root.name}"
    scores: AnyScores
    if isinstance(network, Segmenter):
        context = _context(model, dataset, classes, chosen.name, check=check)
        if thorough:
            context = look_thoroughly(context, network, dataset, chosen, out)
        with Bar("images") as bar:
            scores = score_segmenter(network, chosen, out=out, title=title, progress=bar, context=context)
    else:
        with Bar("images") as bar:
            scores = score(network, chosen, out=out, title=title, progress=bar)
    summary = _summed_up(runs, scores, chosen, out) if runs else None
    if json:
        emit(scores.as_dict() if summary is None else {**scores.as_dict(), "runs": summary.as_dict()})
    else:
        print(f"{chosen.name} split of {dataset.root} ({dataset.split_origin})\n{render(scores)}")
        if summary is not None:
            print(f"\n{1 + len(runs or [])} runs together\n{summary_text(summary)}\n")
        print(f"report  {out / 'report.html'}\nscores  {out / 'scores.json'}")
        print(f"next    {spell('predict', model, 'IMAGES', '-o', 'maps')}")


def _summed_up(runs: list[Path], scores: AnyScores, split: Split, out: Path) -> RunsSummary:
    """Scores of several runs of one recipe on the same images, with what seeds and images make of them."""
    from pixelwise.data.groups import find_groups
    from pixelwise.errors import OptionError
    from pixelwise.evaluation.comparison import summarise_runs
    from pixelwise.evaluation.scores import evaluate
    from pixelwise.files import write_json
    from pixelwise.metrics import Scores
    from pixelwise.models.bundle import load

    if not isinstance(scores, Scores):
        raise OptionError("--runs with a network that does not segment", remedy="leave --runs out")
    every = [scores]
    for run in runs:
        with Bar(f"images, {run.name}") as bar:
            every.append(evaluate(load(run), split, progress=bar))
    summary = summarise_runs(every, find_groups(split))
    write_json(out / "runs.json", summary.as_dict())
    return summary


def _context(model: Path, dataset: Dataset, classes: Path | None, split: str, *, check: bool) -> Context:
    """What the report of an evaluation says beside the scores: how the model was trained, findings, commands."""
    from pixelwise.data.check import check_dataset
    from pixelwise.evaluation.report import Context
    from pixelwise.training.log import stored_course

    given = f" --classes {classes}" if classes is not None else ""
    again = {"evaluate": f"pixelwise evaluate {model} {dataset.root} -o DIR --split {split}{given}"}
    if (model / "config.yaml").exists():
        train = f"pixelwise train {dataset.root} -o RUN --config {model / 'config.yaml'}{given}"
        again = {"train": train, **again}
    findings = None
    if check:
        with Bar("checking files") as bar:
            report = check_dataset(
                dataset.root, classes=dataset.table, split=dataset.split_names(), progress=bar
            )
        # To evaluate, no training images are needed.
        findings = [finding.as_dict() for finding in report.findings if finding.problem.code != "split-empty"]
    return Context(stored_course(model), findings, again)
