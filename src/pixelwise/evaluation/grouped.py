"""Intervals of classifications whose images belong together: several pictures of one patient, frames of one film.

The jackknife of `intervals` over units instead of images: leaving out one unit at a time tells how far it moves the
accuracy and the area under the ROC curve. Images that stand for themselves keep the closed forms of Wilson and
Newcombe, which are made for them. The jackknife of the area over units is to first order the estimate of Obuchowski:
Nonparametric Analysis of Clustered ROC Curve Data, Biometrics 53, 1997 (https://doi.org/10.2307/2533958).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.classification import ClassificationScores, roc_area_interval
from pixelwise.data.groups import Groups
from pixelwise.evaluation.intervals import NOTE, ROUNDING, Estimate, Floats, Influences, estimates, influences
from pixelwise.evaluation.overlaps import check_images
from pixelwise.evaluation.units import Units, units_of

Flags = NDArray[np.bool_]


def with_groups(
    scores: ClassificationScores,
    probabilities: NDArray[Any],
    targets: NDArray[Any],
    groups: Groups | Sequence[str],
) -> ClassificationScores:
    """`scores` of probabilities [N, K] and targets [N] with intervals over the groups of the N images.

    Raises:
        DataError: the groups are those of other images.
    """
    units = units_of(groups)
    check_images(len(targets), len(units.of))
    facts: dict[str, Any] = {"interval_units": units.count, "interval_units_origin": units.origin}
    if units.count == len(targets) and not units.chain:
        return replace(scores, **facts)
    accuracy = share_estimate(probabilities.argmax(axis=1) == targets, units)
    found, roc = {"accuracy": accuracy}, scores.roc
    if roc is not None:
        area = area_estimate(probabilities[:, 1], targets == 1, units)
        found["area under the ROC curve"] = area
        roc = replace(roc, area_interval=area.interval)
    weak = [f"{name}: {NOTE}" for name, one in found.items() if not one.reliable]
    notes = tuple([units.note] * bool(units.note) + weak)
    return replace(
        scores,
        accuracy_interval=accuracy.interval,
        roc=roc,
        interval_reliable=accuracy.reliable,
        interval_notes=notes,
        **facts,
    )


def share_estimate(right: Flags, units: Units) -> Estimate:
    """The share of images that are `right` [N], with its interval over units.

    >>> share = share_estimate(np.arange(60) % 6 > 0, units_of([f"patient {k // 3}" for k in range(60)]))
    >>> round(share.value, 3), [round(bound, 3) for bound in share.interval]
    (0.833, [0.738, 0.899])
    """
    counts = np.stack([right, np.ones_like(right)], axis=1).astype(np.int64)[:, None]
    return estimates(influences(counts, lambda sums: sums[..., 0] / sums[..., 1], units))[0]


def area_estimate(scores: NDArray[Any], positive: Flags, units: Units) -> Estimate:
    """The area under the ROC curve of scores [N] for images that are `positive` or not [N], over units.

    Both kinds must occur. Where every positive image leads, nothing shows how the area varies; then the interval is
    Newcombe's, with units in the place of images.
    """
    gains = np.empty(len(scores))
    gains[positive] = _beaten(scores[positive], scores[~positive])
    gains[~positive] = positive.sum() - _beaten(scores[~positive], scores[positive])
    area = float(gains[positive].sum() / (positive.sum() * (~positive).sum()))

    def moved(of: NDArray[np.intp], count: int) -> Floats:
        """How far leaving out each of `count` parts moves the area [count, 1]."""
        hits, others = (np.bincount(of, flag, count) for flag in (positive, ~positive))
        within = np.zeros(count)
        for part in np.flatnonzero((hits > 0) & (others > 0)):
            inside = of == part
            within[part] = _beaten(scores[inside & positive], scores[inside & ~positive]).sum()
        pairs = (positive.sum() - hits) * ((~positive).sum() - others)
        rest = gains[positive].sum() - np.bincount(of, gains, count) + within
        # A part that holds all of one kind leaves no area; nothing is known of how it varies.
        without = np.divide(rest, pairs, out=np.full(count, area), where=pairs > 0)
        result: Floats = without.mean() - without
        return np.where(np.abs(result) < ROUNDING, 0.0, result)[:, None]

    of_unit = moved(units.of, units.count)
    of_image = moved(np.arange(len(scores)), len(scores)) if units.chain else of_unit
    found = estimates(Influences(np.array([area]), of_unit, of_image, units))[0]
    if 0 < area < 1:
        return found
    holding = [len(np.unique(units.of[flag])) for flag in (positive, ~positive)]
    return replace(found, interval=roc_area_interval(area, *holding))


def _beaten(values: NDArray[Any], others: NDArray[Any]) -> Floats:
    """For each of `values` how many of `others` lie below, equal ones counted half."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    result: Floats = (below + up_to) / 2
    return result
