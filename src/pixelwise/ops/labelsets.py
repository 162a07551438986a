"""How many classes are in the label set of every pixel, class by class, so that memory does not grow with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pixelwise.ops.resize import resize


def set_sizes(
    logits: Tensor,
    labels: Tensor,
    confidence: Tensor,
    threshold: float,
    *,
    span: tuple[int, int],
    temperatures: Sequence[float] | None = None,
) -> Tensor:
    """Classes with a probability of at least `threshold`, and never less than one: uint8 [N, H, W].

    Args:
        logits: [N, K, h, w] at the decoder's stride; one logit stands for two classes.
        labels: The most probable class [N, H, W].
        confidence: Its probability [N, H, W], with the same temperatures.
        threshold: From `evaluation.conformal`.
        span: The size that the logits span; H and W or more.
        temperatures: One for every class, that of the largest logit counts.

    >>> two = torch.tensor([2.0, 0.0]).reshape(1, 2, 1, 1)
    >>> sure = two.softmax(1).amax(1)  # 0.88
    >>> [int(set_sizes(two, two.argmax(1), sure, t, span=(1, 1))) for t in (0.95, 0.5, 0.1)]
    [1, 1, 2]
    """
    low = logits.float()
    if low.shape[1] == 1:
        low = torch.cat([torch.zeros_like(low), low], dim=1)
    height, width = labels.shape[-2:]

    def plane(index: int) -> Tensor:
        return resize(low[:, index : index + 1], span)[:, 0, :height, :width]

    top = plane(0)
    for index in range(1, low.shape[1]):
        top = torch.maximum(top, plane(index))
    # p = confidence * exp((z - top) / T), so p >= t is a limit to z
    reach = (math.log(threshold) if threshold > 0 else -math.inf) - confidence.to(top.device).log()
    if temperatures is not None:
        reach = reach * torch.tensor(temperatures, device=top.device)[labels.to(top.device).long()]
    limit = top + reach
    count = torch.zeros(labels.shape, dtype=torch.uint8, device=top.device)
    for index in range(low.shape[1]):
        count += plane(index) >= limit
    return count.clamp_(min=1)
