"""A model on a split of a dataset: every pixel counted once, the scores made from the counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from pixelwise.data.dataset import Split
from pixelwise.errors import DataError
from pixelwise.evaluation.checks import check_split
from pixelwise.evaluation.report import write_evaluation
from pixelwise.files import locked
from pixelwise.infer.ahead import ahead
from pixelwise.infer.predictor import predict
from pixelwise.metrics import ScoreCounter, Scores
from pixelwise.models.segmenter import Segmenter
from pixelwise.report.figures import Panel
from pixelwise.report.pictures import display_rgb
from pixelwise.types import Labels, Sample

SHOWN = 4
"""Worst and best images in the report, of each."""


def evaluate(
    model: Segmenter,
    split: Split,
    *,
    out: str | Path | None = None,
    title: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Predict every image of `split` at its own size and compare with its labels.

    Args:
        model: Runs on the device it is on, in the precision of its bundle.
        split: Images with labels.
        out: Folder for `scores.json`, `confusion.csv` and `report.html`; without it nothing is written.
        title: Heading of the report.
        progress: Called with the images done and their number.

    Raises:
        LayoutError: the dataset has a class per image.
        ClassesError: model and dataset have other classes.
        DataError: the split is empty, or an image does not suit the model; the file is named.
        OutputError: `out` is in use, full or read-only.
    """
    check_split(model, split)
    if out is None:
        return _score(model, split, progress)
    with locked(out) as folder:  # before the work: a folder that is in use should not cost an hour
        scores = _score(model, split, progress)
        worst, best = extremes(scores.image_mean_iou, SHOWN)
        write_evaluation(
            scores,
            model,
            split=split,
            folder=folder,
            title=title or f"{model.name} on {split.name}",
            worst=[_panel(model, split, index, scores) for index in worst],
            best=[_panel(model, split, index, scores) for index in best],
        )
    return scores


def extremes(values: Sequence[float], count: int) -> tuple[list[int], list[int]]:
    """Positions of the lowest and of the highest values, the most extreme first; NaN is left out.

    No position is in both lists.

    >>> extremes([0.5, 0.9, float("nan"), 0.1], 2)
    ([3, 0], [1])
    """
    order = sorted((k for k, value in enumerate(values) if not math.isnan(value)), key=lambda k: values[k])
    worst = order[:count]
    return worst, order[len(worst) :][::-1][:count]


def _score(model: Segmenter, split: Split, progress: Callable[[int, int], None] | None) -> Scores:
    counter = ScoreCounter([spec.name for spec in model.classes])
    for index, sample in ahead(split.__getitem__, range(len(split))):
        labels, predicted = _predicted(model, split, index, sample())
        counter.add(labels, predicted)
        if progress is not None:
            progress(index + 1, len(split))
    return counter.scores()


def _predicted(model: Segmenter, split: Split, index: int, sample: Sample) -> tuple[Labels, Labels]:
    try:
        return sample.labels, predict(model, sample.image)
    except DataError as error:
        error.file = error.file or split.items[index].image
        raise


def _panel(model: Segmenter, split: Split, index: int, scores: Scores) -> Panel:
    # Read and mapped once more: keeping all images until the extremes are known would fill the memory.
    sample = split[index]
    labels, predicted = _predicted(model, split, index, sample)
    return Panel(sample.name, display_rgb(sample.image), labels, predicted, scores.image_mean_iou[index])
