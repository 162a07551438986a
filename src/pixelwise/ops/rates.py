"""Shares of counts, where some are undefined: NaN in arrays, None in files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAN = float("nan")

Z95 = 1.959963984540054
"""Of a normal distribution 95 % lie within as many standard deviations."""


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """`part / whole`, NaN where `whole` is 0; arrays of one shape.

    >>> ratio(np.array([1, 0]), np.array([2, 0])).tolist()
    [0.5, nan]
    """
    share = np.full(np.shape(part), NAN)
    np.divide(part, whole, out=share, where=np.asarray(whole) > 0)
    return share


def mean_defined(values: NDArray[np.float64]) -> float:
    """The mean of what is not NaN; NaN if nothing is.

    >>> mean_defined(np.array([1.0, NAN, 2.0]))
    1.5
    """
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else NAN


def or_none(value: float) -> float | None:
    """A plain float, None where JSON has no number: NaN and infinity."""
    return float(value) if math.isfinite(value) else None
