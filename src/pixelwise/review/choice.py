"""Which images to label next: those that the model is unsure of, and not twice the same.

How unsure a model is of an image is the mean over blocks of the median entropy in each block. The model is unsure
along every boundary; a median takes no notice of a line, so images with many boundaries are not preferred to images
with something unknown in them. Among the most uncertain images one after the other is taken, each time that with the
largest product of uncertainty and distance to the nearest one taken before. The distance is between the means of
the encoder's deepest features. (Greedy cover: Sener, Savarese: Active Learning for Convolutional Neural Networks: A
Core-Set Approach, 2018, https://arxiv.org/abs/1708.00489; departure: weighted by uncertainty, and within a pool.)
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.data.read import read_image
from pixelwise.errors import DataError, OptionError
from pixelwise.infer.ahead import ahead
from pixelwise.infer.jobs import Job
from pixelwise.infer.predictor import as_array, computed
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.labels import probabilities
from pixelwise.types import Image

BLOCK = 16
"""Edge in pixels of the blocks whose median counts."""

POOL = 10
"""So many times the images asked for are kept to choose from: the most uncertain ones."""


@dataclass(frozen=True)
class Choice:
    """One image to label.

    Attributes:
        image: Its file.
        name: What tables call it.
        uncertainty: 0..1; 1 where every class is equally probable everywhere.
        distance: To the nearest image chosen before, 0..2; 2 for the first one.
    """

    image: Path
    name: str
    uncertainty: float
    distance: float


@dataclass(frozen=True)
class Chosen:
    """The images to label, the first one first, of how many, and their mean uncertainty."""

    choices: tuple[Choice, ...]
    images: int
    mean_uncertainty: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        choices = [
            {"image": str(one.image), "uncertainty": one.uncertainty, "distance": one.distance}
            for one in self.choices
        ]
        return {"images": self.images, "mean_uncertainty": self.mean_uncertainty, "choices": choices}


def choose(
    model: Segmenter,
    jobs: Sequence[Job],
    count: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Chosen:
    """Choose `count` of the images to label next; memory holds numbers of ten times as many, whatever the images.

    Raises:
        OptionError: `count` is not positive.
        DataError: an image cannot be read or does not suit the model; the file is named.
    """
    if count < 1:
        raise OptionError(f"--count {count}", remedy="give 1 or more")
    pool: list[tuple[float, int, NDArray[np.float32]]] = []  # the least uncertain first
    total = 0.0
    for number, (job, image) in enumerate(ahead(lambda job: read_image(job.image), jobs)):
        try:
            uncertainty, features = look(model, image())
        except DataError as error:
            error.file = error.file or job.image
            raise
        total += uncertainty
        entry = (uncertainty, -number, features)  # of equal ones the first image stays
        if len(pool) < POOL * count:
            heapq.heappush(pool, entry)
        else:
            heapq.heappushpop(pool, entry)
        if progress is not None:
            progress(number + 1, len(jobs))
    pool.sort(key=lambda entry: entry[:2], reverse=True)
    order = spread(
        np.array([entry[0] for entry in pool]), np.stack([entry[2] for entry in pool]), min(count, len(pool))
    )
    choices = []
    for place, distance in order:
        job = jobs[-pool[place][1]]
        choices.append(Choice(job.image, job.label, round(pool[place][0], 6), round(distance, 6)))
    return Chosen(tuple(choices), len(jobs), total / len(jobs))


def look(model: Segmenter, image: Image) -> tuple[float, NDArray[np.float32]]:
    """How unsure the model is of an image, in 0..1, and the mean of its deepest features [C]."""
    with computed(model, [image], None, lambda pixels: _seen(model, pixels)) as (logits, features):
        return uncertainty_of(entropy(probabilities(logits)[0])), as_array(features)


def entropy_of(model: Segmenter, image: Image) -> NDArray[np.float32]:
    """The entropy of each pixel [H, W] of an image, in 0..1."""
    with computed(model, [image], None, lambda pixels: model(model.prepare(pixels))) as logits:
        return as_array(entropy(probabilities(logits)[0]))


def _seen(model: Segmenter, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and the mean of the encoder's last map, from one pass; a slid network's encoder runs several times."""
    means: list[Tensor] = []
    hook = model.encoder.register_forward_hook(
        lambda _module, _given, maps: means.append(maps[-1].float().mean(dim=(0, 2, 3)))
    )
    try:
        logits = model(model.prepare(pixels))
    finally:
        hook.remove()
    return logits, torch.stack(means).mean(dim=0)


def entropy(shares: Tensor) -> Tensor:
    """Entropy of probabilities [K, H, W], divided by log K: [H, W] in 0..1; 1 where all are equal."""
    return -(shares * shares.clamp_min(1e-12).log()).sum(dim=0) / math.log(len(shares))


def uncertainty_of(entropies: Tensor, block: int = BLOCK) -> float:
    """Mean over blocks of the median of [H, W] in each.

    What is left at the bottom and right edges beyond whole blocks does not count, unless it is all there is.

    >>> lines = torch.zeros(32, 32)
    >>> lines[5] = 1.0
    >>> uncertainty_of(lines)
    0.0
    """
    height, width = entropies.shape
    rows, columns = min(block, height), min(block, width)
    whole = entropies[: height // rows * rows, : width // columns * columns]
    parts = whole.unfold(0, rows, rows).unfold(1, columns, columns).flatten(2)
    return min(1.0, max(0.0, float(parts.median(dim=2).values.mean())))


def spread(
    uncertainty: NDArray[np.floating], features: NDArray[np.float32], count: int
) -> list[tuple[int, float]]:
    """Positions of `count` images in the order of their choice, each with its distance to those before it.

    Args:
        uncertainty: [N], not negative.
        features: [N, C]; they are standardised over the N images and brought to length 1.
        count: At most N.
    """
    centred = features - features.mean(axis=0)
    centred = centred / np.maximum(features.std(axis=0), 1e-6)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    nearest = np.full(len(unit), 2.0)
    # where the model is sure of everything, distance decides
    worth = np.asarray(uncertainty, np.float64) + 1e-9
    chosen: list[tuple[int, float]] = []
    for _ in range(count):
        taken = np.isin(np.arange(len(unit)), [k for k, _ in chosen])
        best = int(np.argmax(np.where(taken, -1, worth * nearest)))
        chosen.append((best, float(nearest[best])))
        nearest = np.minimum(nearest, np.linalg.norm(unit - unit[best], axis=1))
    return chosen
