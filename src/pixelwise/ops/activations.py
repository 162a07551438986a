"""Softmax, sigmoid and ReLU in plain NumPy, and where each belongs.

| where | activation | why |
| --- | --- | --- |
| between the layers | ReLU | cheap, and its slope does not vanish for large values |
| head, K classes that exclude each other | softmax over the K logits of a pixel | probabilities that sum to 1 |
| head, two classes by one logit | sigmoid | the softmax of (0, logit): the same probabilities, one map less |
| head, several labels that may hold at once | a sigmoid each | they need not sum to 1 |
| head of an autoencoder | none, or sigmoid for values in 0..1 | it returns values, not classes |

The networks here return logits: the loss takes log-softmax of them in one step, which is safe for large values,
and the class map needs no activation at all, since softmax and sigmoid keep the order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pixelwise.ops.axes import Numbers, numbers


def softmax(logits: ArrayLike, *, axis: int = 0) -> Numbers:
    """exp(z) / sum of exp(z) along the classes, `axis` 0 in [K] or [K, H, W]: positive, sum 1.

    The largest logit is subtracted first, which changes nothing but keeps exp finite.

    Raises:
        OptionError: there are no numbers in `logits`.

    >>> softmax([0, 0]).tolist()
    [0.5, 0.5]
    """
    values = _floats(logits)
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    shares: Numbers = powers / powers.sum(axis=axis, keepdims=True)
    return shares


def sigmoid(logits: ArrayLike) -> Numbers:
    """1 / (1 + exp(-z)), from 0 to 1, of any shape; finite for any z.

    Raises:
        OptionError: there are no numbers in `logits`.

    >>> sigmoid([-1000, 0, 1000]).tolist()
    [0.0, 0.5, 1.0]
    """
    values = _floats(logits)
    power = np.exp(-np.abs(values))  # at most 1, for either sign
    shares: Numbers = np.where(values >= 0, 1, power) / (1 + power)
    return shares


def relu(values: ArrayLike) -> Numbers:
    """max(z, 0), of any shape.

    Raises:
        OptionError: there are no numbers in `values`.

    >>> relu([-2, 0, 3]).tolist()
    [0, 0, 3]
    """
    return np.maximum(numbers(values, "values"), 0)


def _floats(values: ArrayLike) -> Numbers:
    array = numbers(values, "logits")
    return array if array.dtype.kind == "f" else array.astype(np.float64)
