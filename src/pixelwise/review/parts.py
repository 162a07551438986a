"""Whole parts of the masks that look like parts of another class.

Doubted pixels say little about small things: networks hardly know the pixels of a pole. But masks hold thousands of
connected parts, and a part as a whole has a size and a form, a place in the image, colours and neighbours, beside
what networks that have not seen it answer on it. A small perceptron learns to tell the class of a part from these
numbers; every stretch of images is judged by one that has learnt from the others. A part is suspect where another class
is more probable than the given one: confident learning with objects as examples. Doubted regions are asked about too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from pixelwise.review.labels import GROWTH, Region, Shares
from pixelwise.review.patch import to_runs
from pixelwise.types import IGNORE, Image, Labels

LEAST = 100
"""Parts of a dataset from which on something can be learnt of them."""

CORE = 15  # pixels that a part without its rim must have to be described by
LOWEST = 1e-3  # score of a region that one of the two speaks against
RING = 3  # pixels around a part that are its surroundings
STRETCHES = 5
HIDDEN, PASSES, BATCH = 64, 30, 256
FLOOR = 1e-3  # added to probabilities before their logarithm
TINY = 1e-2  # the same for those of the networks


@dataclass(frozen=True, eq=False)
class Part:
    """A connected part of one class in the given labels, or of that a region that is doubted.

    Attributes:
        region: Its place and given class; a part has neither suggestion nor score.
        numbers: What is known of it [n], the same n for all of a dataset.
        touched: Which classes lie around it, in shares [K + 1], ignored pixels last.
    """

    region: Region
    numbers: NDArray[np.float32]
    touched: NDArray[np.float32]


def parts_in(name: str, image: Image, labels: Labels, shares: Shares, *, min_area: int) -> Iterator[Part]:
    """The parts of one image that have at least `min_area` pixels.

    Args:
        name: Of the image.
        image: [H, W, C].
        labels: [H, W], given.
        shares: [K, H, W], the probabilities of a network that has not seen the image.
        min_area: In pixels.
    """
    for given in np.unique(labels[labels != IGNORE]).tolist():
        numbered, _ = ndimage.label(labels == given, np.ones((3, 3)))
        areas = np.bincount(numbered.reshape(-1))
        for number, place in enumerate(ndimage.find_objects(numbered), start=1):
            if areas[number] >= min_area:
                box = (place[0].start, place[1].start, place[0].stop, place[1].stop)
                runs = tuple(to_runs(numbered[place] == number))
                yield part_of(Region(name, box, runs, given, given, 0.0), image, labels, shares)


def part_of(region: Region, image: Image, labels: Labels, shares: Shares) -> Part:
    """What is known of a region; takes what `parts_in` does."""
    top, left, bottom, right = region.box
    shape = np.pad(region.shape, RING)
    around = (slice(max(0, top - RING), bottom + RING), slice(max(0, left - RING), right + RING))
    height, width = labels[around].shape
    above, before = max(0, RING - top), max(0, RING - left)
    shape = shape[above : above + height, before : before + width]
    values, seen = image[around].astype(np.float32), shares[:, around[0], around[1]]
    inner = ndimage.binary_erosion(shape, iterations=2)
    inner = inner if inner.sum() >= CORE else shape
    ring = ndimage.maximum_filter(shape, 2 * RING + 1) & ~shape
    answers = [
        seen[:, area].mean(axis=1) if area.any() else np.zeros(len(seen)) for area in (shape, inner, ring)
    ]
    counts = np.bincount(labels[around][ring], minlength=256)
    touched = np.append(counts[: len(seen)], counts[IGNORE]) / max(1, int(ring.sum()))
    colors = values[shape]
    numbers = [
        np.log(np.concatenate(answers) + TINY),
        colors.mean(axis=0),
        colors.std(axis=0),
        _placed(region.box, int(shape.sum()), int(ring.sum()), labels.shape),
    ]
    return Part(region, np.concatenate(numbers).astype(np.float32), np.sqrt(touched).astype(np.float32))


def suspect_parts(
    parts: Sequence[Part], names: Sequence[str], classes: int, *, seed: int = 0
) -> list[Region]:
    """The parts that are more probably of another class; their score is that of `suspects_in`.

    Args:
        parts: Of all images.
        names: Of all images, in an order in which neighbours show similar things.
        classes: How many there are.
        seed: Of the perceptrons.
    """
    numbers = [np.concatenate([part.numbers, part.touched]) for part in parts]
    shares = _votes(parts, numbers, parts, numbers, names, classes, seed)
    if shares is None:
        return []
    rows, given = np.arange(len(parts)), [part.region.given for part in parts]
    own = np.log(shares[rows, given] + FLOOR)
    shares[rows, given] = -1
    suggested = shares.argmax(axis=1)
    gains = np.log(shares[rows, suggested] + FLOOR) - own
    return [
        replace(part.region, suggested=other, score=gain * part.region.area**GROWTH)
        for part, other, gain in zip(parts, suggested.tolist(), gains.tolist(), strict=True)
        if gain > 0
    ]


def weighed(
    regions: Sequence[Part], parts: Sequence[Part], names: Sequence[str], classes: int, *, seed: int = 0
) -> list[Region]:
    """Doubted regions with the mean of two scores: their own, and what perceptrons say that know the parts.

    What lies around a region is left out: a part never touches its own class, a piece of one does.

    Args:
        regions: With the scores of `suspects_in`.
        parts: As for `suspect_parts`, and the rest as well.
        names: Of all images.
        classes: How many there are.
        seed: Of the perceptrons.
    """
    plain = [one.region for one in regions]
    known, numbers = [part.numbers for part in parts], [one.numbers for one in regions]
    shares = _votes(parts, known, regions, numbers, names, classes, seed) if regions else None
    if shares is None:
        return plain
    logs = np.log(shares + FLOOR)
    gains = [float(row[one.suggested] - row[one.given]) for row, one in zip(logs, plain, strict=True)]
    return [
        replace(one, score=max(LOWEST, (one.score + gain * one.area**GROWTH) / 2))
        for one, gain in zip(plain, gains, strict=True)
    ]


def joined(regions: Sequence[Region], parts: Sequence[Region]) -> list[Region]:
    """Suspect regions and parts; of a part and regions that make up most of it only the part, with the higher score."""
    within: dict[tuple[str, int], list[Region]] = {}
    for region in regions:
        within.setdefault((region.image, region.given), []).append(region)
    found, gone = [], set()
    for part in parts:
        score, area = part.score, part.area
        for region in within.get((part.image, part.given), ()):
            if 2 * region.area > area and _overlap(region, part) > region.area // 2:
                score = max(score, region.score)
                gone.add(id(region))
        found.append(replace(part, score=score))
    return [region for region in regions if id(region) not in gone] + found


def _placed(
    box: tuple[int, int, int, int], area: int, ring: int, size: tuple[int, ...]
) -> NDArray[np.float64]:
    """Size, form and place of a part, and whether the image cuts it."""
    top, left, bottom, right = box
    height, width = bottom - top, right - left
    return np.array(
        [
            np.log(area),
            np.log(height),
            np.log(width),
            area / (height * width),
            ring / np.sqrt(area),
            top / size[0],
            bottom / size[0],
            (left + right) / (2 * size[1]),
            top == 0,
            bottom == size[0],
            left == 0 or right == size[1],
        ]
    )


def _votes(
    parts: Sequence[Part],
    known: Sequence[NDArray[np.float32]],
    others: Sequence[Part],
    numbers: Sequence[NDArray[np.float32]],
    names: Sequence[str],
    classes: int,
    seed: int,
) -> NDArray[np.float64] | None:
    """Probabilities [n, K] of the classes of `others`, by what was learnt of parts in other stretches of images.

    None where there is too little to learn from.
    """
    given = np.array([part.region.given for part in parts], np.int64)
    if len(parts) < LEAST:
        return None
    where = {name: place * STRETCHES // len(names) for place, name in enumerate(names)}
    of_parts, of_others = (np.array([where[one.region.image] for one in some]) for some in (parts, others))
    table = np.stack(known)
    mean, deviation = table.mean(axis=0), table.std(axis=0) + 1e-6
    table, asked = (table - mean) / deviation, (np.stack(numbers) - mean) / deviation
    shares = np.zeros((len(others), classes))
    for one in np.unique(of_others).tolist():
        learnt, judged = of_parts != one, of_others == one
        if len(np.unique(given[learnt])) < 2:
            return None
        shares[judged] = _judged(table[learnt], given[learnt], asked[judged], classes, seed)
    return shares


def _judged(
    numbers: NDArray[np.float32],
    given: NDArray[np.int64],
    others: NDArray[np.float32],
    classes: int,
    seed: int,
) -> NDArray[np.float32]:
    """Probabilities [n, K] of the classes of other parts, by two perceptrons that have learnt these."""
    inputs, truth = torch.from_numpy(numbers), torch.from_numpy(given)
    total = torch.zeros(len(others), classes)
    for one in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + one)
            net = nn.Sequential(
                nn.Linear(numbers.shape[1], HIDDEN), nn.ReLU(), nn.Dropout(0.3), nn.Linear(HIDDEN, classes)
            )
            optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
            for _ in range(PASSES):
                for rows in torch.split(torch.randperm(len(truth)), BATCH):
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(net(inputs[rows]), truth[rows], label_smoothing=0.02)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
        with torch.inference_mode():
            total += net.eval()(torch.from_numpy(others)).softmax(dim=1) / 2
    result: NDArray[np.float32] = total.numpy()
    return result


def _overlap(one: Region, other: Region) -> int:
    """Pixels that two regions share."""
    top, left = max(one.box[0], other.box[0]), max(one.box[1], other.box[1])
    bottom, right = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    if top >= bottom or left >= right:
        return 0
    cut = [
        region.shape[
            top - region.box[0] : bottom - region.box[0], left - region.box[1] : right - region.box[1]
        ]
        for region in (one, other)
    ]
    return int((cut[0] & cut[1]).sum())
