"""Logits to labels and probabilities, for any number of classes and for the one-logit form of two; one-hot coding."""

from __future__ import annotations

from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.errors import DataError, MaskError, OptionError
from pixelwise.types import IGNORE, MAX_CLASSES, Labels


def labels_from_logits(logits: Tensor) -> Tensor:
    """The most probable class per pixel: [N, K, H, W] to uint8 [N, H, W]; K = 1 stands for two classes.

    >>> labels_from_logits(torch.tensor([[[[0.5]], [[1.5]]]])).tolist()
    [[[1]]]
    >>> labels_from_logits(torch.tensor([[[[-0.5, 2.0]]]])).tolist()
    [[[0, 1]]]
    """
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).to(torch.uint8)
    if logits.device.type == "cpu":
        # argmax over planes takes six to forty times as long there; both give the first of equals
        return logits.max(dim=1).indices.to(torch.uint8)
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


@overload
def one_hot(labels: Labels, classes: int, *, axis: int = -3) -> NDArray[np.uint8]: ...
@overload
def one_hot(labels: Tensor, classes: int, *, axis: int = -3) -> Tensor: ...
def one_hot(labels: Labels | Tensor, classes: int, *, axis: int = -3) -> NDArray[np.uint8] | Tensor:
    """One plane of 0 and 1 per class: labels [..., H, W] to uint8 [..., K, H, W]; ignored pixels are 0 in all.

    Args:
        labels: Class indices below `classes`, or IGNORE; array or tensor.
        classes: The number of classes K, in 1..255.
        axis: Where the class axis goes; -1 for a list of labels.

    Raises:
        MaskError: a value that is neither a class nor IGNORE.
        OptionError: `classes` or `axis` out of range.

    >>> one_hot(np.array([[0, 2, 255]], np.uint8), 3).tolist()
    [[[1, 0, 0]], [[0, 0, 0]], [[0, 1, 0]]]
    """
    if not 1 <= classes <= MAX_CLASSES:
        raise OptionError(f"{classes} classes", remedy=f"use 1 to {MAX_CLASSES} classes")
    if not -labels.ndim <= axis + 1 <= labels.ndim + 1:
        raise OptionError(
            f"the class axis is {axis} for labels of shape {tuple(labels.shape)}", remedy="give axis=-1"
        )
    wrong = ((labels < 0) | (labels >= classes)) & (labels != IGNORE)
    if wrong.any():
        value = int(labels[wrong][0])
        raise MaskError(
            f"the labels hold value {value}; allowed are 0..{classes - 1}, and {IGNORE} for ignore",
            remedy=f"give {value} a class, or make it {IGNORE}",
        )
    if isinstance(labels, Tensor):
        planes = labels[..., None] == torch.arange(classes, device=labels.device)
        return planes.movedim(-1, axis).to(torch.uint8)
    coded: NDArray[np.uint8] = (labels[..., None] == np.arange(classes)).astype(np.uint8)
    return np.moveaxis(coded, -1, axis)


@overload
def labels_from_one_hot(planes: NDArray[np.uint8], *, axis: int = -3) -> Labels: ...
@overload
def labels_from_one_hot(planes: Tensor, *, axis: int = -3) -> Tensor: ...
def labels_from_one_hot(planes: NDArray[np.uint8] | Tensor, *, axis: int = -3) -> Labels | Tensor:
    """Back from one-hot coding: [..., K, H, W] to uint8 labels [..., H, W]; a pixel of no class is IGNORE.

    Raises:
        DataError: a value other than 0 and 1, or a pixel of two classes.

    >>> labels_from_one_hot(np.array([[[1, 0, 0]], [[0, 0, 1]]], np.uint8)).tolist()
    [[0, 255, 1]]
    """
    count = planes.sum(axis)
    if ((planes != 0) & (planes != 1)).any() or (count > 1).any():
        raise DataError(
            "the planes are no one-hot coding: a pixel has several classes, or a value other than 0 and 1",
            remedy="for probabilities take the largest: labels_from_logits",
        )
    if isinstance(planes, Tensor):
        return planes.to(torch.uint8).argmax(axis).masked_fill(count == 0, IGNORE).to(torch.uint8)
    return np.where(count == 0, IGNORE, planes.argmax(axis)).astype(np.uint8)
