"""Small places of an image that are found again in a shifted crop of it, turned or not.

Landmarks are the extremes of a difference of two blurred versions (Lowe: Distinctive Image Features from
Scale-Invariant Keypoints, 2004; departures: one scale, for crops of one scene have the same pixels, and plain patches
in place of histograms of gradients). Each is described by the 8 x 8 values around it, turned to a standard position:
the moments of a patch change sign when it is flipped and places when it is transposed, so one of the eight turns
makes both positive and the first the larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelwise.ops.fingerprint import TURNS, Grey, turned

PATCH = 8
"""Values per axis of a description."""

_STEP = 3  # half-size pixels between them
_EDGE = (PATCH * _STEP) // 2 + 1
_AREA = 600  # half-size pixels per landmark
_FEWEST, _MOST = 32, 160
_APART = 4  # half-size pixels between landmarks, at least


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The landmarks of an image.

    Attributes:
        places: Row and column of each in pixels of the image, float32 [n, 2].
        patches: Their descriptions in standard position, mean 0 and length 1, float32 [n, 64].
        turns: The turn that brought each into standard position, uint8 [n].
        bright: Whether it is brighter than what is around it, [n].
    """

    places: NDArray[np.float32]
    patches: NDArray[np.float32]
    turns: NDArray[np.uint8]
    bright: NDArray[np.bool_]


def landmarks(grey: Grey) -> Landmarks:
    """The strongest landmarks of a grey image [H, W], about one per 2400 pixels; none in one under 54 pixels."""
    half = _halved(grey)
    if min(half.shape) <= 2 * _EDGE:
        return _none()
    fine = ndimage.gaussian_filter(half, 1.5, truncate=3)
    contrast = fine - ndimage.gaussian_filter(half, 3.0, truncate=3)
    strength = np.abs(contrast)
    peaks = strength == ndimage.maximum_filter(strength, 2 * _APART + 1)
    peaks[:_EDGE], peaks[-_EDGE:], peaks[:, :_EDGE], peaks[:, -_EDGE:] = False, False, False, False
    peaks &= strength > 1e-3 * (float(np.abs(half).mean()) + float(half.std()))
    rows, columns = np.nonzero(peaks)
    count = min(max(_FEWEST, half.size // _AREA), _MOST)
    order = np.argsort(-strength[rows, columns], kind="stable")[:count]
    rows, columns = rows[order], columns[order]
    if not len(rows):
        return _none()
    offsets = np.rint((np.arange(PATCH) - (PATCH - 1) / 2) * _STEP).astype(np.int64)
    smooth = ndimage.gaussian_filter(half, 2.0, truncate=3)
    patches = smooth[rows[:, None, None] + offsets[:, None], columns[:, None, None] + offsets]
    patches = patches - patches.mean(axis=(1, 2), keepdims=True)
    patches, turns = _standard(patches)
    flat = patches.reshape(len(patches), -1)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    places = np.stack([rows, columns], axis=1).astype(np.float32) * 2 + 0.5
    return Landmarks(places, flat.astype(np.float32), turns, contrast[rows, columns] > 0)


def turn_matrix(turn: int) -> NDArray[np.int64]:
    """How (row, column) of a centred image move when it is turned: a signed permutation [2, 2].

    >>> turn_matrix(5).tolist()
    [[0, -1], [1, 0]]
    """
    matrix = np.array([[0, 1], [1, 0]]) if turn & 4 else np.eye(2, dtype=np.int64)
    signs = np.array([-1 if turn & 1 else 1, -1 if turn & 2 else 1])
    moved: NDArray[np.int64] = signs[:, None] * matrix
    return moved


def turn_between(first: int, second: int) -> int:
    """The turn that makes an image which `first` brings into a position one that `second` brings there."""
    wanted = turn_matrix(second).T @ turn_matrix(first)
    return next(turn for turn in range(TURNS) if (turn_matrix(turn) == wanted).all())


def _halved(grey: Grey) -> Grey:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    rows, columns = grey.shape[0] // 2 * 2, grey.shape[1] // 2 * 2
    cut = grey[:rows, :columns]
    total = cut[::2, ::2] + cut[1::2, ::2] + cut[::2, 1::2] + cut[1::2, 1::2]
    return (total / 4).astype(np.float32, copy=False)


def _standard(patches: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Patches [n, 8, 8] turned to their standard positions, and by which turns."""
    places = np.arange(PATCH) - (PATCH - 1) / 2
    down, across = (patches * places[:, None]).sum(axis=(1, 2)), (patches * places).sum(axis=(1, 2))
    swap = np.abs(across) > np.abs(down)
    first, second = np.where(swap, across, down), np.where(swap, down, across)
    turns = (4 * swap + (first < 0) + 2 * (second < 0)).astype(np.uint8)
    result = np.empty_like(patches)
    for turn in range(TURNS):
        which = turns == turn
        result[which] = np.moveaxis(turned(np.moveaxis(patches[which], 0, -1), turn), -1, 0)
    return result, turns


def _none() -> Landmarks:
    empty = np.zeros(0)
    return Landmarks(
        np.zeros((0, 2), np.float32),
        np.zeros((0, PATCH * PATCH), np.float32),
        empty.astype(np.uint8),
        empty.astype(bool),
    )
