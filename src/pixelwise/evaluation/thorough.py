"""What a thorough evaluation adds to the scores: mirrored views and their cost, label sets, the shift alarm, leaks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import Dataset, Split
from pixelwise.data.groups import find_groups
from pixelwise.data.items import Labelled, Pair
from pixelwise.data.leaks import find_leaks
from pixelwise.errors import OptionError
from pixelwise.evaluation.comparison import compare_runs
from pixelwise.evaluation.conformal import coverage
from pixelwise.infer.augmented import Averaged, Views
from pixelwise.infer.predictor import Running, set_threshold_of
from pixelwise.infer.shiftcheck import check_inputs
from pixelwise.metrics import ScoreCounter
from pixelwise.models.bundle import facts_of
from pixelwise.models.segmenter import Segmenter
from pixelwise.report.pictures import data_uri, display_rgb, error_map, heat
from pixelwise.types import IGNORE

MOST = 12
"""Images that are looked at in several ways, evenly over the split."""

SHOWN = 2
"""Images of which pictures show where views disagree."""

UNSURE = 0.1
"""Share of the pixels, the most unsure ones, of which is said how many errors they hold."""

_STEP = 37  # every so many pixels count for that

Pictures = list[dict[str, Any]]  # name, and a list of what is shown and its address


def look_closer(
    model: Segmenter,
    data: Dataset,
    split: Split,
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Any], dict[str, Pictures]]:
    """Sections for the report of an evaluation as plain values, by their names, and pictures for some of them.

    Raises:
        DataError: an image cannot be read or does not suit the model; the file is named.
    """
    sections, pictures = _views(model, split.evenly(MOST), progress)
    sections["shift"] = _shift(model, split, out)
    sections["leaks"] = find_leaks(data).as_dict()
    return sections, {"views": pictures}


def _views(
    model: Segmenter, split: Split, progress: Callable[[int, int], None] | None
) -> tuple[dict[str, Any], Pictures]:
    """Each image as it is and mirrored: scores, seconds, how unsure; and whether label sets keep their promise."""
    names = [spec.name for spec in model.classes]
    plain, mirrored = Running(model), Averaged([model], Views(flips=True))
    single, double = ScoreCounter(names), ScoreCounter(names)
    seconds, held, sizes, ones = [0.0, 0.0], [], [], []
    entropies, wrongs, found = [], [], []
    threshold = _threshold(model)
    for index in range(len(split)):
        sample = split[index]
        began = time.perf_counter()
        shares = plain.probabilities(sample.image)
        middle = time.perf_counter()
        opinion = mirrored.opinion(sample.image)
        seconds[0] += middle - began
        seconds[1] += time.perf_counter() - middle
        single.add(sample.labels, shares.argmax(axis=0).astype(np.uint8))
        double.add(sample.labels, opinion.labels)
        known = sample.labels != IGNORE
        if threshold is not None and known.any():
            share, size = coverage(shares[:, known], sample.labels[known].astype(np.int64), threshold)
            held.append(share)
            sizes.append(size)
            ones.append(float(((shares >= threshold).sum(axis=0) <= 1)[known].mean()))
        entropies.append(opinion.entropy[known][::_STEP])
        wrongs.append((opinion.labels != sample.labels)[known][::_STEP])
        apart = float(opinion.mutual_information.mean())
        found.append((apart, index))
        if progress is not None:
            progress(index + 1, len(split))
    change = compare_runs([single.scores()], [double.scores()], find_groups(split)).mean_iou
    sections: dict[str, Any] = {
        "flips": {
            "images": len(split),
            "networks_run": mirrored.cost,
            "seconds_per_image": [round(spent / max(1, len(split)), 4) for spent in seconds],
            "mean_iou": change.as_dict(),
            "unsure_share": UNSURE,
            "errors_among_unsure": _errors_among_unsure(np.concatenate(entropies), np.concatenate(wrongs)),
        }
    }
    if threshold is not None and held:
        calibration = facts_of(model).calibration
        sections["label_sets"] = {
            "images": len(held),
            "promised": None if calibration is None else calibration.set_share,
            "threshold": threshold,
            "covered": float(np.mean(held)),
            "classes_per_pixel": float(np.mean(sizes)),
            "pixels_of_one_class": float(np.mean(ones)),
        }
    found.sort(reverse=True)
    return sections, [_picture(mirrored, split, index) for _, index in found[:SHOWN]]


def _picture(mirrored: Averaged, split: Split, index: int) -> dict[str, Any]:
    sample = split[index]
    opinion, rgb = mirrored.opinion(sample.image), display_rgb(sample.image)
    unit = math.log(len(opinion.probabilities))
    shown = [
        ("image", data_uri(rgb, photo=True)),
        ("errors", data_uri(error_map(rgb, sample.labels, opinion.labels), photo=True)),
        ("how unsure", data_uri(heat(opinion.entropy / unit), photo=True)),
        ("where the views disagree", data_uri(heat(5 * opinion.mutual_information / unit), photo=True)),
    ]
    return {"name": sample.name, "shown": shown}


def _errors_among_unsure(entropy: NDArray[np.float32], wrong: NDArray[np.bool_]) -> float | None:
    """The share of all errors that the most unsure pixels hold; None without errors."""
    if not wrong.any():
        return None
    order = np.argsort(-entropy, kind="stable")[: max(1, round(UNSURE * len(entropy)))]
    return float(wrong[order].sum() / wrong.sum())


def _threshold(model: Segmenter) -> float | None:
    try:
        return set_threshold_of(model)
    except OptionError:
        return None


def _shift(model: Segmenter, split: Split, out: Path) -> dict[str, Any] | None:
    """What the shift alarm says of the images; None where the bundle knows nothing of its training images."""
    if facts_of(model).fingerprint is None:
        return None
    return check_inputs(model, files_of(split), out).as_dict()


def files_of(split: Split) -> list[Path]:
    """The image files of a split; arrays and windows of scenes have none of their own."""
    return [item.image for item in split.items if isinstance(item, Pair | Labelled)]
