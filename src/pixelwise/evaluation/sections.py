"""Intervals of the scores along borders and by size of objects, from the counts per image that these keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.evaluation.intervals import Estimate, Floats, Measure, estimates, influences
from pixelwise.evaluation.units import Units
from pixelwise.metrics.boundaryscores import BoundaryScores, boundary_f, boundary_iou
from pixelwise.metrics.objects import SIZES, ObjectScores
from pixelwise.ops.rates import ratio

Estimates = Mapping[str, Estimate]  # by the name that the score has in scores.json


@dataclass(frozen=True, eq=False)
class BoundaryIntervals:
    """Boundary scores with their 95 % intervals: the means over classes, and the scores of each class.

    Distances are there where they were measured: those that are means over images. Of the pooled ones nothing tells how
    they vary.
    """

    means: Estimates
    classes: tuple[Estimates, ...]

    def added(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """The section `boundary` of scores.json with the intervals in it."""
        rows = zip(section["classes"], self.classes, strict=True)
        return {
            **section,
            **_plain(self.means),
            "classes": [row | _plain(found) for row, found in rows],
        }


@dataclass(frozen=True, eq=False)
class ObjectIntervals:
    """Scores by size of objects with their 95 % intervals: of all classes together, and of each."""

    sizes: tuple[Estimates, ...]
    classes: tuple[tuple[Estimates, ...], ...]

    def added(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """The section `objects` of scores.json with the intervals in it."""

        def joined(rows: list[dict[str, Any]], found: tuple[Estimates, ...]) -> list[dict[str, Any]]:
            return [row | _plain(one) for row, one in zip(rows, found, strict=True)]

        classes = zip(section["classes"], self.classes, strict=True)
        return {
            **section,
            "sizes": joined(section["sizes"], self.sizes),
            "classes": [row | {"sizes": joined(row["sizes"], found)} for row, found in classes],
        }


def boundary_intervals(scores: BoundaryScores, units: Units) -> BoundaryIntervals:
    """The intervals of boundary scores whose images belong to `units`."""
    names = ("boundary_f", "boundary_precision", "boundary_recall")
    found = {"boundary_iou": estimates(influences(scores.band, boundary_iou, units, mean=True))}
    for column, name in enumerate(names):
        found[name] = estimates(influences(scores.edge, _column(column), units, mean=True))
    means = {f"mean_{name}": found[name][-1] for name in ("boundary_iou", "boundary_f")}
    if scores.unit:
        for column, name in enumerate(("image_mean_hd95", "image_mean_assd")):
            away = scores.distances[:, :, column]
            counts = np.stack([np.nan_to_num(away), ~np.isnan(away)], axis=-1).astype(np.float64)
            found[name] = estimates(influences(counts, _average, units), length=True)
    classes = tuple({name: found[name][k] for name in found} for k in range(len(scores.classes)))
    return BoundaryIntervals(means, classes)


def object_intervals(scores: ObjectScores, units: Units) -> ObjectIntervals:
    """The intervals of scores by size of objects whose images belong to `units`."""
    sizes = len(SIZES)
    every = _of_objects(scores.counts.sum(axis=1), units)
    each = _of_objects(scores.counts.reshape(len(scores.counts), -1, 4), units)
    return ObjectIntervals(
        every, tuple(each[sizes * k : sizes * (k + 1)] for k in range(len(scores.classes)))
    )


def _of_objects(counts: NDArray[np.int64], units: Units) -> tuple[Estimates, ...]:
    recall = estimates(influences(counts, lambda sums: ratio(sums[..., 3], sums[..., 2]), units))
    found = estimates(influences(counts, lambda sums: ratio(sums[..., 1], sums[..., 0]), units))
    return tuple(
        {"object_pixel_recall": one, "objects_found": other} for one, other in zip(recall, found, strict=True)
    )


def _column(column: int) -> Measure:
    def measure(sums: Floats) -> Floats:
        result: Floats = boundary_f(sums)[..., column]
        return result

    return measure


def _average(sums: Floats) -> Floats:
    return ratio(sums[..., 0], sums[..., 1])


def _plain(found: Estimates) -> dict[str, Any]:
    """The interval of each score, and the names of those whose interval simulations did not find true."""
    values: dict[str, Any] = {f"{name}_interval": one.as_dict()["interval"] for name, one in found.items()}
    unsure = [name for name, one in found.items() if not one.reliable and one.value >= 0]
    return values | {"intervals_unreliable": unsure}
