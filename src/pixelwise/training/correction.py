"""Undo, after training, what class weights in the loss do to the predictions.

A cross-entropy with weights w teaches p_w proportional to w p: rare classes are learned sooner, but predicted too
often. Taking log w off the logits gives p back (Elkan: The Foundations of Cost-Sensitive Learning, 2001). The
overlap loss pulls the other way, so how much to take off is judged on the validation split.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.data.dataset import Split
from pixelwise.errors import DataError
from pixelwise.evaluation import evaluate
from pixelwise.evaluation.checks import check_split
from pixelwise.infer.ahead import ahead
from pixelwise.infer.predictor import Running
from pixelwise.metrics import Scores, scores_from_confusion
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.confusion import confusion

SHARES = (0.0, 0.5, 1.0)
PASSES = 2  # what choosing one and scoring it costs, in evaluations of the split


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
    names = [spec.name for spec in model.classes]
    counts = _counts(Running(model), split, [share * shift for share in SHARES])
    overlaps = [scores_from_confusion(one, names).mean_iou for one in counts]
    best = SHARES[max(range(len(SHARES)), key=overlaps.__getitem__)]
    _set(bias, before + best * shift)
    return best, evaluate(model, split)


def _counts(running: Running, split: Split, shifts: list[Tensor]) -> NDArray[np.int64]:
    """The confusion matrices of the split, one for each shift of the logits."""
    classes = len(running.model.classes)
    counts = np.zeros((len(shifts), classes, classes), np.int64)
    check_split(running.model, split)
    for index, sample in ahead(split.__getitem__, range(len(split))):
        read = sample()
        try:
            found = running.shifted(read.image, shifts)
        except DataError as error:
            error.file = error.file or split.items[index].image
            raise
        for matrix, labels in zip(counts, found, strict=True):
            matrix += confusion(read.labels, labels, classes)
    return counts


def _set(bias: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        bias.copy_(values)
