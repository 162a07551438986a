"""Scores written down: for programs, for spreadsheets and for eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pixelwise.data.dataset import Split
from pixelwise.files import write_json, write_text
from pixelwise.infer.predictor import precision_of
from pixelwise.metrics import Scores
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter
from pixelwise.report.figures import Panel
from pixelwise.report.page import evaluation_page
from pixelwise.report.tables import csv_text
from pixelwise.types import Confusion

SCORES_NAME, CONFUSION_NAME, REPORT_NAME = "scores.json", "confusion.csv", "report.html"


def write_evaluation(
    scores: Scores,
    model: Segmenter,
    *,
    split: Split,
    folder: Path,
    title: str,
    worst: Sequence[Panel] = (),
    best: Sequence[Panel] = (),
) -> None:
    """Write `scores.json`, `confusion.csv` and `report.html` of a segmentation into `folder`.

    Raises:
        OutputError: the disk is full or the folder read-only.
    """
    seen = scores.pixels + scores.ignored
    counts = {
        "images": f"{scores.images:,}",
        "pixels": f"{seen:,}, of which {scores.ignored:,} ignored ({scores.ignored / max(1, seen):.1%})",
    }
    page = evaluation_page(
        scores.as_dict(),
        model.classes,
        title=title,
        facts=split_facts(model, split, counts),
        galleries={"Worst images": worst, "Best images": best},
    )
    names = [score.name for score in scores.classes]
    write_report(folder, scores.as_dict(), page, {CONFUSION_NAME: confusion_csv(scores.confusion, names)})


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
    return {
        "model": f"{model.name} on {model.encoder_name}, {bands}, {precision_of(model)}",
        "data": split.root,
        "split": split.name,
        **counts,
        "pixelwise": __version__,
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }
