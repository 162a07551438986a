"""A comparison of two models in words, as a table for a terminal and as a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.evaluation.comparison import Comparison, Difference, RunsSummary
from pixelwise.files import locked, write_json, write_text
from pixelwise.report.page import rendered
from pixelwise.report.tables import aligned
from pixelwise.types import ClassSpec

JSON_NAME, PAGE_NAME = "compare.json", "compare.html"
MANY = "of twenty classes that are equal, one is called different by chance"


def verdict(found: Difference, names: tuple[str, str] = ("A", "B")) -> str:
    """One difference in a plain sentence.

    >>> verdict(Difference("mean IoU", 0.50, 0.521, 0.021, (0.004, 0.038), 0.016, True))
    'B is better by 2.1 points of mean IoU [0.4, 3.8], p = 0.016'
    """
    if math.isnan(found.difference):
        return f"{found.name} is not defined for both"
    low, high = found.interval
    if found.clear:
        better, sign = (names[1], 1) if found.difference > 0 else (names[0], -1)
        low, high = sorted((sign * low, sign * high))
        text = f"{better} is better by {_points(abs(found.difference))} points of {found.name}"
    else:
        text = f"no clear difference in {found.name}: {names[1]} - {names[0]} = {_points(found.difference, '+')} points"
    return f"{text} [{_points(low)}, {_points(high)}], {probability(found.p)}"


def runs_phrase(found: Comparison) -> str:
    """How many runs each model has.

    >>> from pixelwise.evaluation.units import units_of
    >>> nothing = Difference("", 0, 0, 0, (0, 0), 1, True)
    >>> runs_phrase(Comparison(nothing, nothing, (), ((0.5,) * 3, (0.6,) * 3), 2, units_of(["a", "b"])))
    'with 3 runs each'
    """
    first, second = (len(values) for values in found.runs)
    if first == second:
        return f"with {_counted(first)} each"
    return f"with {_counted(first)} of A and {_counted(second)} of B"


def probability(p: float) -> str:
    """A p value as text.

    >>> probability(0.0123), probability(1e-9)
    ('p = 0.012', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def comparison_text(found: Comparison) -> str:
    """The whole comparison for a terminal."""
    lines = [f"{verdict(found.mean_iou)}; {runs_phrase(found)}, {found.images:,} images", ""]
    head = ("", "A", "B", "B - A", "95 % interval", "p")
    rows = [_row(one) for one in found.rows]
    lines += aligned(head, rows)
    lines += ["", f"differences are in points of a hundred; intervals are over {found.units.origin}"]
    lines += [f"note: {note}" for note in (*found.notes, MANY)]
    return "\n".join(lines)


def summary_text(found: RunsSummary) -> str:
    """Several runs of one recipe for a terminal."""
    lines = []
    for one in found.rows:
        spread = "" if math.isnan(one.deviation) else f", standard deviation {one.deviation:.4f}"
        low, high = one.interval
        each = " ".join(f"{value:.4f}" for value in one.values)
        mark = "" if one.reliable else " ?"
        lines.append(f"{one.name}: {one.mean:.4f} [{low:.4f}, {high:.4f}]{mark}{spread}; runs {each}")
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join(lines)


def write_comparison(
    found: Comparison,
    out: str | Path,
    classes: Sequence[ClassSpec],
    facts: Mapping[str, object],
    *,
    warnings: Sequence[str] = (),
) -> None:
    """Write `compare.json` and `compare.html` into the folder `out`; `warnings` stand at the top.

    Raises:
        OutputError: `out` is in use, full or read-only.
    """
    with locked(out) as folder:
        told = {"facts": {k: str(v) for k, v in facts.items()}, "warnings": list(warnings)}
        write_json(folder / JSON_NAME, {**found.as_dict(), **told})
        write_text(folder / PAGE_NAME, comparison_page(found, classes, facts, warnings=warnings))


def comparison_page(
    found: Comparison,
    classes: Sequence[ClassSpec],
    facts: Mapping[str, object],
    *,
    warnings: Sequence[str] = (),
) -> str:
    """The page of a comparison as HTML that opens offline."""
    ends = [abs(bound) for one in found.rows for bound in one.interval if not math.isnan(bound)]
    reach = max([0.01, *ends])
    colors = [None, None, *classes]
    values = {
        "title": f"{facts.get('A', 'A')} and {facts.get('B', 'B')}",
        "verdict": f"{verdict(found.mean_iou)}; {runs_phrase(found)}.",
        "facts": facts,
        "warnings": warnings,
        "rows": [
            {"spec": color, "unsure": not one.reliable, "cells": _row(one), "drawn": _drawn(one, reach)}
            for one, color in zip(found.rows, colors, strict=True)
        ],
        "reach": _points(reach),
        "runs": [[f"{value:.4f}" for value in values] for values in found.runs],
        "notes": [*found.notes, MANY],
    }
    return rendered("compare.html", values)


def _row(one: Difference) -> tuple[str, ...]:
    shown = tuple("-" if math.isnan(value) else f"{value:.3f}" for value in (one.first, one.second))
    if math.isnan(one.difference):
        return (one.name, *shown, "-", "-", "-")
    low, high = one.interval
    mark = "" if one.reliable else " ?"
    return (
        one.name,
        *shown,
        _points(one.difference, "+"),
        f"[{_points(low)}, {_points(high)}]{mark}",
        probability(one.p).removeprefix("p ").removeprefix("= "),
    )


def _drawn(one: Difference, reach: float) -> dict[str, Any] | None:
    """Where the interval and the difference lie on a bar from -reach to reach, in percent."""
    if math.isnan(one.difference):
        return None
    low, middle, high = (
        50 + 50 * value / reach for value in (one.interval[0], one.difference, one.interval[1])
    )
    return {"left": f"{low:.2f}", "width": f"{high - low:.2f}", "middle": f"{middle:.2f}", "sure": one.clear}


def _points(value: float, sign: str = "") -> str:
    text = format(100 * value, f"{sign}.1f")
    return text.replace("-0.0", "0.0").replace("+0.0", "0.0")


def _counted(runs: int) -> str:
    return f"{runs} {'run' if runs == 1 else 'runs'}"
