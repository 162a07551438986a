"""What training minimises: cross-entropy, soft Dice and soft IoU, all blind to ignored pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.ops.head import sums_from_low
from pixelwise.types import IGNORE


@dataclass(frozen=True)
class LossOptions:
    """The training loss: cross-entropy plus `overlap_weight` times an overlap loss.

    Attributes:
        overlap: Soft Dice or soft IoU (Jaccard) over the classes present in the batch.
        overlap_weight: Its weight; 0 leaves it out.
        smoothing: Label smoothing of the cross-entropy, 0..1.
        class_weights: `none`, `balanced` (inverse frequency, damped) or `auto`: balanced when the rarest class
            covers less than a hundredth of what it would in equal shares.
    """

    overlap: Literal["dice", "iou"] = "dice"
    overlap_weight: float = 0.5
    smoothing: float = 0.0
    class_weights: Literal["auto", "none", "balanced"] = "auto"

    def __post_init__(self) -> None:
        if self.overlap_weight < 0:
            raise OptionError(f"loss.overlap_weight is {self.overlap_weight}", remedy="give 0 or more")
        if not 0 <= self.smoothing < 1:
            raise OptionError(f"loss.smoothing is {self.smoothing}", remedy="give a number in 0..1, below 1")


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    options: LossOptions,
    *,
    weights: Tensor | None = None,
    span: tuple[int, int] | None = None,
) -> Tensor:
    """Cross-entropy plus overlap loss, in float32 whatever the logits are.

    Args:
        logits: [N, K, H, W]; K = 1 is the one-logit form of two classes. With `span` at any lower resolution.
        labels: Integers [N, H, W]; IGNORE counts nowhere.
        options: Which losses, how strong.
        weights: [K] class weights of the cross-entropy.
        span: Height and width in pixels that low-resolution logits cover, from the labels' first pixel on.

    Returns:
        A scalar; 0 (with zero gradients) when every pixel is ignored.
    """
    if span is not None:
        return _loss_from_low(logits, labels, options, weights=weights, span=span)
    targets = labels.long()
    # Planes, one after the other: log-softmax over channels is then vectorised along the pixels.
    planes = logits.float().contiguous()
    if planes.shape[1] == 1:  # the sigmoid of the one logit is the probability of the second class
        log_p = F.logsigmoid(torch.cat([-planes, planes], dim=1))
    else:
        log_p = F.log_softmax(planes, dim=1)
    loss = cross_entropy(log_p, targets, smoothing=options.smoothing, weights=weights)
    if options.overlap_weight:
        loss = loss + options.overlap_weight * overlap_loss(log_p.exp(), targets, kind=options.overlap)
    return loss


def _loss_from_low(
    logits: Tensor, labels: Tensor, options: LossOptions, *, weights: Tensor | None, span: tuple[int, int]
) -> Tensor:
    """The same without logits at full size."""
    sums = sums_from_low(
        logits,
        labels,
        span=span,
        weights=weights,
        smoothing=options.smoothing,
        overlaps=options.overlap_weight > 0,
    )
    loss = sums.entropy / sums.weight.clamp_min(1e-12)
    if options.overlap_weight:
        overlap = _overlap(sums.hits, sums.predicted, sums.truth, kind=options.overlap)
        loss = loss + options.overlap_weight * overlap
    return loss


def cross_entropy(
    log_p: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Mean over counted pixels of -log p of the true class, smoothed towards the mean over classes.

    Args:
        log_p: Log-probabilities [N, K, ...].
        targets: int64 [N, ...] with IGNORE.
        smoothing: Share of the target spread evenly over all classes.
        weights: [K], the mean is weighted by the true class's weight.
    """
    counted = (targets != IGNORE).to(log_p.dtype)
    safe = targets.masked_fill(targets == IGNORE, 0)
    per_pixel = counted if weights is None else counted * weights[safe]
    picked = log_p.gather(1, safe[:, None])[:, 0]
    if smoothing:
        picked = (1 - smoothing) * picked + smoothing * log_p.mean(dim=1)
    return -(per_pixel * picked).sum() / per_pixel.sum().clamp_min(1e-12)


def overlap_loss(p: Tensor, targets: Tensor, *, kind: Literal["dice", "iou"]) -> Tensor:
    """1 - soft Dice or 1 - soft IoU, averaged over the classes that occur in the targets.

    The sums run over all pixels of the batch, so a class that is rare in one image is not judged by that
    image alone. Dice: Milletari et al., V-Net, 2016; IoU: Rahman and Wang, 2016.

    Args:
        p: Probabilities [N, K, ...].
        targets: int64 [N, ...] with IGNORE.
        kind: Which ratio.
    """
    counted = targets != IGNORE
    safe = targets.masked_fill(~counted, 0)
    of_truth = p.gather(1, safe[:, None])[:, 0] * counted
    zeros = torch.zeros(p.shape[1], dtype=p.dtype, device=p.device)
    intersection = zeros.index_add(0, safe.reshape(-1), of_truth.reshape(-1))
    truth = zeros.index_add(0, safe.reshape(-1), counted.reshape(-1).to(p.dtype))
    others = [axis for axis in range(p.ndim) if axis != 1]
    return _overlap(intersection, (p * counted[:, None]).sum(others), truth, kind=kind)


def _overlap(hits: Tensor, predicted: Tensor, truth: Tensor, *, kind: Literal["dice", "iou"]) -> Tensor:
    """The overlap loss from sums per class: probabilities of true pixels, of all, and true pixels."""
    total = predicted + truth
    if kind == "dice":
        ratio = 2 * hits / total.clamp_min(1e-12)
    else:
        ratio = hits / (total - hits).clamp_min(1e-12)
    present = (truth > 0).to(hits.dtype)
    return (present * (1 - ratio)).sum() / present.sum().clamp_min(1)
