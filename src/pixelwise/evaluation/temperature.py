"""Temperatures fitted on images that a network did not learn from.

Guo et al.: On Calibration of Modern Neural Networks, 2017. A seeded sample of pixels, the same number from every
image, and the temperature with the smallest cross-entropy on them: for all pixels together, and for the pixels of
each predicted class. A temperature of one predicted class enters no pixel of another, so each is a problem of one
variable, convex in 1 / T. Those per class are taken only where they have the smaller cross-entropy on both halves of
the images when fitted on the other half, and any only where the calibration error of held-out images falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from pixelwise.data.dataset import Split
from pixelwise.errors import DataError
from pixelwise.evaluation.answers import Progress
from pixelwise.evaluation.calibration import expected_error
from pixelwise.evaluation.checks import check_split
from pixelwise.evaluation.conformal import SHARE, set_threshold
from pixelwise.evaluation.perturbation import WAYS, perturbed
from pixelwise.infer.ahead import ahead
from pixelwise.infer.predictor import Running
from pixelwise.models.calibration import Calibration
from pixelwise.models.segmenter import Segmenter
from pixelwise.types import IGNORE, Image, Labels

PIXELS = 200_000  # of a sample
LEAST_PIXELS = 1000  # for any temperature
LEAST_WRONG = 50  # of them wrongly labelled: without errors there is nothing to fit
LEAST_IMAGES = 2
LIMITS = (0.2, 10.0)
MARGIN = 0.995  # times the cross-entropy of one temperature, which those per class must stay below

Logits = NDArray[np.float32]  # [n, K]
Truth = NDArray[np.int64]  # [n]


@dataclass(frozen=True, eq=False)
class PixelSample:
    """Pixels of many images: logits [n, K], true classes [n], and the number of the image each is from [n]."""

    logits: Logits
    truth: Truth
    image: Truth

    @property
    def images(self) -> int:
        """How many images have pixels in it."""
        return len(np.unique(self.image))

    def of(self, chosen: NDArray[np.bool_]) -> PixelSample:
        """A part of it."""
        return PixelSample(self.logits[chosen], self.truth[chosen], self.image[chosen])


def calibrated(
    model: Segmenter,
    split: Split,
    *,
    perturb: bool = False,
    share: float | None = SHARE,
    pixels: int = PIXELS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Calibration:
    """The temperatures of a model, and the threshold of its label sets where there are images enough.

    Args:
        model: As for `sample_pixels`.
        split: Images that the model did not learn from.
        perturb: Fit on images changed by `perturbation`: for images to come that are less alike.
        share: Of pixels whose true class the label sets are to hold; None for no threshold.
        pixels: About how many to fit on.
        seed: Of what is left to chance.
        progress: Called with the images done and their number.

    Raises:
        LayoutError, ClassesError, DataError: the split does not suit the model, or is too small.
        OptionError: a share that is not between 0 and 1.
    """
    sample = sample_pixels(model, split, pixels=pixels, seed=seed, perturb=perturb, progress=progress)
    # What is new elsewhere differs from class to class in ways that no perturbation shows: one for all then.
    name = f"{split.name}, perturbed" if perturb else split.name
    found = fit_calibration(sample, name, per_class=not perturb)
    if share is None:
        return found
    shares = true_probabilities(sample, found)
    try:
        threshold = set_threshold([shares[sample.image == index] for index in np.unique(sample.image)], share)
    except DataError:  # too few images for a promise
        return found
    return found.model_copy(update={"set_share": share, "set_threshold": threshold})


def true_probabilities(sample: PixelSample, calibration: Calibration) -> NDArray[np.float64]:
    """The probability of the true class of every pixel [n]."""
    each = np.array(calibration.each(sample.logits.shape[1]))[sample.logits.argmax(axis=1)]
    scaled = np.exp(_shifted(sample.logits) / each[:, None])
    shares: NDArray[np.float64] = scaled[np.arange(len(scaled)), sample.truth] / scaled.sum(axis=1)
    return shares


def sample_pixels(
    model: Segmenter,
    split: Split,
    *,
    pixels: int = PIXELS,
    seed: int = 0,
    perturb: bool = False,
    progress: Progress | None = None,
) -> PixelSample:
    """Logits and truth of pixels that are not ignored, spread evenly over the images of a split.

    Args:
        model: Runs on the device it is on, in the precision of its bundle.
        split: Images with labels.
        pixels: About how many in all.
        seed: Of what is left to chance.
        perturb: Take every image in one way of `perturbation`, in turn.
        progress: Called with the images done and their number.

    Raises:
        LayoutError, ClassesError, DataError: the split does not suit the model.
    """
    check_split(model, split)
    running = Running(model)
    share = -(-pixels // len(split))
    parts: list[PixelSample] = []
    for index, sample in ahead(split.__getitem__, range(len(split))):
        rng = np.random.default_rng([seed, index])
        one = sample()
        image, labels = (
            perturbed(one.image, one.labels, index % WAYS, rng) if perturb else (one.image, one.labels)
        )
        try:
            parts.append(_picked(running, image, labels, share, rng, index))
        except DataError as error:
            error.file = error.file or split.items[index].image
            raise
        if progress is not None:
            progress(index + 1, len(split))
    return PixelSample(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.image for part in parts]),
    )


def fit_calibration(sample: PixelSample, split: str, *, per_class: bool = True) -> Calibration:
    """The temperatures of a sample, and what they do to the calibration error.

    Args:
        sample: From `sample_pixels`.
        split: What the sample was taken from, to be told with the result.
        per_class: Whether there may be one for every class.

    Raises:
        DataError: too few pixels, images or errors to fit anything.
    """
    _check(sample)
    halves = _halves(sample)
    crossed = {True: np.ones(len(sample.truth)), False: np.ones(len(sample.truth))}
    better = per_class
    for fitted, judged in (halves, halves[::-1]):
        shared = temperature(sample.of(fitted))
        each = temperatures_by_class(sample.of(fitted), shared)
        part = sample.of(judged)
        crossed[False][judged] = shared
        crossed[True][judged] = each[part.logits.argmax(axis=1)]
        losses = [cross_entropy(part, crossed[kind][judged]) for kind in (True, False)]
        better = better and losses[0] < MARGIN * losses[1]
    right = sample.logits.argmax(axis=1) == sample.truth
    before = expected_error(confidence(sample.logits, 1.0), right)
    after = expected_error(confidence(sample.logits, crossed[better]), right)
    found = np.array([temperature(sample)])
    if better:
        found = temperatures_by_class(sample, float(found[0]))
    if after >= before:  # what does not help on held-out images is not done
        found, after = np.ones(1), before
    return Calibration(
        kind="one" if len(found) == 1 else "per_class",
        temperatures=tuple(round(float(value), 6) for value in found),
        split=split,
        images=sample.images,
        pixels=len(sample.truth),
        ece_before=before,
        ece_after=after,
    )


def temperature(sample: PixelSample) -> float:
    """The temperature with the smallest cross-entropy, within `LIMITS`."""
    low, high = np.log(LIMITS)
    shifted = _shifted(sample.logits)
    true = shifted[np.arange(len(shifted)), sample.truth]

    def loss(log_temperature: float) -> float:
        scaled = shifted * np.float32(np.exp(-log_temperature))
        return float(np.log(np.exp(scaled).sum(axis=1)).mean() - true.mean() * np.exp(-log_temperature))

    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def temperatures_by_class(sample: PixelSample, shared: float) -> NDArray[np.float64]:
    """One for every predicted class [K]; `shared` where too few pixels or errors speak for another."""
    found = np.full(sample.logits.shape[1], shared)
    predicted = sample.logits.argmax(axis=1)
    for k in range(len(found)):
        part = sample.of(predicted == k)
        if _lacking(part) is None and (part.truth == k).any():
            found[k] = temperature(part)
    return found


def cross_entropy(sample: PixelSample, temperatures: float | NDArray[np.float64]) -> float:
    """Mean of -log p of the true class, with one temperature or one for every pixel [n]."""
    scaled = _shifted(sample.logits) / np.reshape(temperatures, (-1, 1))
    true = scaled[np.arange(len(scaled)), sample.truth]
    return float((np.log(np.exp(scaled).sum(axis=1)) - true).mean())


def confidence(logits: Logits, temperatures: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest probability of logits [n, K] with one temperature or one for every pixel [n]."""
    shares: NDArray[np.float64] = 1 / np.exp(_shifted(logits) / np.reshape(temperatures, (-1, 1))).sum(axis=1)
    return shares


def _shifted(logits: Logits) -> Logits:
    shifted: Logits = logits - logits.max(axis=1, keepdims=True)
    return shifted


def _picked(
    running: Running, image: Image, labels: Labels, share: int, rng: np.random.Generator, index: int
) -> PixelSample:
    """Pixels of one image; fewer than `share` where it has not as many that count."""
    places = np.flatnonzero(labels.ravel() != IGNORE)
    places = rng.choice(places, min(share, len(places)), replace=False)
    rows, columns = np.divmod(places, labels.shape[1])
    logits = running.logits_at(image, rows, columns)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    return PixelSample(logits, labels[rows, columns].astype(np.int64), np.full(len(places), index))


def _halves(sample: PixelSample) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The first images and the last ones: neighbours in a list are often alike."""
    numbers: Sequence[int] = np.unique(sample.image).tolist()
    first = np.isin(sample.image, numbers[: len(numbers) // 2])
    return first, ~first


def _lacking(sample: PixelSample, images: int = LEAST_IMAGES) -> str | None:
    wrong = int((sample.logits.argmax(axis=1) != sample.truth).sum())
    if sample.images < images:
        return f"{sample.images} images"
    if len(sample.truth) < LEAST_PIXELS:
        return f"{len(sample.truth)} pixels"
    return f"{wrong} wrong pixels" if wrong < LEAST_WRONG else None


def _check(sample: PixelSample) -> None:
    lacking = _lacking(sample)
    for half in _halves(sample):
        lacking = lacking or _lacking(sample.of(half), images=1)
    if lacking is not None:
        raise DataError(
            f"too little to calibrate on: {lacking}",
            remedy=f"give at least {LEAST_IMAGES} images; each half of them needs {LEAST_PIXELS} pixels that count, "
            f"{LEAST_WRONG} of them wrongly labelled",
        )
