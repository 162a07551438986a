"""Which images of a collection show the same: whole, in part, or side by side.

An image is remembered by some numbers, 1 KiB for copies and 40 KiB for all, so that ten thousand fit in memory;
they are compared by products of matrices in blocks.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixelwise.ops.fingerprint import (
    SIDE,
    TURNS,
    Grey,
    borders,
    grey_of,
    signatures,
    sketch,
    turned_signatures,
)
from pixelwise.ops.landmarks import Landmarks, landmarks, turn_between, turn_matrix
from pixelwise.types import Image

SMALLEST = 32
"""Images with fewer rows or columns hold too little to tell a copy from a likeness."""

COPY = 0.95  # similarity of near duplicates; unrelated images reach 0.4, chest X-rays 0.85
SHARED = 0.8  # correlation of the part that two crops have in common, without what is smooth; by chance 0.7
PATCH = 0.9  # correlation of landmarks
VOTES = 3  # landmarks that must agree on one shift
MANY = 12  # that say enough by themselves, such as for the same place on another day; X-rays of two patients reach 5
APART = 4.0  # pixels within which they agree
CONTINUES = 0.7  # correlation of border lines, without what is smooth in them
CLEARLY = 0.1  # by which a line continues another better than any other line does
_BLOCK = 1024
_SAMPLES = 128
_KEPT = 10  # matches of one landmark with others at a time


class Match(NamedTuple):
    """Two images by number, how alike they are (0..1), and how the second lies to the first.

    A pixel p of the first, (row, column), is at `turn_matrix(turn) @ p + shift` in the second, where a shift is known;
    `share` is what they have in common, of the smaller.
    """

    first: int
    second: int
    similarity: float
    turn: int = 0
    shift: tuple[float, float] | None = None
    share: float = 1.0


class Sketchbook:
    """What is remembered of images: sizes, digests of their pixels, signatures; with `detailed` the rest too."""

    def __init__(self, *, detailed: bool) -> None:
        self.detailed = detailed
        self.sizes: list[tuple[int, int]] = []
        self.digests: list[bytes] = []
        self.vectors: list[Grey] = []
        self.sketches: list[NDArray[np.float16]] = []
        self.edges: list[NDArray[np.float16]] = []
        self.marks: list[Landmarks] = []

    def __len__(self) -> int:
        return len(self.sizes)

    def add(self, image: Image) -> None:
        """Remember an image [H, W, C]."""
        small = min(image.shape[:2]) < SMALLEST
        self.sizes.append((image.shape[0], image.shape[1]))
        self.digests.append(hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest())
        grey = grey_of(image)
        rough = sketch(grey)
        vector = signatures(rough[None])[0]
        self.vectors.append(np.zeros_like(vector) if small else vector)
        if not self.detailed:
            return
        scale = float(rough.std()) or 1.0
        self.sketches.append(((rough - rough.mean()) / scale).astype(np.float16))
        lines = (borders(grey, _SAMPLES) - rough.mean()) / scale
        self.edges.append((lines * 0 if small else lines).astype(np.float16))
        self.marks.append(landmarks(grey))


def near_duplicates(
    book: Sketchbook, first: Sequence[int], second: Sequence[int] | None = None, *, least: float = COPY
) -> Iterator[Match]:
    """Pairs of `first` and `second`, or within `first`, that show the same, turned and flipped or not."""
    rows = np.asarray(first, np.int64)
    columns = rows if second is None else np.asarray(second, np.int64)
    if not len(rows) or not len(columns):
        return
    vectors = np.stack(book.vectors)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        for other in range(start if second is None else 0, len(columns), _BLOCK):
            against = columns[other : other + _BLOCK]
            best = np.full((len(block), len(against)), -1, np.float32)
            turns = np.zeros(best.shape, np.uint8)
            for turn in range(TURNS):
                alike = turned_signatures(vectors[block], turn) @ vectors[against].T
                better = alike > best
                best[better], turns[better] = alike[better], turn
            if second is None:
                best[block[:, None] >= against] = -1
            for i, j in np.argwhere(best >= least):
                similarity = min(1.0, float(best[i, j]))
                yield Match(int(block[i]), int(against[j]), similarity, int(turns[i, j]))


def shared_parts(book: Sketchbook) -> list[Match]:
    """Pairs of crops, turned or not, of pixels of one size, that have part of their view in common."""
    relative = np.array([[turn_between(a, b) for b in range(TURNS)] for a in range(TURNS)])
    counts = [len(marks.places) for marks in book.marks]
    owner = np.repeat(np.arange(len(book)), counts)
    if not len(owner):
        return []
    places = np.concatenate([marks.places for marks in book.marks])
    turns = np.concatenate([marks.turns for marks in book.marks])
    voices: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for one, two in _alike(book, owner):
        for a, b in zip(one.tolist(), two.tolist(), strict=True):
            voices[int(owner[a]), int(owner[b])].append((a, b))
    found = []
    for (first, second), pairs in voices.items():
        if len(pairs) < VOTES:
            continue
        a, b = np.array(sorted(set(pairs))).T
        best = _agreed(relative[turns[a], turns[b]], places[a], places[b])
        if best is None:
            continue
        turn, shift, votes = best
        similarity, share = _in_common(book, first, second, turn, shift)
        if similarity >= SHARED or (votes >= MANY and share > 0):
            found.append(Match(first, second, max(0.0, similarity), turn, shift, share))
    return found


def continued(book: Sketchbook) -> list[Match]:
    """Pairs of images of one size across the border where they touch: one goes on where the other ends."""
    found: dict[tuple[int, int], Match] = {}
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, size in enumerate(book.sizes):
        by_size[size].append(index)
    for (height, width), members in by_size.items():
        detail = _detail(np.stack([book.edges[index] for index in members]), (-1,))
        for end, start, shift in ((1, 0, (-float(height), 0.0)), (3, 2, (0.0, -float(width)))):
            for i, j, alike in _continuing(detail, end, start):
                one, two = members[i], members[j]
                key = min(one, two), max(one, two)
                if key in found and found[key].similarity >= alike:
                    continue
                moved = shift if one < two else (-shift[0], -shift[1])
                found[key] = Match(*key, alike, 0, moved, 0.0)
    return list(found.values())


def _alike(
    book: Sketchbook, owner: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Numbers of landmarks of two images that look alike, the image with the lower number first.

    Only landmarks are compared whose largest coordinate is the same, with its sign, in one of two random bases
    (Andoni et al.: Practical and Optimal LSH for Angular Distance, 2015).
    """
    patches = np.concatenate([marks.patches for marks in book.marks])
    bright = np.concatenate([marks.bright for marks in book.marks])
    rng = np.random.default_rng(0)
    for _ in range(2):
        basis = np.linalg.qr(rng.normal(size=(patches.shape[1], patches.shape[1])))[0].astype(np.float32)
        moved = patches @ basis
        largest = np.abs(moved).argmax(axis=1)
        sign = moved[np.arange(len(moved)), largest] > 0
        bucket = (largest * 2 + sign) * 2 + bright
        order = np.argsort(bucket, kind="stable")
        ends = np.flatnonzero(np.diff(bucket[order])) + 1
        for members in np.split(order, ends):
            for start in range(0, len(members), _BLOCK):
                block = members[start : start + _BLOCK]
                for other in range(start, len(members), 4 * _BLOCK):
                    against = members[other : other + 4 * _BLOCK]
                    alike = patches[block] @ patches[against].T
                    alike[owner[block][:, None] >= owner[against]] = -1
                    i, j = np.nonzero(alike >= PATCH)
                    keep = _first_of_each(i, _KEPT)
                    yield block[i[keep]], against[j[keep]]


def _first_of_each(rows: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Which entries of ascending `rows` are among the first `count` with their value."""
    starts = np.searchsorted(rows, rows)
    return np.arange(len(rows)) - starts < count


def _agreed(
    turns: NDArray[np.int64], first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[int, tuple[float, float], int] | None:
    """The turn and shift that most matches agree on, and how many, if enough do."""
    best, most = None, VOTES - 1
    for turn in np.unique(turns):
        which = turns == turn
        shifts = (second[which] - first[which] @ turn_matrix(int(turn)).T)[:400]
        near = (np.abs(shifts[:, None] - shifts[None]) <= APART).all(axis=2)
        votes = near.sum(axis=1)
        top = int(votes.argmax())
        if votes[top] > most:
            most = int(votes[top])
            row, column = shifts[near[top]].mean(axis=0)
            best = int(turn), (float(row), float(column)), most
    return best


def _in_common(
    book: Sketchbook, first: int, second: int, turn: int, shift: tuple[float, float]
) -> tuple[float, float]:
    """Correlation of the detail of two sketches where they overlap, and the overlap as a share of the smaller."""
    size, other = np.array(book.sizes[first]), np.array(book.sizes[second])
    cells = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), axis=-1).reshape(-1, 2)
    there = ((cells + 0.5) * size / SIDE - 0.5) @ turn_matrix(turn).T + np.array(shift)
    inside = ((there > -0.5) & (there < other - 0.5)).all(axis=1)
    share = min(1.0, float(inside.mean() * size.prod() / min(size.prod(), other.prod())))
    if inside.sum() < 2 * SIDE:
        return 0.0, share
    one = _detail(book.sketches[first], (-2, -1)).reshape(-1)[inside]
    at = (there[inside] + 0.5) * SIDE / other - 0.5
    two = ndimage.map_coordinates(_detail(book.sketches[second], (-2, -1)), at.T, order=1, mode="nearest")
    one, two = one - one.mean(), two - two.mean()
    length = float(np.linalg.norm(one) * np.linalg.norm(two))
    return (float(one @ two) / length if length > 0 else 0.0), share


def _detail(values: NDArray[np.float16], axes: tuple[int, ...]) -> Grey:
    """Values without what is smooth in them along some axes."""
    full = values.astype(np.float32)
    rest: Grey = full - ndimage.uniform_filter(full, 9, mode="nearest", axes=axes)
    return rest


def _continuing(detail: Grey, end: int, start: int) -> list[tuple[int, int, float]]:
    """Images by number whose side `end` goes on as the side `start` of another, each the other's best, and how well.

    The lines on both sides of a cut are neighbours, so they differ no more than the two lines before it and the two
    after it do together.
    """
    before, inner = detail[:, end, 0], detail[:, end, 1]
    after, beyond = detail[:, start, 0], detail[:, start, 1]
    back = {(i, j) for j, i, _ in _best_lines(after, before)}
    found = []
    for i, j, alike in _best_lines(before, after):
        gap = np.linalg.norm(before[i] - after[j])
        usual = np.linalg.norm(before[i] - inner[i]) + np.linalg.norm(after[j] - beyond[j])
        if i != j and (i, j) in back and gap <= usual:
            found.append((i, j, alike))
    return found


def _best_lines(lines: Grey, others: Grey) -> Iterator[tuple[int, int, float]]:
    """For each line the one of the others that is most like it, where it is clearly so."""
    unit, against = _unit(lines), _unit(others)
    for first in range(0, len(lines), _BLOCK):
        alike = unit[first : first + _BLOCK] @ against.T
        rows, best = np.arange(len(alike)), alike.argmax(axis=1)
        top = alike[rows, best]
        alike[rows, best] = -1
        for i in np.flatnonzero((top >= CONTINUES) & (alike.max(axis=1) <= top - CLEARLY)):
            yield first + int(i), int(best[i]), float(top[i])


def _unit(lines: Grey) -> Grey:
    """Lines of length 1; those without detail, which go on anywhere, are 0."""
    length = np.linalg.norm(lines, axis=1, keepdims=True)
    plain = length < 0.05 * np.sqrt(lines.shape[1])
    unit: Grey = np.where(plain, 0, lines / np.maximum(length, 1e-6)).astype(np.float32)
    return unit
