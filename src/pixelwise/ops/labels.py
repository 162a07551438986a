"""Logits to labels and probabilities, for any number of classes and for the one-logit form of two."""

from __future__ import annotations

import torch
from torch import Tensor


def labels_from_logits(logits: Tensor) -> Tensor:
    """The most probable class per pixel: [N, K, H, W] to uint8 [N, H, W]; K = 1 stands for two classes.

    >>> labels_from_logits(torch.tensor([[[[0.5]], [[1.5]]]])).tolist()
    [[[1]]]
    >>> labels_from_logits(torch.tensor([[[[-0.5, 2.0]]]])).tolist()
    [[[0, 1]]]
    """
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).to(torch.uint8)
    return logits.argmax(dim=1).to(torch.uint8)


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over classes: [N, K, H, W] to float32 [N, K, H, W]; one logit gives two planes.

    >>> probabilities(torch.zeros(1, 1, 1, 1)).flatten().tolist()
    [0.5, 0.5]
    """
    if logits.shape[1] == 1:
        second = torch.sigmoid(logits.float())
        return torch.cat([1 - second, second], dim=1)
    return logits.float().softmax(dim=1)
