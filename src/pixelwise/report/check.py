"""The page of a check: what is in a dataset and what is wrong with it, in one file that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelwise.report.page import rendered
from pixelwise.report.pictures import Rgb, data_uri, overlay
from pixelwise.report.quality import finding_groups
from pixelwise.types import IGNORE, ClassSpec, Labels

_MOST = 50  # files listed of one kind of finding
_BANDS = (("#d1242f", "red"), ("#1a7f37", "green"), ("#2f6feb", "blue"))
_GREY = "#7d8590"


@dataclass(frozen=True, eq=False)
class Shown:
    """An image with its labels: `rgb` uint8 [H, W, 3], labels uint8 [H, W]."""

    name: str
    rgb: Rgb
    labels: Labels


def check_page(report: Mapping[str, Any], *, title: str, shown: Sequence[Shown] = ()) -> str:
    """A check as HTML.

    Args:
        report: What `CheckReport.as_dict` gives; with a key `leaks` also what `LeakReport.as_dict` gives.
        title: Heading of the page.
        shown: Images to draw with their labels over them.
    """
    specs = [ClassSpec(row["name"], row["color"]) for row in report["classes"]]
    findings = report["findings"]
    values = {
        "title": title,
        "report": {"leaks": None, **report},
        "unit": "images" if report["task"] == "classify" else "pixels",
        "total": sum(report["images"].values()),
        "errors": sum(finding["level"] == "error" for finding in findings),
        "warnings": sum(finding["level"] == "warning" for finding in findings),
        "groups": finding_groups(findings, _MOST),
        "splits": _splits(report),
        "classes": report["classes"],
        "bands": _curves(report["histograms"]),
        "shown": [_drawn(one, specs) for one in shown],
    }
    return rendered("check.html", values)


def _splits(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each split that has something: its images, and the share of each class and of ignore."""
    found = []
    for name, counted in report["by_split"].items():
        total = sum(counted["pixels"]) + counted["ignored"]
        if report["images"][name] and total:
            shares = [count / total for count in counted["pixels"]]
            found.append({"name": name, "shares": shares, "ignored": counted["ignored"] / total})
    return found


def _curves(histograms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each band as the outline of its histogram in a box of 256 x 100, all bands to one scale."""
    top = max((max(band["counts"]) for band in histograms), default=1) or 1
    curves = []
    for index, band in enumerate(histograms):
        color, name = _BANDS[index] if len(histograms) == 3 else (_GREY, f"band {index}")
        step = 256 / len(band["counts"])
        tops = [100 - 96 * count / top for count in band["counts"]]
        line = " ".join(
            f"{place * step:.1f},{y:.1f} {(place + 1) * step:.1f},{y:.1f}" for place, y in enumerate(tops)
        )
        curves.append({"color": color, "name": name, "line": line, "low": band["low"], "high": band["high"]})
    return curves


def _drawn(one: Shown, specs: Sequence[ClassSpec]) -> dict[str, Any]:
    there = sorted(set(one.labels.ravel().tolist()) - {IGNORE})
    return {
        "name": one.name,
        "image": data_uri(one.rgb, photo=True),
        "overlay": data_uri(overlay(one.rgb, one.labels, specs, alpha=0.6), photo=True),
        "classes": [specs[index] for index in there],
    }
