"""Undo, after training, what class weights in the loss do to the predictions.

A cross-entropy with weights w teaches p_w proportional to w p: rare classes are learned sooner, but predicted too
often. Taking log w off the logits gives p back (Elkan: The Foundations of Cost-Sensitive Learning, 2001). The
overlap loss pulls the other way, so how much to take off is judged on the validation split.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor

from pixelwise.data.dataset import Split
from pixelwise.evaluation import evaluate
from pixelwise.metrics import Scores
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter

SHARES = (0.0, 0.5, 1.0)


def can_undo(model: Network) -> TypeGuard[Segmenter]:
    """Whether a shift of the head's bias is a shift of the logits."""
    return isinstance(model, Segmenter) and isinstance(model.head.bias, Tensor)


def undo_weights(model: Segmenter, split: Split, weights: Tensor) -> tuple[float, Scores]:
    """Shift the head's bias by the best share of -log `weights` [K]; return the share and its scores on `split`.

    A constant per class passes through the interpolation of the logits unchanged, so the bias is all there is
    to change.
    """
    bias = model.head.bias
    if not isinstance(bias, Tensor):
        raise TypeError(f"the head of {model.name} has no bias")
    before = bias.detach().clone()
    shift = -weights.clamp_min(1e-3).log().to(bias.device)
    if model.one_logit:
        shift = shift[1:] - shift[:1]
    results: list[tuple[float, Scores]] = []
    for share in SHARES:
        _set(bias, before + share * shift)
        results.append((share, evaluate(model, split)))
    best = max(results, key=lambda result: result[1].mean_iou)
    _set(bias, before + best[0] * shift)
    return best


def _set(bias: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        bias.copy_(values)
