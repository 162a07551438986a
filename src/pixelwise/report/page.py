"""Pages in one file that open offline: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pixelwise.ops.rates import or_none
from pixelwise.report.figures import Panel, confusion_figure, curves_figure
from pixelwise.report.pictures import colored, data_uri, error_map, inlined
from pixelwise.report.quality import finding_groups, quality_parts, whisker
from pixelwise.types import ClassSpec, Confusion

TABLE_CLASSES = 24
"""Up to as many classes the confusion matrix is a table of numbers, beyond it a picture."""

_LONG = 120  # characters of a list in the settings, beyond which only its length is shown

_MORE = ("flips", "label_sets", "shift", "leaks", "next")  # sections of a thorough evaluation

Galleries = Mapping[str, Sequence[Panel]]


def evaluation_page(
    scores: Mapping[str, Any],
    classes: Sequence[ClassSpec],
    *,
    title: str,
    facts: Mapping[str, object],
    galleries: Galleries | None = None,
    course: Sequence[Mapping[str, Any]] = (),
    findings: Sequence[Mapping[str, Any]] | None = None,
    again: Mapping[str, object] | None = None,
) -> str:
    """The report of an evaluation as HTML.

    Args:
        scores: The content of `scores.json`; sections that it does not hold are left out of the page. Under `more` it
            may have the sections that `evaluation.thorough` makes, and under `pictures` theirs.
        classes: Names and colours, in the order of `scores["classes"]`.
        title: Heading of the page.
        facts: What was evaluated: label and value, shown in this order.
        galleries: Pictures under their headings, such as the images with the lowest scores.
        course: Lines of `metrics.jsonl` of the run that made the model; see `curves_figure`.
        findings: Of a check of the data, each with level, code, file, found and remedy; None if there was no check.
        again: What is needed to do it again: label and value, such as commands and digests; what has several lines
            is folded away, such as a recipe.
    """
    values = {
        "title": title,
        "facts": facts,
        "curves": _curves(course, classes) if course else None,
        "findings": None if findings is None else finding_groups(findings),
        "again": {label: str(value) for label, value in (again or {}).items()},
        "more": dict.fromkeys(_MORE) | dict(scores.get("more", {})),
        "pictures": scores.get("pictures", {}),
        **_scored(scores, classes, galleries or {}),
    }
    return rendered("evaluation.html", values)


def training_page(
    rows: Sequence[Mapping[str, Any]],
    classes: Sequence[ClassSpec],
    *,
    title: str,
    settings: Mapping[str, object],
    facts: Mapping[str, object] | None = None,
    scores: Mapping[str, Any] | None = None,
    galleries: Galleries | None = None,
) -> str:
    """The report of a training run as HTML.

    Args:
        rows: Lines of `metrics.jsonl`; see `curves_figure`.
        classes: Names and colours.
        title: Heading of the page.
        settings: Every option of the run and its value; nested ones are shown as `a.b`.
        facts: What was trained on what: label and value.
        scores: The content of `scores.json` of the final model on the validation images, if there is one.
        galleries: Pictures of validation images under their headings.
    """
    scored = {"scores": None} if scores is None else _scored(scores, classes, galleries or {})
    values = {
        "title": title,
        "facts": facts or {},
        "settings": dict(_flat(settings)),
        "curves": _curves(rows, classes),
    }
    return rendered("training.html", {**values, **scored})


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """A template of this package filled with `values`, all text escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pixelwise.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = _score
    environment.filters["count"] = "{:,}".format
    environment.filters["share"] = _share
    environment.filters["distance"] = _distance
    environment.filters["whisker"] = whisker
    return environment.get_template(template).render(values)


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _distance(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _curves(rows: Sequence[Mapping[str, Any]], classes: Sequence[ClassSpec]) -> dict[str, str]:
    return {
        mode: inlined(curves_figure(rows, classes, dark=mode == "dark"), "image/svg+xml")
        for mode in ("light", "dark")
    }


def _flat(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            text = ", ".join(str(item) for item in value)
            yield f"{prefix}{key}", text if len(text) <= _LONG else f"{len(value)} values"
        else:
            yield f"{prefix}{key}", "–" if value is None else str(value)


def _scored(scores: Mapping[str, Any], classes: Sequence[ClassSpec], galleries: Galleries) -> dict[str, Any]:
    matrix = np.asarray(scores["confusion"], np.int64).reshape(len(classes), len(classes))
    names = [spec.name for spec in classes]
    return {
        "scores": scores,
        "classes": list(zip(classes, scores["classes"], strict=True)),
        "undefined": [row["name"] for row in scores["classes"] if row["iou"] is None],
        **confusion_parts(matrix, names),
        **quality_parts(scores),
        "galleries": [
            {"title": title, "panels": [_pictures(panel, classes) for panel in panels]}
            for title, panels in galleries.items()
            if panels
        ],
    }


def confusion_parts(
    matrix: Confusion, names: Sequence[str], *, unit: str = "pixels", verb: str = "mapped as"
) -> dict[str, Any]:
    """What the macro `confusion` shows of a matrix that counts `unit`: a table or a picture, and a list."""
    small = len(names) <= TABLE_CLASSES
    return {
        "matrix": _cells(matrix, names, f"{unit} of", verb) if small else [],
        "heat": "" if small else inlined(confusion_figure(matrix, names), "image/png"),
        "mistakes": _mistakes(matrix, names),
    }


def _cells(matrix: Confusion, names: Sequence[str], unit: str, verb: str) -> list[dict[str, Any]]:
    rows = []
    for k, name in enumerate(names):
        total = int(matrix[k].sum())
        cells = [
            {
                "share": count / total if total else 0.0,
                "text": _percent(count, total),
                "title": f"{count:,} {unit} {name} were {verb} {names[j]}",
                "right": j == k,
            }
            for j, count in enumerate(matrix[k].tolist())
        ]
        rows.append({"name": name, "cells": cells})
    return rows


def _percent(count: int, total: int) -> str:
    if total == 0:
        return "–"
    share = 100 * count / total
    return "<1" if 0 < share < 1 else ">99" if 99.5 <= share < 100 else f"{share:.0f}"


def _mistakes(matrix: Confusion, names: Sequence[str], most: int = 5) -> list[dict[str, Any]]:
    """The largest numbers off the diagonal: what the model confuses most."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    found = [(int(index) // len(names), int(index) % len(names)) for index in order]
    total = max(1, int(wrong.sum()))
    return [
        {"true": names[k], "predicted": names[j], "count": int(wrong[k, j]), "share": wrong[k, j] / total}
        for k, j in found
        if wrong[k, j] > 0
    ]


def _pictures(panel: Panel, classes: Sequence[ClassSpec]) -> dict[str, Any]:
    errors = error_map(panel.rgb, panel.truth, panel.prediction)
    return {
        "name": panel.name,
        "score": or_none(panel.score),
        "shown": [
            ("image", data_uri(panel.rgb, photo=True)),
            ("truth", data_uri(colored(panel.truth, classes))),
            ("prediction", data_uri(colored(panel.prediction, classes))),
            ("errors", data_uri(errors, photo=True)),
        ],
    }
