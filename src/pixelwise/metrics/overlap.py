"""Scores from a confusion matrix; `mean_iou` is the value over all pixels of a dataset.

One matrix is counted over all pixels that are not ignored. With the pixels of a class that are found (`tp`),
missed (`fn`) and claimed wrongly (`fp`): IoU = tp / (tp + fp + fn), Dice = 2 tp / (2 tp + fp + fn),
precision = tp / (tp + fp), recall = tp / (tp + fn). A class in neither truth nor prediction has no IoU: it is
NaN here, null in JSON, listed as undefined and left out of the means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.metrics.named import named
from pixelwise.ops.confusion import confusion
from pixelwise.ops.rates import mean_defined, or_none, ratio
from pixelwise.types import IGNORE, Confusion, Labels

ImageCounts = NDArray[np.int64]  # [images, K, 3]: pixels found, in the truth, in the prediction
Floats = NDArray[np.float64]


def counts_of(matrix: Confusion) -> NDArray[np.int64]:
    """What the scores of classes need of confusion matrices [..., K, K], rows truth: int64 [..., K, 3].

    The three are the pixels of a class that were mapped right, those of the truth, those of the prediction.

    >>> counts_of(np.array([[3, 1], [0, 4]])).tolist()
    [[3, 4, 3], [4, 4, 5]]
    """
    matrix = np.asarray(matrix, np.int64)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return np.stack((hits, matrix.sum(axis=-1), matrix.sum(axis=-2)), axis=-1)


def iou(counts: NDArray[Any]) -> Floats:
    """IoU [..., K] of counts [..., K, 3] as in `counts_of`, or of their sums over images; NaN where undefined."""
    return ratio(counts[..., 0], counts[..., 1] + counts[..., 2] - counts[..., 0])


def dice(counts: NDArray[Any]) -> Floats:
    """Dice, like `iou`."""
    return ratio(2 * counts[..., 0], counts[..., 1] + counts[..., 2])


def precision(counts: NDArray[Any]) -> Floats:
    """Precision, like `iou`."""
    return ratio(counts[..., 0], counts[..., 2])


def recall(counts: NDArray[Any]) -> Floats:
    """Recall, like `iou`."""
    return ratio(counts[..., 0], counts[..., 1])


def pixel_accuracy(counts: NDArray[Any]) -> Floats:
    """The share of all pixels that were mapped right [...]; NaN without pixels."""
    return ratio(counts[..., 0].sum(-1), counts[..., 1].sum(-1))


def frequency_weighted_iou(counts: NDArray[Any]) -> Floats:
    """IoU weighted by the pixels of each class in the truth [...]; NaN without pixels."""
    return ratio(np.nansum(iou(counts) * counts[..., 1], axis=-1), counts[..., 1].sum(-1))


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class, each in 0..1 or NaN where undefined; `pixels` are those of the truth."""

    name: str
    iou: float
    dice: float
    precision: float
    recall: float
    pixels: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, an undefined score as None."""
        return {
            "name": self.name,
            "iou": or_none(self.iou),
            "dice": or_none(self.dice),
            "precision": or_none(self.precision),
            "recall": or_none(self.recall),
            "pixels": self.pixels,
        }


@dataclass(frozen=True, eq=False)
class Scores:
    """How well a prediction fits the truth, over all images together; scores in 0..1 or NaN.

    `confusion` is int64 [K, K], rows truth; `pixels` counts what was compared and `ignored` the rest;
    `image_mean_iou` has one value per image, in the order they were added, if they were added one by one; so has
    `image_counts`, int64 [images, K, 3]: the pixels of each class found, in the truth and in the prediction. These
    take 24 bytes per image and class (62 kB for 233 images of 11 classes), a confusion matrix per image K times a
    third of that.
    """

    mean_iou: float
    pixel_accuracy: float
    mean_dice: float
    frequency_weighted_iou: float
    classes: tuple[ClassScore, ...]
    confusion: Confusion
    images: int
    pixels: int
    ignored: int = 0
    image_mean_iou: tuple[float, ...] = ()
    image_counts: ImageCounts | None = None

    @property
    def headline(self) -> tuple[str, float]:
        """The score that training maximises."""
        return "mean_iou", self.mean_iou

    @property
    def undefined(self) -> tuple[str, ...]:
        """Names of the classes in neither truth nor prediction; the means leave them out."""
        return tuple(score.name for score in self.classes if math.isnan(score.iou))

    def by_name(self, name: str) -> ClassScore:
        """The scores of the class called `name`.

        Raises:
            OptionError: there is no such class.
        """
        return named(self.classes, name)

    def as_dict(self) -> dict[str, Any]:
        """The content of `scores.json`: plain values, an undefined score as None."""
        return {
            "mean_iou": or_none(self.mean_iou),
            "pixel_accuracy": or_none(self.pixel_accuracy),
            "mean_dice": or_none(self.mean_dice),
            "frequency_weighted_iou": or_none(self.frequency_weighted_iou),
            "images": self.images,
            "pixels": self.pixels,
            "classes": [score.as_dict() for score in self.classes],
            "confusion": self.confusion.tolist(),
        }


def scores_from_confusion(
    matrix: Confusion,
    names: Sequence[str],
    *,
    images: int = 0,
    ignored: int = 0,
    image_mean_iou: Sequence[float] = (),
    image_counts: ImageCounts | None = None,
) -> Scores:
    """All scores of a confusion matrix, int64 [K, K] with rows truth, for classes called `names`.

    Raises:
        DataError: the matrix is not K x K for the K names, or holds a negative count.

    >>> scores = scores_from_confusion(np.array([[3, 1], [0, 4]]), ["road", "house"])
    >>> scores.mean_iou, scores.by_name("road").recall
    (0.775, 0.75)
    """
    matrix = np.asarray(matrix, np.int64)
    if matrix.shape != (len(names), len(names)) or (matrix < 0).any():
        raise DataError(
            f"a confusion matrix of shape {matrix.shape} for {len(names)} classes",
            remedy="pass counts of at least 0, one row and one column per class",
        )
    counts = counts_of(matrix)
    measures = [measure(counts).tolist() for measure in (iou, dice, precision, recall)]
    rows = zip(names, *measures, counts[:, 1].tolist(), strict=True)
    return Scores(
        mean_iou=mean_defined(iou(counts)),
        pixel_accuracy=float(pixel_accuracy(counts)),
        mean_dice=mean_defined(dice(counts)),
        frequency_weighted_iou=float(frequency_weighted_iou(counts)),
        classes=tuple(ClassScore(*row) for row in rows),
        confusion=matrix,
        images=images,
        pixels=int(matrix.sum()),
        ignored=ignored,
        image_mean_iou=tuple(image_mean_iou),
        image_counts=image_counts,
    )


class ScoreCounter:
    """Adds up images one by one; memory grows by 24 bytes per image and class, not with the pixels.

    >>> counter = ScoreCounter(["road", "house"])
    >>> counter.add(np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8))
    0.25
    >>> counter.scores().pixels
    2
    """

    def __init__(self, names: Sequence[str], *, ignore: int = IGNORE) -> None:
        self.names = tuple(names)
        self.ignore = ignore
        self.confusion: Confusion = np.zeros((len(self.names), len(self.names)), np.int64)
        self.ignored = 0
        self.image_mean_iou: list[float] = []
        self.image_counts: list[ImageCounts] = []

    def add(self, truth: Labels, prediction: Labels) -> float:
        """Count one image, both uint8 of one shape, and return its own mean IoU (NaN if all is ignored).

        Raises:
            MaskError: `truth` holds a value that is neither a class nor ignore.
            DataError: another dtype, two shapes, or a prediction that is no class.
        """
        matrix = confusion(truth, prediction, len(self.names), self.ignore)
        counts = counts_of(matrix)
        mean_iou = mean_defined(iou(counts))
        self.confusion += matrix
        self.ignored += truth.size - int(matrix.sum())
        self.image_mean_iou.append(mean_iou)
        self.image_counts.append(counts)
        return mean_iou

    def scores(self) -> Scores:
        """The scores of all that was added so far."""
        return scores_from_confusion(
            self.confusion.copy(),
            self.names,
            images=len(self.image_mean_iou),
            ignored=self.ignored,
            image_mean_iou=self.image_mean_iou,
            image_counts=np.array(self.image_counts, np.int64).reshape(-1, len(self.names), 3),
        )
