"""A split in which no group is torn apart, of the same shares as before."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pixelwise.data.items import natural_key
from pixelwise.data.splits import Assignment
from pixelwise.types import SPLITS, SplitName

MOST = 0.5  # a group with a larger share of the images is cut into blocks
BLOCKS = 10


@dataclass(frozen=True)
class Proposal:
    """A split by groups.

    Attributes:
        names: Names of the images by split.
        groups: The group of each image.
        notes: What had to be given up.
    """

    names: Assignment
    groups: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def csv_text(self) -> str:
        """The table with columns name, split and group that `--splits` reads."""
        home = {name: split for split in SPLITS for name in self.names[split]}
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("name", "split", "group"))
        for name in sorted(home, key=natural_key):
            writer.writerow((name, home[name], self.groups[name]))
        return stream.getvalue()


class Joined:
    """Things that are put together step by step (union-find)."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def root(self, one: int) -> int:
        """The number that stands for all that `one` is joined with."""
        while self.parent[one] != one:
            self.parent[one] = self.parent[self.parent[one]]
            one = self.parent[one]
        return one

    def join(self, one: int, two: int) -> None:
        """Put two together, and with them all that they are joined with."""
        first, second = sorted((self.root(one), self.root(two)))
        self.parent[second] = first

    def join_equal(self, keys: Sequence[Hashable]) -> None:
        """Put together all that have the same key."""
        first: dict[Hashable, int] = {}
        for number, key in enumerate(keys):
            self.join(first.setdefault(key, number), number)


def propose(groups: Mapping[str, str], shares: Mapping[SplitName, float]) -> Proposal:
    """Divide groups of images among the splits as near to `shares` as whole groups allow.

    The largest group goes first, to the split that lacks most; every split with a share gets a group if there are
    enough. A group of more than half of all images is cut into ten blocks in the order of the names.

    >>> found = propose({f"{g}{n}": g for g in "abc" for n in range(2)}, {"train": 0.4, "val": 0.3, "test": 0.3})
    >>> sorted(len(names) for names in found.names.values())
    [2, 2, 2]
    """
    groups, notes = _cut(groups)
    sizes = Counter(groups.values())
    wanted = {split: shares.get(split, 0.0) * len(groups) for split in SPLITS}
    have: dict[SplitName, int] = dict.fromkeys(SPLITS, 0)
    home: dict[str, SplitName] = {}
    order = sorted(sizes, key=lambda group: (-sizes[group], natural_key(group)))
    for place, group in enumerate(order):
        empty = [split for split in SPLITS if wanted[split] > 0 and not have[split]]
        allowed = empty if len(order) - place <= len(empty) else [s for s in SPLITS if wanted[s] > 0]
        split = max(allowed or SPLITS, key=lambda split: wanted[split] - have[split])
        home[group] = split
        have[split] += sizes[group]
    names: Assignment = {
        split: _in_order(name for name, group in groups.items() if home[group] == split) for split in SPLITS
    }
    bare = [split for split in SPLITS if wanted[split] > 0 and not names[split]]
    if bare:
        notes.append(f"there are {len(order)} groups, so {' and '.join(bare)} would be empty")
    return Proposal(names, groups, tuple(notes))


def _cut(groups: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Groups with the largest cut into blocks where it is too large to be in one split."""
    result, notes = dict(groups), []
    for group, count in Counter(groups.values()).items():
        if count <= MOST * len(groups) or count < BLOCKS:
            continue
        members = _in_order(name for name in groups if groups[name] == group)
        for place, name in enumerate(members):
            result[name] = f"{group}#{place * BLOCKS // count}"
        notes.append(
            f"{group} holds {count} of {len(groups)} images: cut into {BLOCKS} blocks in the order of the names, "
            "which still touch"
        )
    return result, notes


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=natural_key))
