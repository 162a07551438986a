"""Parts of the evaluation page beyond the confusion matrix: intervals, borders, sizes of objects, probabilities, data.

Each part takes a section of `scores.json` as plain values and is left out where the section is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pixelwise.report.figures import reliability_figure
from pixelwise.report.pictures import inlined

Interval = Sequence[float]
MOST_FINDINGS = 12
"""Findings of one kind that the page of an evaluation lists; the others are counted."""


def quality_parts(scores: Mapping[str, Any]) -> dict[str, Any]:
    """What `quality.html` shows of `scores`: a value per section, None where there is none."""
    return {
        "intervals": _intervals(scores),
        "boundary": scores.get("boundary"),
        "objects": scores.get("objects"),
        "calibration": _calibration(scores.get("calibration")),
    }


def finding_groups(findings: Sequence[Mapping[str, Any]], most: int = MOST_FINDINGS) -> list[dict[str, Any]]:
    """Findings of a check by level and code, the errors first, each group with at most `most` listed."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for finding in sorted(findings, key=lambda one: str(one["level"])):  # "error" comes before "warning"
        groups.setdefault((str(finding["level"]), str(finding["code"])), []).append(finding)
    return [
        {"level": level, "code": code, "count": len(group), "listed": group[:most]}
        for (level, code), group in groups.items()
    ]


def whisker(interval: Interval | None) -> dict[str, float] | None:
    """Where an interval in 0..1 begins on a bar, and how long it is, in percent of the bar.

    >>> whisker((0.5, 0.75))
    {'left': 50.0, 'width': 25.0}
    """
    if interval is None or any(end is None for end in interval):
        return None
    low, high = (min(max(float(end), 0.0), 1.0) for end in interval)
    return {"left": 100 * low, "width": 100 * (high - low)}


def _intervals(scores: Mapping[str, Any]) -> dict[str, Any] | None:
    if "interval_units" not in scores:
        return None
    return {name: scores[f"interval_{name}"] for name in ("units", "units_origin", "notes")}


def _calibration(section: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if section is None or section["ece"] is None:
        return None
    pictures = {
        mode: inlined(reliability_figure(section["bins"], dark=mode == "dark"), "image/svg+xml")
        for mode in ("light", "dark")
    }
    return {
        **section,
        "pictures": pictures,
        "surer": section["confidence"] > section["accuracy"],
        "fitted": _fitted(section.get("calibrated_on")),
    }


def _fitted(split: str | None) -> str:
    """What the temperatures were fitted on, in words; empty where there are none.

    >>> _fitted("val, perturbed")
    'after temperatures fitted on the val split, perturbed'
    """
    if split is None:
        return ""
    name, comma, how = split.partition(",")
    return f"after temperatures fitted on the {name} split{comma}{how}"
