"""Label map and loss at full resolution, straight from low-resolution logits.

Bilinear interpolation (align_corners=False), then argmax or softmax, as if the logits had been resized to `span` and
cropped at the bottom and right to height and width; but the tensor [N, K, H, W] is never made. On the CPU and for
more than a few pixels numba's kernels do it (`native`), on GPUs Triton's; else torch does, with that tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pixelwise.errors import MaskError
from pixelwise.ops import cards, head_triton, native
from pixelwise.ops.full_loss import Judgement, full_sums
from pixelwise.ops.head_grid import Size, grid_of, label_slots, planes_of, share_bands
from pixelwise.ops.labels import labels_from_logits
from pixelwise.ops.low_loss import low_sums
from pixelwise.ops.maps import fits
from pixelwise.ops.resize import resize
from pixelwise.ops.temperature import tempered
from pixelwise.types import IGNORE

# Values of logits at full size from which the kernels are used: loading them takes up to a second.
_WORTH = 1 << 20
_ROWS = 64  # of logits at full size that are judged together
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class PixelSums(NamedTuple):
    """Sums over the pixels that are not ignored, float32; the first, third and fourth carry gradients.

    Attributes:
        entropy: Of weighted cross-entropies, smoothed; a scalar.
        weight: Of the weights of the true classes; a scalar.
        predicted: [K] of probabilities.
        hits: [K] of the probabilities of the true class.
        truth: [K] pixels of each class.
    """

    entropy: Tensor
    weight: Tensor
    predicted: Tensor
    hits: Tensor
    truth: Tensor


def labels_from_low(logits: Tensor, size: Size, *, span: Size | None = None) -> Tensor:
    """The most probable class of every pixel: logits [N, K, h, w] to uint8 [N, H, W]; K = 1 stands for two classes.

    Args:
        logits: Of any layout, float32 or bfloat16.
        size: Height and width of the result.
        span: Height and width that the logits cover, from the result's first pixel on; by default `size`.

    >>> labels_from_low(torch.tensor([[[[0.0, 3.0]], [[1.0, 1.0]]]]), (1, 4)).tolist()
    [[[1, 1, 0, 0]]]
    """
    span = span or size
    if _accelerated(logits):
        return head_triton.labels(_two(logits.detach()), size, span)
    kernels = _kernels("head_kernels", logits, size)
    if kernels is None:
        return labels_from_logits(_full(logits, size, span))
    low = _two(logits.detach())
    if tuple(low.shape[-2:]) == span and low.dtype == torch.float32 and low.is_contiguous():
        return _largest_planes(kernels, low.numpy(), size)
    grid = grid_of(low.shape[-2:], span, size, label_slots(low.shape[-1], span[1]))
    planes, out = planes_of(low, grid), np.empty((len(low), *size), np.uint8)

    def work(image: int, start: int, stop: int) -> None:
        kernels.labels(planes[image], *grid.tables, grid.spans, out[image], start, stop)

    share_bands(grid, len(low), work)
    return torch.from_numpy(out)


def _largest_planes(kernels: ModuleType, planes: NDArray[np.float32], size: Size) -> Tensor:
    """Labels of logits that are at full size already, without a copy of them."""
    out = np.empty((len(planes), *size), np.uint8)
    rows = range(0, size[0], _ROWS)

    def work(piece: int) -> None:
        image, start = piece // len(rows), rows[piece % len(rows)]
        kernels.largest_plane(planes[image], out[image], start, min(start + _ROWS, size[0]))

    native.share(work, len(planes) * len(rows))
    return torch.from_numpy(out)


def confident_labels_from_low(
    logits: Tensor, size: Size, *, span: Size | None = None, temperatures: Sequence[float] | None = None
) -> tuple[Tensor, Tensor]:
    """What `labels_from_low` returns, and the softmax probability of that class, float32 [N, H, W].

    With `temperatures`, one for every class, logits are first divided by that of the largest one.
    """
    span = span or size
    if _accelerated(logits):
        return head_triton.confident_labels(_two(logits.detach()), size, span, temperatures)
    kernels = _kernels("head_kernels", logits, size)
    if kernels is None:
        full = _full(logits, size, span)
        return labels_from_logits(full), tempered(full, temperatures).amax(dim=1)
    low = _two(logits.detach())
    sharpness = 1 / np.array(temperatures or [1.0] * low.shape[1], np.float32)
    grid = grid_of(low.shape[-2:], span, size, kernels.TILE)
    planes, out = planes_of(low, grid), np.empty((len(low), *size), np.uint8)
    confidence = np.empty(out.shape, np.float32)

    def work(image: int, start: int, stop: int) -> None:
        kernels.confident_labels(
            planes[image], *grid.tables, sharpness, out[image], confidence[image], start, stop
        )

    share_bands(grid, len(low), work)
    return torch.from_numpy(out), torch.from_numpy(confidence)


def cross_entropy_from_low(
    logits: Tensor,
    labels: Tensor,
    *,
    span: Size | None = None,
    weights: Tensor | None = None,
    ignore: int = IGNORE,
    smoothing: float = 0.0,
) -> Tensor:
    """Mean over the pixels that count of -log p of the true class: takes and raises what `sums_from_low` does.

    >>> float(cross_entropy_from_low(torch.zeros(1, 4, 1, 1), torch.zeros(1, 2, 2).long()))  # log 4
    1.3862943649291992
    """
    sums = sums_from_low(
        logits, labels, span=span, weights=weights, ignore=ignore, smoothing=smoothing, overlaps=False
    )
    return sums.entropy / sums.weight.clamp_min(1e-12)


def sums_from_low(
    logits: Tensor,
    labels: Tensor,
    *,
    span: Size | None = None,
    weights: Tensor | None = None,
    ignore: int = IGNORE,
    smoothing: float = 0.0,
    overlaps: bool = True,
) -> PixelSums:
    """What cross-entropy, soft Dice and soft IoU are made of, in one pass over the pixels.

    Args:
        logits: [N, K, h, w] of any layout, float32 or bfloat16; K = 1 stands for two classes.
        labels: Integers [N, H, W], below K or `ignore`.
        span: Height and width that the logits cover, from the labels' first pixel on; by default H, W.
        weights: [K] weights of the cross-entropy.
        ignore: Label of pixels that count nowhere.
        smoothing: Share of the target spread evenly over all classes.
        overlaps: Whether `predicted`, `hits` and `truth` are wanted; without, they may be zeros.

    Raises:
        MaskError: a label that is neither a class nor `ignore`. On an accelerator, which would have to be waited for,
            `entropy` and `weight` are NaN instead; with 255 classes it is ignored.
    """
    size = (int(labels.shape[-2]), int(labels.shape[-1]))
    span = span or size
    classes = max(2, logits.shape[1])
    if labels.device.type == "cpu":
        _check(labels, classes, ignore)
    accelerated = _accelerated(logits)
    kernels = None if accelerated else _kernels("loss_kernels", logits, size)
    if kernels is None and not accelerated:
        return _plain(_two(_full(logits, size, span)), labels, weights, ignore=ignore, smoothing=smoothing)
    of_class = torch.full((256,), math.nan, device=logits.device)
    of_class[IGNORE] = 0
    of_class[:classes] = 1 if weights is None else weights.detach().float()
    counted = labels if ignore == IGNORE else labels.masked_fill(labels == ignore, IGNORE)
    if accelerated:  # whose labels were not looked at: what is no class must not become one in 8 bits
        wrong = ((labels < 0) | (labels >= classes)) & (labels != ignore)
        counted = counted.masked_fill(wrong, IGNORE - 1 if classes < IGNORE else IGNORE)
    counted = counted.to(torch.uint8).contiguous()
    if kernels is None:
        truth = head_triton.Truth(counted, of_class, smoothing, overlaps)
        return PixelSums(*head_triton.sums(_two(logits), truth, span))
    table, seen = of_class.numpy(), counted.numpy()
    covered = span[0] >= size[0] and span[1] >= size[1]
    if tuple(logits.shape[-2:]) == span and covered and logits.shape[1] > 1 and fits(logits):
        full = native.load("full_loss_kernels")
        if full is not None:
            return PixelSums(*full_sums(logits, Judgement(full, seen, table, smoothing, overlaps)))
    judge = Judgement(kernels, seen, table, smoothing, overlaps)
    return PixelSums(*low_sums(_two(logits.float()), judge, span))


def _plain(
    full: Tensor, labels: Tensor, weights: Tensor | None, *, ignore: int, smoothing: float
) -> PixelSums:
    """The same by torch, for any device, from logits [N, K, H, W]."""
    log_p = F.log_softmax(full, dim=1)
    valid = labels != ignore
    broken = valid & ((labels < 0) | (labels >= log_p.shape[1]))
    safe = labels.masked_fill(~valid | broken, 0).long()
    counted = valid.to(log_p.dtype).masked_fill(broken, math.nan)
    per_pixel = counted if weights is None else counted * weights.to(log_p.dtype)[safe]
    picked = log_p.gather(1, safe[:, None])[:, 0]
    target = (1 - smoothing) * picked + smoothing * log_p.mean(dim=1)
    zeros = log_p.new_zeros(log_p.shape[1])
    return PixelSums(
        -(per_pixel * target).sum(),
        per_pixel.sum(),
        (log_p.exp() * counted[:, None]).sum((0, 2, 3)),
        zeros.index_add(0, safe.reshape(-1), (picked.exp() * counted).reshape(-1)),
        zeros.index_add(0, safe.reshape(-1), counted.reshape(-1)),
    )


def takes_full(logits: Tensor) -> bool:
    """Whether `sums_from_low` is the quicker way for logits that are at full size already."""
    return (logits.shape[1] > 1 and fits(logits)) or logits.device.type in cards.CARDS


def _accelerated(logits: Tensor) -> bool:
    fits_card = logits.device.type in cards.CARDS and logits.dtype in _DTYPES
    return fits_card and head_triton.usable(logits.device, logits.dtype)


def _kernels(name: str, logits: Tensor, size: Size) -> ModuleType | None:
    few = logits.shape[0] * logits.shape[1] * size[0] * size[1] < _WORTH
    if few or logits.device.type != "cpu" or logits.dtype not in _DTYPES:
        return None
    return native.load(name)


def _full(logits: Tensor, size: Size, span: Size) -> Tensor:
    """The logits at full size; in float32 at least."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return resize(wide.contiguous(), span)[..., : size[0], : size[1]]


def _two(logits: Tensor) -> Tensor:
    """One logit as two classes: the softmax of 0 and z is the sigmoid of z."""
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits


def _check(labels: Tensor, classes: int, ignore: int) -> None:
    values = labels.numpy()  # which is ten times quicker on bytes
    wrong = ((values >= classes) | (values < 0)) & (values != ignore)
    if wrong.any():
        value = int(values[wrong][0])
        raise MaskError(
            f"the labels hold value {value}; allowed are 0..{classes - 1}, and {ignore} for ignore",
            remedy=f"give {value} a class, or make it {ignore}",
        )
