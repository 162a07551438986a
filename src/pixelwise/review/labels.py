"""Probable label errors: regions whose labels a network that has not seen them contradicts with confidence.

Confident learning (Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70,
2021, https://arxiv.org/abs/1911.00068) calls an example wrongly labelled if the network gives another class a
probability above that class's threshold: the mean probability of the class over the examples labelled so. Of a class
that the network is hardly ever sure of, a low probability is enough; which class is furthest above its threshold is
judged by the quotient.

Departures, because examples are pixels here. Neighbouring pixels are judged together, as regions. Pixels within a few
steps of labels of the suggested class are left out: there the two disagree about where a boundary runs. An image
counts by the square root of its pixels of a class, so that one large wrong region does not set a threshold. And what
ranks a region is not how sure the network is, but how much better its answer fits labels of the suggested class than
labels of the given one: a network that always takes one class for another says nothing by doing so again. Nor does one
that contradicts the images before and after in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelwise.errors import OptionError, UnreadableError
from pixelwise.files import replacing
from pixelwise.review.patch import from_runs, to_runs
from pixelwise.types import IGNORE, Labels

Shares = NDArray[np.float32]  # [K, H, W], probabilities

FLOOR = 1e-2
"""Added to expected answers before their logarithm: a class that never is the answer may be one some day."""

GROWTH = 0.4
"""Scores grow with this power of the pixels: pixels of a region err together, so far less than their number."""

REACH = 3
"""Images to both sides, in order of their names, that tell whether a network is confused itself."""


@dataclass(frozen=True)
class SuspectOptions:
    """What counts as a region.

    Attributes:
        band: Pixels as close as this to labels of the suggested class are taken for a shifted boundary.
        min_area: Smaller regions are left out, in pixels.
    """

    band: int = 3
    min_area: int = 60

    def __post_init__(self) -> None:
        if not 0 <= self.band <= 64:
            raise OptionError(f"--band {self.band}", remedy="give 0 to 64 pixels")
        if self.min_area < 1:
            raise OptionError(f"--min-area {self.min_area}", remedy="give 1 pixel or more")


@dataclass(frozen=True)
class Region:
    """A region whose labels are probably wrong.

    Attributes:
        image: Name of the image.
        box: top, left, bottom, right; half-open.
        runs: Its pixels within the box, see `review.patch`.
        given: The class it is labelled as.
        suggested: The class whose labels fit the network's answer best.
        score: How much better, times a power of its pixels; see `ranked`.
    """

    image: str
    box: tuple[int, int, int, int]
    runs: tuple[int, ...]
    given: int
    suggested: int
    score: float

    @property
    def shape(self) -> NDArray[np.bool_]:
        """Its pixels within the box [h, w]."""
        return from_runs(self.runs, (self.box[2] - self.box[0], self.box[3] - self.box[1]))

    @property
    def area(self) -> int:
        """The number of its pixels."""
        return sum(self.runs[1::2])


@dataclass(frozen=True, eq=False)
class Evidence:
    """What out-of-fold networks answer where the labels say this or that; adds up over images and folds.

    Attributes:
        weights: [K] weights of the images by given class.
        answers: [K, K] weighted sums over images of the mean probabilities over the pixels of a given class.
    """

    weights: NDArray[np.float64]
    answers: NDArray[np.float64]

    @staticmethod
    def none(classes: int) -> Evidence:
        """Of no image."""
        return Evidence(np.zeros(classes), np.zeros((classes, classes)))

    @staticmethod
    def of(labels: Labels, shares: Shares) -> Evidence:
        """Of one image: labels [H, W], probabilities [K, H, W]."""
        classes = len(shares)
        counts = np.bincount(labels.reshape(-1), minlength=256)[:classes].astype(np.float64)
        sums = np.stack(
            [np.bincount(labels.reshape(-1), plane.reshape(-1), 256)[:classes] for plane in shares], axis=1
        )
        weights = np.sqrt(counts)
        return Evidence(weights, sums / np.maximum(weights, 1)[:, None])

    def plus(self, other: Evidence) -> Evidence:
        """Of both."""
        return Evidence(self.weights + other.weights, self.answers + other.answers)

    @property
    def expected(self) -> NDArray[np.float64]:
        """[K, K]: what the networks answer on average where labels have class k; 0 in rows without labels."""
        return self.answers / np.maximum(self.weights, 1e-12)[:, None]

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """[K]: the mean probability of a class where labels have it; infinite for a class that has no labels."""
        return np.where(self.weights > 0, np.diag(self.expected), np.inf)

    def write(self, path: Path) -> None:
        """Store it."""
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, weights=self.weights, answers=self.answers)

    @staticmethod
    def read(path: Path) -> Evidence:
        """What `write` has stored."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return Evidence(stored["weights"], stored["answers"])
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise UnreadableError(f"cannot be read: {error}", file=path, remedy="remove it") from error


def suspects_in(
    image: str, labels: Labels, shares: Shares, evidence: Evidence, options: SuspectOptions
) -> Iterator[Region]:
    """The regions of one image that the network contradicts with confidence.

    Args:
        image: Its name.
        labels: [H, W], given.
        shares: [K, H, W], the probabilities of a network that has not seen the image.
        evidence: Of the whole dataset.
        options: What counts as a region.
    """
    expected = np.log(evidence.expected + FLOOR)
    doubted, core = _doubted(labels, shares, evidence.thresholds, options.band)
    for given in np.unique(labels[core]).tolist():
        mine = doubted & (labels == given)
        parts, _ = ndimage.label(core & mine, np.ones((3, 3)))
        grown = _grown(parts, mine, options.band)
        for number, place in enumerate(ndimage.find_objects(grown), start=1):
            inner = parts[place] == number
            area = int(inner.sum())
            if area < options.min_area:
                continue
            answer = shares[:, place[0], place[1]][:, inner].mean(axis=1)
            fit = np.where(evidence.weights > 0, expected @ answer, -np.inf)
            own, fit[given] = float(fit[given]), -np.inf
            suggested = int(np.argmax(fit))
            gain = float(fit[suggested]) - own
            if gain > 0:
                box = (place[0].start, place[1].start, place[0].stop, place[1].stop)
                runs = tuple(to_runs(grown[place] == number))
                yield Region(image, box, runs, given, suggested, gain * area**GROWTH)


def ranked(regions: Sequence[Region], names: Sequence[str], reach: int = REACH) -> list[Region]:
    """Regions with the most probable errors first; their scores are what is left of what they had.

    Slips of labelling occur in one image, while a network that does not know an object contradicts all images that
    show it. So a score is divided by one plus twice the mean, over the neighbouring images, of the strongest region
    of the same kind there, in units of that score.

    Args:
        regions: Of `suspects_in`, of all images.
        names: Of all images that were judged, in an order in which neighbours show similar things.
        reach: So many images to both sides are neighbours.
    """
    places = {name: place for place, name in enumerate(names)}
    strongest: dict[tuple[int, int, int], float] = {}
    for region in regions:
        key = (places[region.image], region.given, region.suggested)
        strongest[key] = max(strongest.get(key, 0.0), region.score)
    left = []
    for region in regions:
        place, near = places[region.image], [o for o in range(-reach, reach + 1) if o]
        around = [strongest.get((place + o, region.given, region.suggested), 0.0) for o in near]
        mean = sum(around) / max(1, len(near))
        left.append(replace(region, score=region.score**2 / (region.score + 2 * mean)))
    return sorted(left, key=lambda region: (-region.score, region.image, region.box))


def _doubted(
    labels: Labels, shares: Shares, thresholds: NDArray[np.float64], band: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where another class is above its threshold, and further above it than the given one; and the core of that.

    The core lacks the pixels so close to labels of that class that a shifted boundary explains them.
    """
    counted = labels != IGNORE
    safe = np.where(counted, labels, 0)[None].astype(np.int64)
    above = shares / np.maximum(thresholds, 1e-6).astype(np.float32)[:, None, None]
    own = np.take_along_axis(above, safe, 0)[0]
    np.put_along_axis(above, safe, -1.0, 0)
    best = above.argmax(axis=0)
    most = np.take_along_axis(above, best[None], 0)[0]
    doubted: NDArray[np.bool_] = counted & (most >= 1) & (most > own)
    core = doubted.copy()
    for suggested in np.unique(best[doubted]).tolist():
        near = ndimage.maximum_filter(labels == suggested, size=2 * band + 1)
        core &= ~(near & (best == suggested))
    return doubted, core


def _grown(parts: NDArray[np.int32], mine: NDArray[np.bool_], band: int) -> NDArray[np.int32]:
    """Numbered parts with the doubted pixels around them that were left out along the boundary, each in one part."""
    grown = parts.copy()
    for _ in range(band):
        rim = mine & (grown == 0)
        grown[rim] = ndimage.maximum_filter(grown, 3)[rim]
    return grown
