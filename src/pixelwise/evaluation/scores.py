"""A model on a split of a dataset: every pixel counted once, the scores made from the counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from statistics import median

from pixelwise.data.dataset import Split
from pixelwise.data.groups import find_groups
from pixelwise.data.pixelsize import common_pixel_size
from pixelwise.errors import DataError
from pixelwise.evaluation.checks import check_split, fitted_on_these, seen_in_training
from pixelwise.evaluation.evaluated import Evaluation, EvaluationCounter
from pixelwise.evaluation.report import Context, write_evaluation
from pixelwise.files import locked
from pixelwise.infer.ahead import ahead
from pixelwise.infer.predictor import Running, predict
from pixelwise.models.bundle import facts_of
from pixelwise.models.segmenter import Segmenter
from pixelwise.report.figures import Panel
from pixelwise.report.pictures import display_rgb

SHOWN = 3
"""Worst, typical and best images in the report, of each."""


def evaluate(
    model: Segmenter,
    split: Split,
    *,
    out: str | Path | None = None,
    title: str = "",
    progress: Callable[[int, int], None] | None = None,
    context: Context | None = None,
) -> Evaluation:
    """Predict every image of `split` at its own size and compare with its labels.

    Args:
        model: Runs on the device it is on, in the precision of its bundle.
        split: Images with labels.
        out: Folder for `scores.json`, `report.json`, `report.html`, `confusion.csv` and `images.csv`; without it
            nothing is written.
        title: Heading of the report.
        progress: Called with the images done and their number.
        context: What the report says about the training and the data beside the scores.

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
        middle = typical(scores.image_mean_iou, SHOWN, without=[*worst, *best])
        shown = {"Worst images": worst, "Typical images": middle, "Best images": best}
        write_evaluation(
            scores,
            model,
            split=split,
            folder=folder,
            title=title or f"{model.name} on {split.name}",
            galleries={
                heading: [_panel(model, split, index, scores) for index in indices]
                for heading, indices in shown.items()
            },
            context=context or Context(),
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


def typical(values: Sequence[float], count: int, without: Collection[int]) -> list[int]:
    """Positions of the values nearest to the median, in order of the values; NaN and positions `without` are left out.

    >>> typical([0.5, 0.9, 0.1, 0.6, 0.4], 2, without=[2])
    [4, 0]
    """
    defined = [value for value in values if not math.isnan(value)]
    rest = [k for k, value in enumerate(values) if not math.isnan(value) and k not in without]
    near = sorted(rest, key=lambda k: (abs(values[k] - median(defined)), values[k]))[:count]
    return sorted(near, key=lambda k: values[k])


def _score(model: Segmenter, split: Split, progress: Callable[[int, int], None] | None) -> Evaluation:
    running = Running(model)
    pixel_size, note = common_pixel_size(split)
    fitted = facts_of(model).calibration
    counter = EvaluationCounter(
        [spec.name for spec in model.classes],
        pixel_size=pixel_size,
        calibrated_on=None if fitted is None else fitted.split,
        warnings=(*seen_in_training(model, split), *fitted_on_these(model, split)),
        distance_note=note,
    )
    for index, sample in ahead(split.__getitem__, range(len(split))):
        read = sample()
        try:
            counter.add(read.labels, *running.with_confidence(read.image))
        except DataError as error:
            error.file = error.file or split.items[index].image
            raise
        if progress is not None:
            progress(index + 1, len(split))
    return counter.scores(find_groups(split))


def _panel(model: Segmenter, split: Split, index: int, scores: Evaluation) -> Panel:
    # Read and mapped once more: keeping all images until the extremes are known would fill the memory.
    sample = split[index]
    predicted = predict(model, sample.image)
    return Panel(
        sample.name, display_rgb(sample.image), sample.labels, predicted, scores.image_mean_iou[index]
    )
