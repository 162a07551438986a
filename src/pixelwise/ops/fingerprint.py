"""What an image looks like in a few hundred numbers, so that copies of it are found among thousands.

A sketch is the image as a grey thumbnail of 64 x 64 equal parts. Its signature are the low frequencies of the
discrete cosine transform without the mean, the higher ones weighted up, for natural images have little of them and
are all alike in the lowest; scaled to length 1, the product of two signatures is the similarity of two images. It
hardly changes when an image is resized, compressed, or made brighter. The transform of a turned image is that of the
image with some signs changed, or transposed, so that the eight turns and flips cost no second look.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.types import Image

SIDE = 64
"""Rows and columns of a sketch."""

WAVES = 16
"""Frequencies per axis in a signature."""

TURNS = 8
"""Ways to turn and flip: 1 flips rows, 2 columns, 4 transposes first; see `turned`."""

Grey = NDArray[np.float32]

_FLAT = 2e-3  # deviation as a share of the values: below it an image has no content that could be compared


def grey_of(image: Image) -> Grey:
    """The mean of the bands of an image [H, W, C], float32 [H, W]; the order of the bands does not matter."""
    grey: Grey = image[..., 0].astype(np.float32)
    for band in range(1, image.shape[2]):  # a mean along the last axis takes ten times as long
        grey += image[..., band]
    return grey * np.float32(1 / image.shape[2])


def averaged(grey: Grey, rows: int, columns: int) -> Grey:
    """The mean over each of `rows` x `columns` equal parts of a grey image; pixels on a border count in part.

    >>> averaged(np.arange(8, dtype=np.float32).reshape(2, 4), 1, 2).tolist()
    [[2.5, 4.5]]
    """
    means = parts(grey.shape[0], rows) @ grey @ parts(grey.shape[1], columns).T
    return means.astype(np.float32, copy=False)


@lru_cache(maxsize=128)
def parts(length: int, count: int) -> Grey:
    """The matrix [count, length] that averages `length` values over `count` equal parts."""
    edges = np.linspace(0, length, count + 1)
    places = np.arange(length)
    shared = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    return (shared.clip(0) * (count / length)).astype(np.float32)


def sketch(grey: Grey) -> Grey:
    """A grey image of any size as 64 x 64 means."""
    return averaged(grey, SIDE, SIDE)


def signatures(sketches: NDArray[Any]) -> Grey:
    """Sketches [n, 64, 64] as vectors [n, 256] of length 1; zero for an image without content.

    >>> rng = np.random.default_rng(0)
    >>> one = signatures(rng.random((1, 64, 64)))
    >>> round(float((one @ one.T)[0, 0]), 3)
    1.0
    """
    values = sketches.astype(np.float32)
    waves = _cosines()
    found: Grey = np.einsum("ur,nrc,vc->nuv", waves, values, waves, optimize=True) * _weights()
    found[:, 0, 0] = 0
    deviation, level = values.std(axis=(1, 2)), np.abs(values).mean(axis=(1, 2))
    flat = deviation <= _FLAT * (level + deviation)
    found = found.reshape(len(found), -1)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    found /= np.where(length > 0, length, 1)
    found[flat] = 0
    return found


def turned_signatures(vectors: Grey, turn: int) -> Grey:
    """The signatures of the images turned as by `turned`."""
    blocks = vectors.reshape(-1, WAVES, WAVES)
    if turn & 4:
        blocks = blocks.transpose(0, 2, 1)
    signs = np.where(np.arange(WAVES) % 2, -1, 1).astype(np.float32)
    if turn & 1:
        blocks = blocks * signs[:, None]
    if turn & 2:
        blocks = blocks * signs
    return np.ascontiguousarray(blocks).reshape(len(vectors), -1)


def turned(array: NDArray[Any], turn: int) -> NDArray[Any]:
    """An array [H, W, ...] transposed if `turn` has 4, then with rows reversed if 1 and columns if 2.

    >>> turned(np.array([[1, 2], [3, 4]]), 5).tolist()
    [[2, 4], [1, 3]]
    """
    if turn & 4:
        array = array.swapaxes(0, 1)
    if turn & 1:
        array = array[::-1]
    return array[:, ::-1] if turn & 2 else array


def borders(grey: Grey, samples: int) -> Grey:
    """The outermost two lines along each side, averaged to `samples` values: [4, 2, samples].

    The sides are top, bottom, left, right; of each, the border line comes first.
    """
    last_row, last_column = grey.shape[0] - 1, grey.shape[1] - 1
    inner_row, inner_column = min(1, last_row), min(1, last_column)
    rows = grey[[0, inner_row, last_row, last_row - inner_row]] @ parts(grey.shape[1], samples).T
    columns = grey[:, [0, inner_column, last_column, last_column - inner_column]].T
    columns = columns @ parts(grey.shape[0], samples).T
    lines: Grey = np.concatenate([rows, columns]).reshape(4, 2, samples)
    return lines


@lru_cache(maxsize=1)
def _cosines() -> Grey:
    """The first rows [16, 64] of the orthonormal discrete cosine transform."""
    places = (np.arange(SIDE) + 0.5) * np.pi / SIDE
    waves = np.cos(np.arange(WAVES)[:, None] * places) * np.sqrt(2 / SIDE)
    waves[0] /= np.sqrt(2)
    cosines: Grey = waves.astype(np.float32)
    return cosines


@lru_cache(maxsize=1)
def _weights() -> Grey:
    """The frequency of each coefficient: the spectrum of natural images falls about as its inverse."""
    waves = np.arange(WAVES, dtype=np.float32)
    weights: Grey = np.hypot(waves[:, None], waves).astype(np.float32, copy=False)
    return weights
