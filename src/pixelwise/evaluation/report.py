"""Scores written down: for programs, for spreadsheets and for eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from pixelwise.data.dataset import Split
from pixelwise.evaluation.checks import seen_in_training
from pixelwise.evaluation.evaluated import Evaluation
from pixelwise.files import write_json, write_text
from pixelwise.infer.predictor import precision_of
from pixelwise.metrics.images import image_table
from pixelwise.models.bundle import facts_of
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter
from pixelwise.report.figures import Panel
from pixelwise.report.page import evaluation_page
from pixelwise.report.tables import csv_text
from pixelwise.types import Confusion

SCORES_NAME, CONFUSION_NAME, REPORT_NAME = "scores.json", "confusion.csv", "report.html"
RECIPE = "recipe: every option of the training, a file for --config"
REPORT_VALUES, IMAGES_NAME = "report.json", "images.csv"


@dataclass(frozen=True)
class Context:
    """What a report says beside the scores.

    Attributes:
        course: Lines of the `metrics.jsonl` of the run that made the model.
        findings: Of a check of the data; None if there was none.
        again: Label and value of what it takes to do it again, such as a command.
        more: Further sections by name, see `evaluation.thorough`.
        pictures: Of those sections.
    """

    course: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Mapping[str, Any]] | None = None
    again: Mapping[str, object] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def write_evaluation(
    scores: Evaluation,
    model: Segmenter,
    *,
    split: Split,
    folder: Path,
    title: str,
    galleries: Mapping[str, Sequence[Panel]],
    context: Context,
) -> None:
    """Write the scores of a segmentation, their tables, the report and its values into `folder`.

    Raises:
        OutputError: the disk is full or the folder read-only.
    """
    seen = scores.pixels + scores.ignored
    counts = {
        "images": f"{scores.images:,}",
        "pixels": f"{seen:,}, of which {scores.ignored:,} ignored ({scores.ignored / max(1, seen):.1%})",
    }
    values, facts = scores.as_dict(), split_facts(model, split, counts)
    again = {**context.again, **_digests(model)}
    page = evaluation_page(
        {**values, "more": context.more, "pictures": context.pictures},
        model.classes,
        title=title,
        facts=facts,
        galleries=galleries,
        course=context.course,
        findings=context.findings,
        again=again,
    )
    names = [score.name for score in scores.classes]
    tables = {CONFUSION_NAME: confusion_csv(scores.confusion, names)}
    if scores.image_counts is not None:
        tables[IMAGES_NAME] = csv_text(*image_table(split.names, scores.image_counts, names))
    report = {"title": title, "facts": _plain(facts), "scores": values, "again": _plain(again)}
    more = {"more": context.more} if context.more else {}
    write_json(folder / REPORT_VALUES, {**report, "findings": context.findings, **more})
    write_report(folder, values, page, tables)


def _digests(model: Segmenter) -> dict[str, object]:
    """What made the model, as far as its bundle says."""
    facts = facts_of(model)
    found: dict[str, object] = {"SHA-256 of the model": model.digest} if model.digest else {}
    if facts.training is not None:
        found |= {
            "SHA-256 of the training data": facts.training.dataset_sha256,
            "seed": facts.training.seed,
            "steps": facts.training.steps,
            "minutes of training": f"{facts.training.seconds / 60:.1f}",
            RECIPE: yaml.safe_dump(facts.training.options, sort_keys=False, allow_unicode=True),
        }
    return found


def _plain(values: Mapping[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def write_report(folder: Path, scores: Mapping[str, Any], page: str, tables: Mapping[str, str]) -> None:
    """Write `scores.json`, the tables by their names and `report.html` into `folder`.

    Raises:
        OutputError: the disk is full or the folder read-only.
    """
    write_json(folder / SCORES_NAME, scores)
    for name, text in tables.items():
        write_text(folder / name, text)
    write_text(folder / REPORT_NAME, page)


def confusion_csv(matrix: Confusion, names: Sequence[str]) -> str:
    """A confusion matrix as CSV: a column per predicted class, a row per true one."""
    rows = [[name, *counts] for name, counts in zip(names, matrix.tolist(), strict=True)]
    return csv_text(["true / predicted", *names], rows)


def split_facts(model: Network, split: Split, counts: Mapping[str, object]) -> dict[str, object]:
    """What was evaluated, for a page: label and value."""
    from pixelwise import __version__

    bands = "1 band" if model.bands == 1 else f"{model.bands} bands"
    seen = seen_in_training(model, split)
    return {
        "model": f"{model.name} on {model.encoder_name}, {bands}, {precision_of(model)}",
        "data": split.root,
        "split": split.name,
        **({"warning": seen[0]} if seen else {}),
        **counts,
        "pixelwise": __version__,
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }
