"""The scores of a segmentation with all that says how far they can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.groups import Groups
from pixelwise.evaluation.calibration import CalibrationCounter, CalibrationScores
from pixelwise.evaluation.overlaps import ScoreIntervals, score_intervals
from pixelwise.evaluation.sections import (
    BoundaryIntervals,
    ObjectIntervals,
    boundary_intervals,
    object_intervals,
)
from pixelwise.evaluation.units import units_of
from pixelwise.metrics import ScoreCounter, Scores
from pixelwise.metrics.boundary import BoundaryCounter
from pixelwise.metrics.boundaryscores import BoundaryScores
from pixelwise.metrics.objects import ObjectCounter, ObjectScores
from pixelwise.types import Labels


@dataclass(frozen=True, eq=False)
class Evaluation(Scores):
    """`Scores` with intervals, and the scores at borders, by size of objects and of the probabilities given.

    Attributes:
        intervals: Where the scores would lie over other images of this kind.
        boundary: Boundary IoU and F, distances between contours.
        boundary_intervals: Where those would lie.
        objects: How much of small, medium and large objects is found.
        object_intervals: Where those would lie.
        calibration: Whether probabilities mean what they say.
        calibrated_on: Of which split the images are that the model's temperatures were fitted on; None without them.
        warnings: What makes these scores better than new images would, in full sentences.
        distance_note: Why distances between contours are in pixels although images say how large theirs are.
    """

    intervals: ScoreIntervals | None = None
    boundary: BoundaryScores | None = None
    boundary_intervals: BoundaryIntervals | None = None
    objects: ObjectScores | None = None
    object_intervals: ObjectIntervals | None = None
    calibration: CalibrationScores | None = None
    calibrated_on: str | None = None
    warnings: tuple[str, ...] = ()
    distance_note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The content of `scores.json`: plain values, an undefined score as None."""
        values = super().as_dict()
        sections = {"boundary": self.boundary, "objects": self.objects, "calibration": self.calibration}
        values |= {name: section.as_dict() for name, section in sections.items() if section is not None}
        if self.boundary_intervals is not None:
            values["boundary"] = self.boundary_intervals.added(values["boundary"])
        if self.object_intervals is not None:
            values["objects"] = self.object_intervals.added(values["objects"])
        if self.boundary is not None:
            values["boundary"]["distance_note"] = self.distance_note or None
        if self.calibration is not None:
            values["calibration"]["calibrated"] = self.calibrated_on is not None
            values["calibration"]["calibrated_on"] = self.calibrated_on
        if self.intervals is not None:
            bounds = self.intervals.as_dict()
            rows = zip(values["classes"], bounds.pop("classes"), strict=True)
            values |= {**bounds, "classes": [{**row, **interval} for row, interval in rows]}
        return {**values, "warnings": list(self.warnings)}


class EvaluationCounter:
    """Adds up images one by one, for every score of an `Evaluation`."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        pixel_size: float | None,
        calibrated_on: str | None,
        warnings: Sequence[str] = (),
        distance_note: str = "",
    ) -> None:
        self.calibrated_on, self.warnings, self.distance_note = calibrated_on, tuple(warnings), distance_note
        self._overlap = ScoreCounter(names)
        self._boundary = BoundaryCounter(names, pixel_size=pixel_size)
        self._objects = ObjectCounter(names)
        self._calibration = CalibrationCounter(names)

    def add(self, truth: Labels, predicted: Labels, confidence: NDArray[np.float32]) -> None:
        """Count one image: labels [H, W], and the probability of the predicted class at every pixel.

        Raises:
            MaskError: `truth` holds a value that is neither a class nor ignore.
            DataError: maps of several sizes.
        """
        self._overlap.add(truth, predicted)
        self._boundary.add(truth, predicted)
        self._objects.add(truth, predicted)
        self._calibration.add(truth, predicted, confidence)

    def scores(self, groups: Groups) -> Evaluation:
        """The scores of all that was added so far; `groups` has the group of each image, for the intervals."""
        overlap, boundary, objects = self._overlap.scores(), self._boundary.scores(), self._objects.scores()
        units = units_of(groups)
        return Evaluation(
            **{field.name: getattr(overlap, field.name) for field in fields(overlap)},
            intervals=score_intervals(overlap, units),
            boundary=boundary,
            boundary_intervals=boundary_intervals(boundary, units),
            objects=objects,
            object_intervals=object_intervals(objects, units),
            calibration=self._calibration.scores(),
            calibrated_on=self.calibrated_on,
            warnings=self.warnings,
            distance_note=self.distance_note,
        )
