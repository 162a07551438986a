"""Counts of (truth, prediction) of labels that lie on an accelerator, which need not be sent to the processor."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from pixelwise.ops import cards
from pixelwise.ops.cards import parts
from pixelwise.ops.confusion import confusion
from pixelwise.types import IGNORE, Confusion

KERNELS = "confusion_triton_kernels"
COPIES = 1024  # of the table of counts, at most; of many classes fewer
WORDS, ROUNDS = 32, 16  # words of four labels that a program takes at a time, and how often
_MOST = 1 << 22  # counts in all copies together
_WORD = 4


def confusion_on_device(truth: Tensor, prediction: Tensor, classes: int, ignore: int = IGNORE) -> Confusion:
    """What `confusion` returns and raises, for uint8 tensors of any shape on one device.

    On CUDA Triton counts; elsewhere, and where it cannot, the labels go to the processor.
    """
    fits = truth.shape == prediction.shape and truth.dtype == prediction.dtype == torch.uint8
    fits = fits and 1 <= classes <= 255 and 0 <= ignore <= 255 and truth.numel() >= _WORD
    if fits and truth.device.type in cards.CARDS and _usable(truth.device):
        table = _count(truth.reshape(-1), prediction.reshape(-1), classes, ignore).cpu().numpy()
        if not table[classes + 1].any() and not table[:, classes].any():
            counts: Confusion = table[:classes, :classes].copy()
            return counts
    return confusion(truth.cpu().numpy(), prediction.cpu().numpy(), classes, ignore)


def _count(truth: Tensor, prediction: Tensor, classes: int, ignore: int) -> Tensor:
    """int64 [classes + 2, classes + 1]: the last two rows are `ignore` and other values, the last column those."""
    whole = len(truth) // _WORD * _WORD
    size = (classes + 2) * (classes + 1)
    copies = max(1, min(COPIES, _MOST // size))
    tables = torch.zeros((copies, size), dtype=torch.int64, device=truth.device)
    with cards.where(truth):
        cards.kernels(KERNELS).count[(parts(whole // _WORD, WORDS * ROUNDS),)](
            _words(truth[:whole]), _words(prediction[:whole]), tables, whole // _WORD, classes, ignore, copies, size,
            ROUNDS=ROUNDS, WORDS=WORDS, num_warps=1,
        )  # fmt: skip
    table = tables.sum(0)
    if whole < len(truth):  # up to three more
        rest, said = truth[whole:].long(), prediction[whole:].long()
        row = torch.where(rest < classes, rest, classes + 1).masked_fill(rest == ignore, classes)
        table.index_add_(0, row * (classes + 1) + said.clamp_max(classes), torch.ones_like(row))
    return table.reshape(classes + 2, classes + 1)


def _words(labels: Tensor) -> Tensor:
    if labels.data_ptr() % 16:  # a part of another tensor
        labels = labels.clone()
    return labels.view(torch.int32)


@cache
def _usable(device: torch.device) -> bool:
    return cards.load(KERNELS) is not None and cards.works(device, lambda: _try(device))


def _try(device: torch.device) -> None:
    labels = torch.tensor([0, 1, 1, 255, 1], dtype=torch.uint8, device=device)
    said = torch.tensor([0, 0, 1, 1, 1], dtype=torch.uint8, device=device)
    if _count(labels, said, 2, 255).tolist() != [[1, 0, 0], [1, 2, 0], [0, 1, 0], [0, 0, 0]]:
        raise RuntimeError("their counts are wrong")
