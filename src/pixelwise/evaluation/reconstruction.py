"""An autoencoder on any split: how far what it gives back is from the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import Split
from pixelwise.evaluation.answers import Progress, answers
from pixelwise.evaluation.checks import check_split
from pixelwise.evaluation.report import split_facts, write_report
from pixelwise.evaluation.scores import extremes
from pixelwise.files import locked
from pixelwise.infer.images import as_image, restore_all
from pixelwise.infer.predictor import check_image
from pixelwise.models.autoencoder import Autoencoder
from pixelwise.ops.rates import or_none
from pixelwise.report.pictures import display_rgb, heat
from pixelwise.report.tables import csv_text
from pixelwise.report.tasks import Copy, reconstruction_page
from pixelwise.types import Image

SHOWN = 4
"""Worst and best images in the report, of each."""


@dataclass(frozen=True, eq=False)
class ReconstructionScores:
    """How close reconstructions come to their images.

    Errors are over all values of all images together, in standard deviations of the data that the network was trained
    on; `image_errors` holds the mean squared error of each image. `explained_variance` is 1 - mean squared error /
    variance, the variance taken around the mean of each band over the evaluated images; NaN if that is 0. `psnr` is
    in decibels, of the rounded images in the units of their files against the largest value that their type can hold;
    NaN for float images, which have none, and infinite for a perfect copy.
    """

    explained_variance: float
    mean_squared_error: float
    mean_absolute_error: float
    variance: float
    psnr: float
    images: int
    image_errors: tuple[float, ...]

    @property
    def headline(self) -> tuple[str, float]:
        """The score that training maximises."""
        return "explained_variance", self.explained_variance

    def as_dict(self) -> dict[str, Any]:
        """The content of `scores.json`: plain values, an undefined or infinite one as None."""
        return {
            "explained_variance": or_none(self.explained_variance),
            "mean_squared_error": self.mean_squared_error,
            "mean_absolute_error": self.mean_absolute_error,
            "variance": self.variance,
            "psnr": or_none(self.psnr),
            "images": self.images,
        }


class ReconstructionCounter:
    """Adds up images one by one; memory does not grow with the pixels."""

    def __init__(self, std: Sequence[float]) -> None:
        self.std = np.array(std, np.float64)
        self.values = 0
        self.squared = self.absolute = self.squared_steps = 0.0
        self.first: NDArray[np.float64] | None = None
        self.sums = np.zeros(len(self.std))
        self.squares = np.zeros(len(self.std))
        self.image_errors: list[float] = []
        self.peak = 0

    def add(self, image: Image, restored: NDArray[np.float32]) -> float:
        """Count an image [H, W, C] and what came back of it, not rounded; return its mean squared error."""
        errors = (restored.astype(np.float64) - image) / self.std
        squared = float(np.square(errors).sum())
        self.squared += squared
        self.absolute += float(np.abs(errors).sum())
        if image.dtype.kind == "u":
            self.peak = np.iinfo(image.dtype).max
            steps = as_image(restored, image.dtype).astype(np.float64) - image
            self.squared_steps += float(np.square(steps).sum())
        # Sums of the distances to some value near the mean lose no digits where the mean is large.
        if self.first is None:
            self.first = image.mean(axis=(0, 1), dtype=np.float64)
        distances = (image - self.first) / self.std
        self.sums += distances.sum(axis=(0, 1))
        self.squares += np.square(distances).sum(axis=(0, 1))
        self.values += image.size
        self.image_errors.append(squared / image.size)
        return self.image_errors[-1]

    def scores(self) -> ReconstructionScores:
        """The scores of all that was added; at least one image."""
        error = self.squared / self.values
        pixels = self.values / len(self.std)
        variance = float(np.mean(self.squares / pixels - np.square(self.sums / pixels)))
        return ReconstructionScores(
            explained_variance=1 - error / variance if variance > 1e-12 else math.nan,
            mean_squared_error=error,
            mean_absolute_error=self.absolute / self.values,
            variance=variance,
            psnr=_psnr(self.squared_steps / self.values, self.peak),
            images=len(self.image_errors),
            image_errors=tuple(self.image_errors),
        )


def evaluate_autoencoder(
    network: Autoencoder,
    split: Split,
    *,
    out: str | Path | None = None,
    title: str = "",
    progress: Progress | None = None,
) -> ReconstructionScores:
    """Reconstruct every image of `split` and compare it with itself; labels are not read.

    Args:
        network: Runs on the device it is on, in the precision of its bundle.
        split: Any images.
        out: Folder for `scores.json`, `images.csv` and `report.html`; without it nothing is written.
        title: Heading of the report.
        progress: Called with the images done and their number.

    Raises:
        DataError: the split is empty, or an image does not suit the network; the file is named.
        OutputError: `out` is in use, full or read-only.
    """
    check_split(network, split)
    if out is None:
        return _score(network, split, progress)
    with locked(out) as folder:  # before the work: a folder that is in use should not cost an hour
        scores = _score(network, split, progress)
        best, worst = extremes(scores.image_errors, SHOWN)
        page = reconstruction_page(
            scores.as_dict(),
            title=title or f"{network.name} on {split.name}",
            facts=split_facts(network, split, _facts(network, scores)),
            worst=[_copy(network, split, index, scores) for index in worst],
            best=[_copy(network, split, index, scores) for index in best],
        )
        rows = zip(split.names, scores.image_errors, strict=True)
        write_report(
            folder, scores.as_dict(), page, {"images.csv": csv_text(["image", "mean_squared_error"], rows)}
        )
    return scores


def _score(network: Autoencoder, split: Split, progress: Progress | None) -> ReconstructionScores:
    counter = ReconstructionCounter(network.normalization.std)

    def read(index: int) -> tuple[Image, None]:
        return split.image(index), None

    def ask(images: Sequence[Image]) -> Sequence[NDArray[np.float32]]:
        return list(restore_all(network, images))

    for one in answers(network, split, read, ask, progress):
        counter.add(one.image, one.said)
    return counter.scores()


def _facts(network: Autoencoder, scores: ReconstructionScores) -> dict[str, object]:
    share = network.code_share
    size = f"{network.options.code} channels at stride {network.stride}"
    return {"code": f"{size}, {float(share):.3g} values per value", "images": f"{scores.images:,}"}


def _copy(network: Autoencoder, split: Split, index: int, scores: ReconstructionScores) -> Copy:
    image = check_image(network, split.image(index))
    restored = restore_all(network, [image])[0]
    errors = np.abs((restored - image) / np.array(network.normalization.std)).mean(axis=2)
    # Stretched together, so that equal values look equal.
    both = display_rgb(np.concatenate([image, as_image(restored, image.dtype)], axis=1))
    width = image.shape[1]
    return Copy(
        split.names[index], both[:, :width], both[:, width:], heat(errors), scores.image_errors[index]
    )


def _psnr(squared: float, peak: int) -> float:
    if peak == 0:
        return math.nan
    return 10 * math.log10(peak**2 / squared) if squared > 0 else math.inf
