"""How much a linear classifier can read off features: the quickest judge of an encoder that is not trained further.

Alain, Bengio: Understanding Intermediate Layers Using Linear Classifier Probes, 2016
(https://arxiv.org/abs/1610.01644). Here the classifier is ridge regression on one-hot targets, in closed form, every
class with the same total weight; each image is predicted by a fit that has not seen it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.dataset import Dataset
from pixelwise.errors import DataError
from pixelwise.infer.predictor import evaluating
from pixelwise.models.network import Network
from pixelwise.ops.resize import pad_to_multiple, resize
from pixelwise.types import IGNORE, Image

FOLDS = 5
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # as shares of the mean square of the features
IMAGES = {"segment": 64, "classify": 400}  # looked at, evenly spaced in the training split
PIXELS = 64  # taken from each image where each pixel has a class
GRID = 8  # parts of an image along an axis, whose average colours are what needs no network
WINDOW = 384  # larger images are cut to it, or scaled down to it where the whole image has one class

Features = NDArray[np.float64]  # [n, d]
Whole = NDArray[np.int64]  # [n]
Measure = Callable[[Tensor, Whole], Tensor]


@dataclass(frozen=True)
class Samples:
    """What is classified: pixels or whole images, as many as `classes`.

    Attributes:
        images: float32 [1, C, h, w] each, in the units of their files.
        places: For each image, the positions of its pixels in row order; empty for whole images.
        classes: int64 [n].
        image: int64 [n], which image each comes from.
    """

    images: tuple[Tensor, ...]
    places: tuple[Whole, ...]
    classes: Whole
    image: Whole


@dataclass(frozen=True)
class ProbeScore:
    """Mean recall over classes of predictions out of fold, and its standard error over folds."""

    score: float
    error: float


def draw(data: Dataset, *, seed: int = 0) -> Samples:
    """Pixels, as evenly over the classes of an image as it allows, or whole images, of the training split.

    Raises:
        DataError: fewer than two images or two classes.
    """
    split = data.train.evenly(IMAGES[data.task])
    rng = np.random.default_rng([seed, 7])
    images: list[Tensor] = []
    places, classes, origin = [], [], []
    for index in range(len(split)):
        pixels, image = split.image(index), len(images)
        if data.task == "classify":
            chosen, found = np.zeros(0, np.int64), np.array([split.classified(index).target])
            pixels = _scaled(pixels)
        else:
            pixels, labels = _window(pixels, split.labels(index), rng)
            chosen = _spread(labels.ravel(), rng)
            found = labels.ravel()[chosen].astype(np.int64)
        if len(found):
            images.append(torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None])
            places.append(chosen)
            classes.append(found)
            origin.append(np.full(len(found), image))
    if len(images) < 2 or len(np.unique(np.concatenate(classes))) < 2:
        raise DataError(
            "the training split has fewer than two images or two classes, too few to judge features by",
            file=data.root,
            remedy="label more images",
        )
    return Samples(tuple(images), tuple(places), np.concatenate(classes), np.concatenate(origin))


def encoder_features(network: Network, samples: Samples) -> Features:
    """The maps of all levels at each pixel, or the average of the deepest map over each image."""
    device = next(network.parameters(), network.mean).device

    def one(image: Tensor, places: Whole) -> Tensor:
        prepared = pad_to_multiple(network.prepare(image.to(device)), network.stride)
        maps = network.encoder(prepared)
        if not len(places):
            mean: Tensor = maps[-1].mean((2, 3))
            return mean
        height, width = prepared.shape[-2:]
        rows, columns = (torch.from_numpy(part) for part in np.divmod(places, image.shape[-1]))
        at = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
        grid = at.to(device, torch.float32)[None, None]
        read = [F.grid_sample(m.float(), grid, padding_mode="border", align_corners=False) for m in maps]
        return torch.cat([values[0, :, 0].T for values in read], dim=1)

    with evaluating(network):
        return _stack(samples, one)


def color_features(samples: Samples) -> Features:
    """What takes no network: the values of each pixel, or averages over 8 x 8 parts of each image; and their squares.

    A linear fit alone could not tell a class of middling brightness from a dark and a bright one.
    """

    def one(image: Tensor, places: Whole) -> Tensor:
        if not len(places):
            return F.adaptive_avg_pool2d(image, GRID).flatten(1)
        return image[0].flatten(1)[:, torch.from_numpy(places)].T

    values = _stack(samples, one)
    deviation = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return np.concatenate([values, np.square(values)], axis=1)


def settle_norms(network: Network, samples: Samples) -> None:
    """Give the batch norms of a network with random weights the statistics of some of the images."""
    norms = [part for part in network.encoder.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain averages
    network.train()
    device = next(network.parameters(), network.mean).device
    with torch.no_grad():
        for image in samples.images[:16]:
            network.encoder(pad_to_multiple(network.prepare(image.to(device)), 2 * network.stride))
    network.eval()


def probe(features: Features, samples: Samples, *, seed: int = 0) -> ProbeScore:
    """How well the classes can be read off `features`, cross-validated over images; 1 / classes is chance."""
    folds = _folds(samples, seed)
    deviation = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(deviation > 1e-12, deviation, 1.0)
    table = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
    known, targets = np.unique(samples.classes, return_inverse=True)
    weights = 1 / np.bincount(targets)[targets]
    inside = [folds == fold for fold in np.unique(folds)]
    parts = [_moments(table[own], targets[own], weights[own], len(known)) for own in inside]
    square, product = sum(part[0] for part in parts), sum(part[1] for part in parts)
    best = ProbeScore(0.0, 0.0)
    for penalty in PENALTIES:
        ridge = np.full(table.shape[1], penalty * len(known))  # weights sum to the number of classes
        ridge[-1] = 1e-9  # the constant is free
        said = np.zeros(len(targets), np.int64)
        for own, (own_square, own_product) in zip(inside, parts, strict=True):
            fit = np.linalg.solve(square - own_square + np.diag(ridge), product - own_product)
            said[own] = (table[own] @ fit).argmax(axis=1)
        score = _mean_recall(targets, said)
        if score > best.score:
            each = [_mean_recall(targets[own], said[own]) for own in inside]
            best = ProbeScore(score, float(np.std(each, ddof=1) / np.sqrt(len(each))))
    return best


def _moments(x: Features, targets: Whole, weights: Features, classes: int) -> tuple[Features, Features]:
    weighted = x * weights[:, None]
    return x.T @ weighted, weighted.T @ np.eye(classes)[targets]


def _mean_recall(truth: Whole, said: Whole) -> float:
    return float(np.mean([np.mean(said[truth == known] == known) for known in np.unique(truth)]))


def _folds(samples: Samples, seed: int) -> Whole:
    """A fold for each sample; those of an image stay together, images of a class are spread."""
    count = len(samples.images)
    first = samples.classes[np.searchsorted(samples.image, np.arange(count))]
    order = np.random.default_rng([seed, 8]).permutation(count)
    order = order[np.argsort(first[order], kind="stable")]
    fold = np.empty(count, np.int64)
    fold[order] = np.arange(count) % min(FOLDS, count)
    return fold[samples.image]


def _stack(samples: Samples, one: Measure) -> Features:
    parts = (one(image, places) for image, places in zip(samples.images, samples.places, strict=True))
    return np.concatenate([part.double().cpu().numpy() for part in parts])


def _spread(labels: NDArray[np.uint8], rng: np.random.Generator) -> Whole:
    """Places of at most PIXELS pixels, the same number for each class as far as it has them."""
    known = np.unique(labels[labels != IGNORE])
    chosen = [np.zeros(0, np.int64)]
    for index in known:
        there = np.flatnonzero(labels == index)
        chosen.append(rng.choice(there, min(len(there), PIXELS // len(known)), replace=False))
    return np.concatenate(chosen)


def _window(
    image: Image, labels: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[Image, NDArray[np.uint8]]:
    corner = [int(rng.integers(0, max(0, edge - WINDOW) + 1)) for edge in labels.shape]
    part = tuple(slice(start, start + WINDOW) for start in corner)
    return image[part], labels[part]


def _scaled(image: Image) -> Image:
    longest = max(image.shape[:2])
    if longest <= WINDOW:
        return image
    size = tuple(max(1, round(edge * WINDOW / longest)) for edge in image.shape[:2])
    values = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    smaller: Image = resize(values, (size[0], size[1]))[0].permute(1, 2, 0).numpy()
    return smaller
