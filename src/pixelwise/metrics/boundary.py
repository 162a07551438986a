"""Boundary scores: how well contours fit, which scores over whole areas hardly show.

Boundary IoU: the IoU of a class counted only in a band along the contours, inside the class, of truth and prediction
(Cheng, Girshick, Dollar, Berg, Kirillov 2021, Boundary IoU, arXiv 2103.16562). Boundary F: the harmonic mean of the
share of predicted contour pixels that lie near a true one and the share of true ones near a predicted one (Csurka,
Larlus, Perronnin 2013, What is a good evaluation measure for semantic segmentation?, BMVC). Surface distances: HD95,
the larger of the two 95th percentiles of the distances from one contour to the other, and ASSD, the mean of all.

Counts are summed over the images before scores are made of them. Distances exist per image, as the mean over the
images where both contours are there (`image_mean_...`), and over all contour pixels of all images (`pooled_...`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.metrics.boundaryscores import BoundaryScores, boundary_scores
from pixelwise.metrics.contours import Sides, contour_counts
from pixelwise.metrics.distances import DistanceCounts
from pixelwise.metrics.reach import BoundaryOptions
from pixelwise.ops.confusion import confusion
from pixelwise.types import Labels


class BoundaryCounter:
    """Adds up images one by one; memory grows by some hundred bytes per image and class.

    >>> truth = np.zeros((20, 20), np.uint8)
    >>> truth[5:15, 5:15] = 1
    >>> counter = BoundaryCounter(["ground", "house"], width=1, frame=False)
    >>> counter.add(truth, np.roll(truth, 1, axis=1))
    >>> scores = counter.scores().by_name("house")
    >>> round(scores.boundary_iou, 3), scores.boundary_f, scores.image_mean_hd95
    (0.333, 1.0, 1.0)
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        width: int | None = None,
        tolerance: float | None = None,
        frame: bool = True,
        pixel_size: float | None = None,
    ) -> None:
        """Options as in `BoundaryOptions`.

        Raises:
            OptionError: an option is out of range.
        """
        self.names = tuple(names)
        self.options = BoundaryOptions(width, tolerance, frame=frame, pixel_size=pixel_size)
        self._reaches: list[tuple[int, float]] = []
        self._band: list[NDArray[np.int64]] = []
        self._edge: list[NDArray[np.int64]] = []
        self._distances = DistanceCounts(len(self.names))

    def add(self, truth: Labels, prediction: Labels) -> None:
        """Count one image, both uint8 [H, W]; pixels where the truth is 255 count nowhere.

        Raises:
            MaskError: `truth` holds a value that is neither a class nor 255.
            DataError: another dtype, two shapes, or a prediction that is no class.
        """
        confusion(truth, prediction, len(self.names))  # for what it refuses; it costs a hundredth of the rest
        if truth.ndim != 2:
            raise DataError(f"labels of shape {truth.shape}", remedy="add maps [H, W] one by one")
        height, width = truth.shape
        pixels, tolerance = self.options.reach(height, width)
        counts = contour_counts(
            truth,
            prediction,
            len(self.names),
            width=pixels,
            tolerance=tolerance,
            sides=Sides(*[self.options.frame] * 4),
            distances=True,
        )
        self._reaches.append((pixels, tolerance))
        self._band.append(counts.band)
        self._edge.append(counts.edge)
        self._distances.add(counts.distances)

    def scores(self) -> BoundaryScores:
        """The scores of all that was added so far."""
        classes = len(self.names)
        return boundary_scores(
            self.names,
            np.array(self._band, np.int64).reshape(-1, classes, 3),
            np.array(self._edge, np.int64).reshape(-1, classes, 4),
            options=self.options,
            reaches=self._reaches,
            away=self._distances,
        )
