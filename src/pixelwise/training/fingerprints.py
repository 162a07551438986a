"""The fingerprint of the training images, taken at the end of a run with the network that was chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import Dataset, Split
from pixelwise.data.pixelsize import places_of
from pixelwise.infer.shift import Look, look_at, order_gains
from pixelwise.models.fingerprint import Fingerprint, Spread
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.bandshift import Directions, Vector, chroma, directions, distance, limit_of

MOST = 200
FEWEST = 8
"""With fewer images nothing is known of how much they vary."""

_HELD = 60  # images of validation
_LEAST, _SHARE = 24, 0.02
_PARTS = 4  # of the training images, each judged by the others
_SHRINK = 0.3  # of the variances of chroma: few images know all the colours that there are
_SLACK = 1.1, 0.5  # factor, and likelihood beyond the best gain of another order among held-out images
_SLACK_MEAN = 0.5
_SLACK_MEANS = 1.2  # factor over the largest distance of a held-out mean
_TOGETHER = 8  # consecutive held-out images whose mean is judged


def fingerprint_of(network: Network, data: Dataset, *, most: int = MOST) -> Fingerprint | None:
    """Look at up to `most` training images and as many as 60 of validation; None where there are too few.

    Limits come from images that were held out: those of validation, and quarters of the training images judged by
    the other three.
    """
    train, held = data.train.evenly(min(most, MOST)), data.val.evenly(min(most, _HELD))
    if len(train) < FEWEST:
        return None
    features = not _unpadded(network)
    looks = [look_at(network, train.image(index), features=features) for index in range(len(train))]
    others = [look_at(network, held.image(index), features=features) for index in range(len(held))]
    sizes = [train.image(index).shape[:2] for index in range(0, len(train), max(1, len(train) // 16))]
    height, width = np.median(sizes, axis=0)
    blocks = _held_gains(looks, others)
    gains = np.concatenate(blocks)
    means = [block.mean(axis=0) for block in blocks]
    return Fingerprint(
        images=len(looks),
        bands=data.bands,
        dtype=data.dtype,
        size=(int(height), int(width)),
        pixel_size=_pixel_size(train),
        lowest=tuple(np.min([look.low for look in looks], axis=0).tolist()),
        highest=tuple(np.max([look.high for look in looks], axis=0).tolist()),
        dimmest=tuple(np.min([look.high for look in looks], axis=0).tolist()),
        color=_spread([look.colors.ravel() for look in looks], [look.colors.ravel() for look in others]),
        chroma=_spread(
            [chroma(look.colors) for look in looks], [chroma(look.colors) for look in others], _SHRINK
        ),
        detail=_spread([look.detail for look in looks], [look.detail for look in others]),
        features=_spread(_features(looks), _features(others)) if features else None,
        order=max(0.0, _SLACK[0] * float(gains.max(initial=0.0))) + _SLACK[1],
        order_mean=max(0.0, *(float(part.max(initial=0.0)) for part in means)) + _SLACK_MEAN,
    )


def _held_gains(looks: list[Look], others: list[Look]) -> list[NDArray[np.float64]]:
    """Gains of other orders of the bands [n, orders] in the validation images and in each held-out quarter."""

    def of(some: list[Look], where: Directions) -> NDArray[np.float64]:
        return np.array([order_gains(look, where) for look in some]).reshape(len(some), -1)

    vectors = np.stack([chroma(look.colors) for look in looks])
    blocks = [of(others, directions(vectors, shrink=_SHRINK))] if others else []
    for part in np.array_split(np.arange(len(looks)), _PARTS):
        rest = directions(np.delete(vectors, part, axis=0), shrink=_SHRINK)
        blocks.append(of([looks[index] for index in part], rest))
    return blocks


def affordable(minutes: float | None, seconds_per_image: float) -> int:
    """How many images a budget allows to look at: what 2 % of it are worth, at least 24, at most 200."""
    if minutes is None:
        return MOST
    return int(min(MOST, max(_LEAST, _SHARE * minutes * 60 / max(seconds_per_image, 1e-3))))


def _features(looks: list[Look]) -> list[Vector]:
    return [look.features for look in looks if look.features is not None]


def _spread(vectors: list[Vector], held: list[Vector], shrink: float | None = None) -> Spread:
    """Where vectors lie, with the limits that held-out ones set."""
    all_of = np.stack(vectors)
    where = directions(all_of, shrink=shrink)
    every = np.arange(len(all_of))

    def blocks(parts: list[NDArray[np.int64]]) -> list[tuple[Vector, Directions]]:
        """Held-out vectors, each with what it is judged by."""
        judged = [
            (all_of[part], directions(np.delete(all_of, part, axis=0), shrink=shrink)) for part in parts
        ]
        return [(np.stack(held), where), *judged] if held else judged

    # One image is judged by its neighbours too, as training knows them; several come from one place or film, which
    # training may not know.
    alone = blocks([every[start::_PARTS] for start in range(_PARTS)])
    distances = np.array([distance(vector, rest) for block, rest in alone for vector in block])
    means = [
        distance(some.mean(axis=0), rest)
        for block, rest in blocks(np.array_split(every, _PARTS))
        for some in np.array_split(block, max(1, len(block) // _TOGETHER))
    ]
    return Spread(
        mean=tuple(where.mean.tolist()),
        axes=tuple(tuple(axis.tolist()) for axis in where.axes),
        variances=tuple(where.variances.tolist()),
        rest=where.rest,
        limit=limit_of(distances),
        usual=max(float(np.median(distances)), 1e-9),
        mean_limit=_SLACK_MEANS * max(means),
    )


def _unpadded(network: Network) -> bool:
    """Whether the encoder loses so much at the borders that small views leave nothing."""
    return isinstance(network, Segmenter) and network.frame.margin > 0


def _pixel_size(split: Split) -> float | None:
    """The median of what GeoTIFFs say; None for other images."""
    sizes = [place.pixel_size for place in places_of(split.evenly(8)) if place.pixel_size]
    return float(np.median(sizes)) if sizes else None
