"""Numbers that tell how an image looks: its colours, its detail, its range; and how far vectors are from others.

Colours are means of bands over pixels of four levels of brightness: exchanged bands exchange columns, so that all
orders of the bands are judged from one look. Detail is how much neighbours differ at several distances; it changes
with the size of pixels. Both are taken from some 65 000 pixels.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.types import Image

LEVELS = 4
LAGS = (1, 2, 4, 8)
VIEW = 128
"""Rows and columns of the four views of an image, in its own pixels."""

_AXES = 16
_SLACK = 4.0  # standard deviations of the logarithm of held-out distances, where there are few
_ENOUGH = 60  # held-out distances whose largest says enough

Vector = NDArray[np.float64]


class Directions(NamedTuple):
    """Mean [D], axes [k, D] and variances [k] of vectors, and their variance elsewhere."""

    mean: Vector
    axes: Vector
    variances: Vector
    rest: float


def views(image: Image) -> NDArray[Any]:
    """Four windows [4, h, w, C] from the quarters of an image [H, W, C], or it alone where it is no larger than one."""
    height, width = image.shape[:2]
    rows, columns = min(VIEW, height), min(VIEW, width)
    tops = sorted({(height - rows) // 4, 3 * (height - rows) // 4})
    lefts = sorted({(width - columns) // 4, 3 * (width - columns) // 4})
    return np.stack([image[top : top + rows, left : left + columns] for top in tops for left in lefts])


def colors(pixels: NDArray[Any]) -> Vector:
    """[5, C]: the mean of each band at four levels of brightness, from dark to bright, then its deviation."""
    flat = pixels.reshape(-1, pixels.shape[-1]).astype(np.float64)
    order = np.argsort(flat.mean(axis=1), kind="stable")
    cuts = [len(order) * level // LEVELS for level in range(LEVELS + 1)]
    parts = [order[start : max(end, start + 1)] for start, end in itertools.pairwise(cuts)]
    means = [flat[part].mean(axis=0) for part in parts]  # of fewer than 4 pixels, some count twice
    return np.stack([*means, flat.std(axis=0)])


def chroma(levels: Vector) -> Vector:
    """What `colors` says without brightness, as a vector [5 C]: each level relative to the mean of its bands.

    >>> chroma(np.array([[1.0, 3.0], [4.0, 4.0]])).tolist()
    [-0.5, 0.5, 0.0, 0.0]
    """
    mean = levels.mean(axis=1, keepdims=True)
    relative: Vector = (levels - mean) / np.maximum(np.abs(mean), 1e-9)
    return relative.ravel()


def detail(pixels: NDArray[Any]) -> Vector:
    """[4]: logarithm of how much pixels 1, 2, 4 and 8 apart differ, relative to how much all pixels do."""
    grey = pixels.astype(np.float64).mean(axis=-1)
    whole = grey.var() + 1e-12
    found = []
    for lag in LAGS:
        lag = min(lag, grey.shape[-1] - 1, grey.shape[-2] - 1)
        down, across = (
            grey[:, lag:] - grey[:, : grey.shape[1] - lag],
            grey[..., lag:] - grey[..., : -lag or None],
        )
        both = (np.square(down).mean() + np.square(across).mean()) / 2 if lag else 0.0
        found.append(np.log(both / whole + 1e-6))
    return np.array(found)


def directions(vectors: Vector, *, shrink: float | None = None) -> Directions:
    """Mean and main axes of vectors [n, D]; what is left over is spread evenly over the other directions.

    Variances are drawn towards their mean by the share `shrink`; None: the more the fewer vectors there are.
    """
    count, dimensions = vectors.shape
    mean = vectors.mean(axis=0)
    _, lengths, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    variances = lengths**2 / max(1, count - 1)
    kept = min(_AXES, len(variances), max(1, count // 4))
    average = float(variances.sum() / dimensions) + 1e-12
    if shrink is None:
        shrink = dimensions / (dimensions + 10.0 * count) if dimensions < count else 0.1
    along = (1 - shrink) * variances[:kept] + shrink * average
    others = max(1, dimensions - kept)
    rest = (1 - shrink) * float(variances[kept:].sum()) / others + shrink * average
    return Directions(mean, axes[:kept], along, rest)


def distance(vector: Vector, where: Directions) -> float:
    """Mahalanobis distance per root of dimension: about 1 for vectors of the same kind."""
    gap = np.ravel(vector) - where.mean
    along = where.axes @ gap
    left = max(0.0, float(gap @ gap - along @ along))
    squared = float((along**2 / where.variances).sum())
    if len(where.mean) > len(along):
        squared += left / where.rest
    return float(np.sqrt(squared / len(where.mean)))


def limit_of(distances: Vector) -> float:
    """A distance that vectors like the held-out ones hardly reach: a fifth over all of them.

    Of fewer than 60 the largest says little; then it is at least four deviations of their logarithm over its mean.

    >>> round(limit_of(np.array([1.0, 1.0, 1.0])), 2)
    1.49
    """
    limit = 1.2 * float(distances.max())
    if len(distances) >= _ENOUGH:
        return limit
    logs = np.log(np.maximum(distances, 1e-9))
    return max(limit, float(np.exp(logs.mean() + _SLACK * max(float(logs.std()), 0.1))))
