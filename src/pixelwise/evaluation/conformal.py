"""Sets of classes that hold the true one as often as they say.

A pixel's set has every class with at least the probability `threshold`, and the most probable one. The threshold is
the largest at which, on images that the network did not learn from, the share of pixels whose true class is left
out is small enough (Angelopoulos et al.: Conformal Risk Control, 2022). What is promised: for a new image that is
exchangeable with those, one more of the same kind drawn in the same way, the expected share of its pixels that are
covered is at least the stated one. Not promised: that each image, class or region reaches it; pixels of one image are
alike, so images count, not pixels, and an image of another street or season is no draw of the same kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, OptionError

SHARE = 0.9
Shares = NDArray[np.float32] | NDArray[np.float64]


def set_threshold(true: Sequence[Shares], share: float = SHARE) -> float:
    """The smallest probability with which a class enters the set.

    Args:
        true: For each image the probabilities [n] of the true classes of some of its pixels; an image without
            pixels says nothing.
        share: Of the pixels of a new image whose sets are to hold the true class, in expectation.

    Raises:
        OptionError: a share that is not between 0 and 1.
        DataError: too few images for that share.

    >>> images = [np.array([0.9, 0.8, 0.3, 0.6])] * 9
    >>> set_threshold(images, 0.5)  # of 10 images one, the new one, may be covered nowhere; 4 / 9 of the others
    0.6
    """
    if not 0 < share < 1:
        raise OptionError(f"a share of {share}", remedy="give a number between 0 and 1, such as 0.9")
    used = [values for values in true if len(values)]
    left_out = (1 - share) * (len(used) + 1) - 1  # images that the sets may miss, the new one taken off
    if left_out < -1e-9 or not used:
        raise DataError(
            f"{len(used)} images are too few for sets that hold {share:.0%} of true classes",
            remedy=f"give at least {math.ceil(1 / (1 - share) - 1 - 1e-9)} images, or a smaller share",
        )
    values = np.concatenate(used).astype(np.float64)
    weights = np.concatenate([np.full(len(one), 1 / len(one)) for one in used])
    order = np.argsort(values, kind="stable")
    values, missed = values[order], np.concatenate([[0.0], np.cumsum(weights[order])[:-1]])
    first = np.searchsorted(values, values, side="left")  # equal values enter together
    allowed = missed[first] <= left_out + 1e-9
    return float(values[allowed][-1])


def label_sets(probabilities: Shares, threshold: float) -> NDArray[np.bool_]:
    """Which classes are in the set of every pixel: probabilities [K, ...] to bool [K, ...].

    >>> label_sets(np.array([[0.7, 0.4], [0.2, 0.35], [0.1, 0.25]]), 0.3).sum(axis=0).tolist()
    [1, 2]
    """
    sets: NDArray[np.bool_] = probabilities >= threshold
    np.put_along_axis(sets, probabilities.argmax(axis=0)[None], True, axis=0)
    return sets


def coverage(probabilities: Shares, truth: NDArray[np.int64], threshold: float) -> tuple[float, float]:
    """Share of pixels whose set holds the true class, and the mean number of classes in a set.

    Args:
        probabilities: [K, n].
        truth: True classes [n], n at least 1.
        threshold: From `set_threshold`.
    """
    sets = label_sets(probabilities, threshold)
    return float(sets[truth, np.arange(len(truth))].mean()), float(sets.sum(axis=0).mean())
