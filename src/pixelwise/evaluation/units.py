"""What an interval may take as independent: images, groups of them, or blocks of neighbours.

Images of one film, scene or patient are alike, and counting each as a finding of its own makes intervals far too short.
The rule: with at least `ENOUGH` groups each is a unit. With fewer, where that many groups are too few to tell how
groups differ, each is cut into blocks of neighbouring images, together `ENOUGH` or a few more: by their places where
those are known, as of tiles of a scene, else in their order, as of a film. The interval then speaks of these films or
places only, and `note` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.groups import Groups, members_of
from pixelwise.evaluation.nearness import Nearness, compact, nearness

ENOUGH = 10
"""Units from which an interval is made, if there are as many; see docs/intervals.md for how it was chosen."""


@dataclass(frozen=True, eq=False)
class Units:
    """What may be taken as independent.

    Attributes:
        of: The unit of each image [images].
        count: How many there are.
        origin: What they are, in one phrase.
        chain: Group of each image where units are blocks of a sequence, which are alike across the cuts; else empty.
        near: The same of blocks on the ground; else None.
        note: What that means for an interval, in a sentence.
    """

    of: NDArray[np.intp]
    count: int
    origin: str
    chain: tuple[str, ...] = ()
    near: Nearness | None = None
    note: str = ""

    @property
    def alike(self) -> bool:
        """Whether units are blocks that are alike across the cuts."""
        return bool(self.chain) or self.near is not None

    def sums(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Counts per image [images, ...] added up per unit [units, ...]."""
        if self.count == len(self.of):
            return counts.astype(np.float64)
        total = np.zeros((self.count, *counts.shape[1:]))
        np.add.at(total, self.of, counts)
        return total


def units_of(groups: Groups | Sequence[str]) -> Units:
    """The units of images whose groups are given, in the order of the images.

    >>> units_of(["a", "b", "a"]).of.tolist()
    [0, 2, 1]
    >>> units_of([f"film{k // 2}" for k in range(30)]).count
    15
    """
    found = groups if isinstance(groups, Groups) else Groups(tuple(groups), "given")
    names, images = list(dict.fromkeys(found.names)), len(found.names)
    if len(names) == images:
        return Units(np.arange(images), images, "images")
    if len(names) >= ENOUGH:
        number = {name: k for k, name in enumerate(names)}
        return Units(np.array([number[name] for name in found.names]), len(names), f"groups: {found.origin}")
    return _blocks(found, names)


def _blocks(found: Groups, names: Sequence[str]) -> Units:
    """Each group cut into blocks of neighbouring images, as many as its share of the images asks for."""
    images, sizes = len(found.names), Counter(found.names)
    pieces = {name: min(sizes[name], max(1, round(ENOUGH * sizes[name] / images))) for name in names}
    while sum(pieces.values()) < min(ENOUGH, images):  # the largest blocks are cut further
        name = max(names, key=lambda one: sizes[one] / pieces[one] if pieces[one] < sizes[one] else 0.0)
        pieces[name] += 1
    first = dict(zip(names, np.cumsum([0, *pieces.values()]).tolist(), strict=False))
    of, count = np.empty(images, np.intp), sum(pieces.values())
    places = np.array(found.places)
    for name, members in members_of(found.names).items():
        if found.places:
            of[members] = first[name] + compact(places[members], pieces[name])
        else:
            of[members] = first[name] + np.arange(len(members)) * pieces[name] // len(members)
    near = nearness(places, found.names, of) if found.places else None
    what = f"{len(names)} group{'s' * (len(names) > 1)} ({found.origin})"
    return Units(
        of,
        count,
        f"{count} blocks of neighbouring images in {what}",
        () if near else found.names,
        near,
        f"{what}: too few to tell how groups differ, so the interval is about other images of the same ones",
    )
