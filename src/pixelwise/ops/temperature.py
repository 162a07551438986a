"""Probabilities at a temperature: softmax(z / T), where T may depend on the class with the largest logit.

Dividing by a positive number leaves the order of the classes as it is; so labels never change.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.ops.labels import probabilities


def tempered(logits: Tensor, temperatures: Sequence[float] | None) -> Tensor:
    """Probabilities float32 [N, K, H, W] of logits [N, K, H, W], K at least 2; one logit gives two planes.

    Args:
        logits: In any precision.
        temperatures: One for every class, that of the largest logit counts; None leaves the logits as they are.

    >>> two = torch.tensor([2.0, 0.0]).reshape(1, 2, 1, 1)
    >>> [round(value, 3) for value in tempered(two, (2.0, 9.0)).flatten().tolist()]  # sigmoid(1)
    [0.731, 0.269]
    """
    if temperatures is None:
        return probabilities(logits)
    wide = logits.float()
    if wide.shape[1] == 1:
        wide = torch.cat([torch.zeros_like(wide), wide], dim=1)
    top, winner = wide.max(dim=1, keepdim=True)
    return ((wide - top) / torch.tensor(temperatures, device=wide.device)[winner]).softmax(dim=1)


def sharpened(shares: NDArray[np.float32], temperatures: Sequence[float]) -> NDArray[np.float32]:
    """The same from probabilities [K, ...]: their largest one [...], at the temperature of its class.

    The logarithm of a softmax is the logits up to a constant, so this equals tempering the logits.

    >>> f"{sharpened(np.array([[0.8], [0.2]], np.float32), (2.0, 2.0))[0]:.4f}"  # 2 to 1
    '0.6667'
    """
    if not len(shares):
        return np.zeros(shares.shape[1:], np.float32)
    top, winner = shares.max(axis=0), shares.argmax(axis=0)
    power = 1 / np.asarray(temperatures, np.float32)[winner]
    ratio: NDArray[np.float32] = shares / np.maximum(top, np.finfo(np.float32).tiny)
    largest: NDArray[np.float32] = (1 / np.maximum((ratio**power).sum(axis=0), 1)).astype(np.float32)
    return np.where(top > 0, largest, 0).astype(np.float32)
