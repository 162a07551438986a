"""What boundary counts say: the scores of each class and their means, as values and for files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.metrics.distances import DistanceCounts
from pixelwise.metrics.named import named
from pixelwise.metrics.reach import BoundaryOptions
from pixelwise.ops.rates import NAN, mean_defined, or_none, ratio


@dataclass(frozen=True)
class BoundaryClass:
    """Boundary scores of one class, in 0..1, the unit of the scores, or NaN where undefined.

    Attributes:
        name: Of the class.
        boundary_iou: IoU in the band along the contours.
        boundary_f: Harmonic mean of the next two.
        boundary_precision: Share of the predicted contour within the tolerance of the true one.
        boundary_recall: Share of the true contour within the tolerance of the predicted one.
        image_mean_hd95: Mean over images of the 95 % Hausdorff distance.
        image_mean_assd: Mean over images of the average symmetric surface distance.
        pooled_hd95: The 95 % Hausdorff distance of the contour pixels of all those images together.
        pooled_assd: The average symmetric surface distance of the same.
        distance_images: Images with both contours; distances are made of these alone.
        one_sided_images: Images with only one of them, where no distance is defined.
    """

    name: str
    boundary_iou: float
    boundary_f: float
    boundary_precision: float
    boundary_recall: float
    image_mean_hd95: float = NAN
    image_mean_assd: float = NAN
    pooled_hd95: float = NAN
    pooled_assd: float = NAN
    distance_images: int = 0
    one_sided_images: int = 0


@dataclass(frozen=True, eq=False)
class BoundaryScores:
    """Boundary scores of a dataset.

    Attributes:
        mean_boundary_iou: Mean over the classes that have a contour in truth or prediction.
        mean_boundary_f: The same of boundary F.
        classes: The scores of each class.
        width: Smallest and largest width of the band, in pixels.
        tolerance: Smallest and largest distance at which contour pixels match, in pixels.
        rule: Where width and tolerance come from, in words.
        frame: Whether the frame of an image is a contour.
        unit: Of the distances, `px` or `m`; empty where they were not measured.
        band: int64 [images, K, 3], see `ContourCounts`; they say how the scores vary.
        edge: int64 [images, K, 4], likewise.
        distances: float [images, K, 2], HD95 and ASSD, NaN where undefined; or no images if not measured.
    """

    mean_boundary_iou: float
    mean_boundary_f: float
    classes: tuple[BoundaryClass, ...]
    width: tuple[int, int]
    tolerance: tuple[float, float]
    rule: str
    frame: bool
    unit: str
    band: NDArray[np.int64]
    edge: NDArray[np.int64]
    distances: NDArray[np.float64]

    @property
    def undefined(self) -> tuple[str, ...]:
        """Names of the classes without a contour in truth and prediction; the means leave them out."""
        return tuple(score.name for score in self.classes if math.isnan(score.boundary_iou))

    def by_name(self, name: str) -> BoundaryClass:
        """The scores of the class called `name`.

        Raises:
            OptionError: there is no such class.
        """
        return named(self.classes, name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a section of `scores.json`, an undefined score as None."""
        measured = bool(self.unit)
        return {
            "mean_boundary_iou": or_none(self.mean_boundary_iou),
            "mean_boundary_f": or_none(self.mean_boundary_f),
            "width_pixels": list(self.width),
            "tolerance_pixels": list(self.tolerance),
            "rule": self.rule,
            "frame_is_contour": self.frame,
            "distance_unit": self.unit or None,
            "undefined": list(self.undefined),
            "classes": [_plain(score, measured) for score in self.classes],
        }


def _plain(score: BoundaryClass, measured: bool) -> dict[str, Any]:
    values = asdict(score)
    if not measured:
        values = {key: value for key, value in values.items() if key == "name" or key.startswith("boundary_")}
    return {key: or_none(value) if isinstance(value, float) else value for key, value in values.items()}


def boundary_iou(band: NDArray[Any]) -> NDArray[np.float64]:
    """Boundary IoU of counts [..., 3] as in `BoundaryScores.band`, NaN where there is no contour.

    >>> boundary_iou(np.array([[6, 8, 8], [0, 0, 0]])).tolist()
    [0.6, nan]
    """
    return ratio(band[..., 0], band[..., 1] + band[..., 2] - band[..., 0])


def boundary_f(edge: NDArray[Any]) -> NDArray[np.float64]:
    """Boundary F, precision and recall [..., 3] of counts [..., 4] as in `BoundaryScores.edge`.

    F is 0 where only one map has a contour, NaN where none has.

    >>> boundary_f(np.array([[3, 4, 4, 4], [0, 5, 0, 0], [0, 0, 0, 0]])).round(3).tolist()
    [[0.857, 1.0, 0.75], [0.0, nan, 0.0], [nan, nan, nan]]
    """
    recall, precision = ratio(edge[..., 0], edge[..., 1]), ratio(edge[..., 2], edge[..., 3])
    both = np.nan_to_num(precision) + np.nan_to_num(recall)
    harmonic = ratio(2 * np.nan_to_num(precision) * np.nan_to_num(recall), both)
    there = edge[..., 1] + edge[..., 3] > 0
    return np.stack([np.where(there, np.nan_to_num(harmonic), NAN), precision, recall], axis=-1)


def boundary_scores(
    names: Sequence[str],
    band: NDArray[np.int64],
    edge: NDArray[np.int64],
    *,
    options: BoundaryOptions,
    reaches: Sequence[tuple[int, float]],
    away: DistanceCounts | None = None,
) -> BoundaryScores:
    """The scores of counts per image.

    Args:
        names: Of the K classes.
        band: int64 [images, K, 3], see `ContourCounts`.
        edge: int64 [images, K, 4], likewise.
        options: What was asked for.
        reaches: Width and tolerance of each image.
        away: Distances, if they were measured.
    """
    scale = 1.0 if options.pixel_size is None else options.pixel_size
    iou, rates = boundary_iou(band.sum(axis=0)), boundary_f(edge.sum(axis=0))
    distances = np.full((0, len(names), 2), NAN) if away is None else away.images * scale
    one_sided = ((edge[..., 1] > 0) != (edge[..., 3] > 0)).sum(axis=0)
    pooled = scale * np.array([(NAN, NAN) if away is None else away.pooled(k) for k in range(len(names))])
    classes = tuple(
        BoundaryClass(
            name,
            boundary_iou=float(iou[k]),
            boundary_f=float(rates[k, 0]),
            boundary_precision=float(rates[k, 1]),
            boundary_recall=float(rates[k, 2]),
            image_mean_hd95=mean_defined(distances[:, k, 0]),
            image_mean_assd=mean_defined(distances[:, k, 1]),
            pooled_hd95=float(pooled[k, 0]),
            pooled_assd=float(pooled[k, 1]),
            distance_images=int((~np.isnan(distances[:, k, 0])).sum()),
            one_sided_images=int(one_sided[k]),
        )
        for k, name in enumerate(names)
    )
    widths, tolerances = zip(*reaches, strict=True) if reaches else ((0,), (0.0,))
    return BoundaryScores(
        mean_boundary_iou=mean_defined(iou),
        mean_boundary_f=mean_defined(rates[:, 0]),
        classes=classes,
        width=(min(widths), max(widths)),
        tolerance=(min(tolerances), max(tolerances)),
        rule=options.rule,
        frame=options.frame,
        unit="" if away is None else options.unit,
        band=band,
        edge=edge,
        distances=distances,
    )
