"""Reports of the tasks that answer per image: classes, reconstructions, boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.report.figures import roc_figure
from pixelwise.report.frames import PREDICTION, TRUTH
from pixelwise.report.page import confusion_parts, rendered
from pixelwise.report.pictures import Rgb, data_uri, inlined
from pixelwise.types import ClassSpec

LISTED = 3
"""So many of the most probable classes are listed below an image, and the true one in any case."""


@dataclass(frozen=True, eq=False)
class Guess:
    """An image, its true class and the probability of each class."""

    name: str
    rgb: Rgb
    truth: int
    probabilities: Sequence[float]


@dataclass(frozen=True, eq=False)
class Copy:
    """An image beside its reconstruction and the map of its errors; `score` is its mean squared error."""

    name: str
    rgb: Rgb
    restored: Rgb
    errors: Rgb
    score: float


@dataclass(frozen=True, eq=False)
class Find:
    """A picture with the true box and the predicted one drawn in, and what was said; `score` is their IoU."""

    name: str
    framed: Rgb
    truth: str
    prediction: str
    score: float


def classification_page(
    scores: Mapping[str, Any],
    classes: Sequence[ClassSpec],
    *,
    title: str,
    facts: Mapping[str, object],
    worst: Sequence[Guess] = (),
) -> str:
    """The report of a classification as HTML; `scores` is the content of `scores.json`, `worst` comes first."""
    values = {
        "title": title,
        "facts": facts,
        "scores": scores,
        "classes": list(zip(classes, scores["classes"], strict=True)),
        **_confusion(scores, classes),
        "roc": _roc(scores["roc"]),
        "worst": [_guess(guess, classes) for guess in worst],
    }
    return rendered("classification.html", values)


def reconstruction_page(
    scores: Mapping[str, Any],
    *,
    title: str,
    facts: Mapping[str, object],
    worst: Sequence[Copy] = (),
    best: Sequence[Copy] = (),
) -> str:
    """The report of an autoencoder as HTML; `scores` is the content of `scores.json`."""
    galleries = [
        {"title": heading, "panels": [_copy(one) for one in copies]}
        for heading, copies in (("Worst images", worst), ("Best images", best))
        if copies
    ]
    return rendered(
        "reconstruction.html", {"title": title, "facts": facts, "scores": scores, "galleries": galleries}
    )


def localization_page(
    scores: Mapping[str, Any],
    classes: Sequence[ClassSpec],
    *,
    title: str,
    facts: Mapping[str, object],
    worst: Sequence[Find] = (),
    best: Sequence[Find] = (),
) -> str:
    """The report of a localizer as HTML; `scores` is the content of `scores.json`."""
    galleries = [
        {"title": heading, "panels": [_find(one) for one in finds]}
        for heading, finds in (("Worst images", worst), ("Best images", best))
        if finds
    ]
    values = {
        "title": title,
        "facts": facts,
        "scores": scores,
        "classes": list(zip(classes, scores["classes"], strict=True)),
        **_confusion(scores, classes),
        "frames": (TRUTH, PREDICTION),
        "galleries": galleries,
    }
    return rendered("localization.html", values)


def _confusion(scores: Mapping[str, Any], classes: Sequence[ClassSpec]) -> dict[str, Any]:
    matrix = np.asarray(scores["confusion"], np.int64).reshape(len(classes), len(classes))
    return confusion_parts(matrix, [spec.name for spec in classes], unit="images", verb="taken for")


def _roc(curve: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    rates, name = (curve["false_positive_rate"], curve["true_positive_rate"]), curve["positive"]
    pictures = {
        mode: inlined(roc_figure(*rates, name=name, dark=mode == "dark"), "image/svg+xml")
        for mode in ("light", "dark")
    }
    return {**pictures, "positive": name, "area": curve["area"], "interval": curve["area_interval"]}


def _guess(guess: Guess, classes: Sequence[ClassSpec]) -> dict[str, Any]:
    order = sorted(range(len(classes)), key=lambda k: -guess.probabilities[k])
    listed = order[:LISTED] + [guess.truth] * (guess.truth not in order[:LISTED])
    return {
        "name": guess.name,
        "source": data_uri(guess.rgb, photo=True),
        "truth": classes[guess.truth].name,
        "prediction": classes[order[0]].name,
        "right": order[0] == guess.truth,
        "shares": [(classes[k], guess.probabilities[k], k == guess.truth) for k in listed],
    }


def _copy(copy: Copy) -> dict[str, Any]:
    shown = [("original", copy.rgb), ("reconstruction", copy.restored), ("errors", copy.errors)]
    return {
        "name": copy.name,
        "score": copy.score,
        "shown": [(kind, data_uri(picture, photo=True)) for kind, picture in shown],
    }


def _find(find: Find) -> dict[str, Any]:
    return {
        "name": find.name,
        "score": find.score,
        "source": data_uri(find.framed, photo=True),
        "truth": find.truth,
        "prediction": find.prediction,
    }
