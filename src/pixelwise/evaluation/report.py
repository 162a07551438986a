"""Scores written down: for programs, for spreadsheets, for eyes and for the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pixelwise.data.dataset import Split
from pixelwise.files import write_json, write_text
from pixelwise.infer.predictor import precision_of
from pixelwise.metrics import Scores
from pixelwise.models.segmenter import Segmenter
from pixelwise.report.figures import Panel
from pixelwise.report.page import evaluation_page

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
) -> list[Path]:
    """Write `scores.json`, `confusion.csv` and `report.html` into `folder` and return their paths.

    Raises:
        OutputError: the disk is full or the folder read-only.
    """
    paths = [folder / name for name in (SCORES_NAME, CONFUSION_NAME, REPORT_NAME)]
    page = evaluation_page(
        scores.as_dict(),
        model.classes,
        title=title,
        facts=_facts(scores, model, split),
        worst=worst,
        best=best,
    )
    write_json(paths[0], scores.as_dict())
    write_text(paths[1], confusion_csv(scores))
    write_text(paths[2], page)
    return paths


def confusion_csv(scores: Scores) -> str:
    """The confusion matrix as CSV: a column per predicted class, a row per true one."""
    names = [_cell(score.name) for score in scores.classes]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["true / predicted", *names])
    writer.writerows([name, *counts] for name, counts in zip(names, scores.confusion.tolist(), strict=True))
    return stream.getvalue()


def render(scores: Scores) -> str:
    """The scores as a text table for a terminal.

    >>> import numpy as np
    >>> from pixelwise.metrics import scores_from_confusion
    >>> print(render(scores_from_confusion(np.array([[3, 1], [0, 4]]), ["road", "house"], images=1)))
    class    IoU   Dice  precision  recall  pixels
    road   0.750  0.857      1.000   0.750       4
    house  0.800  0.889      0.800   1.000       4
    mean IoU 0.775   pixel accuracy 0.875   mean Dice 0.873   1 image, 8 pixels
    """
    head = ("class", "IoU", "Dice", "precision", "recall", "pixels")
    rows = [
        (
            score.name,
            *(_number(value) for value in (score.iou, score.dice, score.precision, score.recall)),
            f"{score.pixels:,}",
        )
        for score in scores.classes
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [_line(row, widths) for row in (head, *rows)]
    lines.append(
        f"mean IoU {_number(scores.mean_iou)}   pixel accuracy {_number(scores.pixel_accuracy)}"
        f"   mean Dice {_number(scores.mean_dice)}"
        f"   {scores.images:,} {'image' if scores.images == 1 else 'images'}, {scores.pixels:,} pixels"
    )
    if scores.undefined:
        lines.append(f"in neither truth nor prediction, left out of the means: {', '.join(scores.undefined)}")
    return "\n".join(lines)


def _facts(scores: Scores, model: Segmenter, split: Split) -> dict[str, object]:
    from pixelwise import __version__

    seen = scores.pixels + scores.ignored
    return {
        "model": f"{model.name} on {model.encoder_name}, {model.bands} bands, {precision_of(model)}",
        "data": split.root,
        "split": split.name,
        "images": f"{scores.images:,}",
        "pixels": f"{seen:,}, of which {scores.ignored:,} ignored ({scores.ignored / max(1, seen):.1%})",
        "pixelwise": __version__,
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([row[0].ljust(widths[0]), *numbers])


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _cell(name: str) -> str:
    # Spreadsheets run a cell that begins like a formula.
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name
