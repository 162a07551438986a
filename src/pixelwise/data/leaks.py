"""Images of one split that show what images of another show, and a split that keeps them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pixelwise.data.dataset import Dataset, image_of
from pixelwise.data.groups import find_groups
from pixelwise.data.items import Item, Row, Window, natural_key
from pixelwise.data.leaksearch import Match, Sketchbook, continued, near_duplicates, shared_parts
from pixelwise.data.regroup import Joined, Proposal, propose
from pixelwise.errors import DataError, MissingExtraError
from pixelwise.geo.footprints import same_ground
from pixelwise.geo.scenes import scene_facts
from pixelwise.ops.tiles import Box
from pixelwise.types import SPLITS, SplitName

Kind = Literal["copy", "near duplicate", "overlap", "same ground", "side by side", "same group"]
KINDS: tuple[Kind, ...] = ("copy", "near duplicate", "overlap", "same ground", "side by side", "same group")
_EXPLAINED = {
    "copy": "the same pixels",
    "near duplicate": "the same picture, resized, compressed anew, turned or flipped",
    "overlap": "crops that have part of their view in common",
    "same ground": "footprints that overlap on the earth",
    "side by side": "tiles cut from one scene: one goes on where the other ends",
    "same group": "one place, film or patient by the names",
}
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Leak:
    """Two images in different splits that show the same.

    Attributes:
        kind: The strongest thing they have in common.
        first: Name of one image; `second` of the other.
        splits: Their splits.
        similarity: 0..1; of whole pictures, or of the part in common.
        turn: How the second is turned, see `ops.fingerprint.turned`; 0 for not at all.
        shift: Rows and columns from a place in the turned first to the same place in the second, where known.
        share: What they have in common, of the smaller.
    """

    kind: Kind
    first: str
    second: str
    splits: tuple[SplitName, SplitName]
    similarity: float
    turn: int = 0
    shift: tuple[float, float] | None = None
    share: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        shift = None if self.shift is None else [round(value, 1) for value in self.shift]
        numbers = {"similarity": round(self.similarity, 4), "share": round(self.share, 4)}
        return {**self.__dict__, "splits": list(self.splits), "shift": shift, **numbers}


@dataclass(frozen=True)
class LeakReport:
    """What leaks from split to split, and a split that keeps it together.

    Attributes:
        root: The dataset.
        images: How many there are in each split.
        leaks: The strongest kinds first; each pair of images once.
        proposal: A split of the same shares in which nothing leaks.
        origin: How groups were told, beside the pairs.
        notes: What could not be looked at.
    """

    root: Path
    images: dict[SplitName, int]
    leaks: tuple[Leak, ...]
    proposal: Proposal
    origin: str
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Pairs of each kind."""
        found = Counter(leak.kind for leak in self.leaks)
        return {kind: found[kind] for kind in KINDS}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        names = self.proposal.names
        return {
            "pairs": self.counts,
            "leaks": [leak.as_dict() for leak in self.leaks],
            "groups": len(set(self.proposal.groups.values())),
            "groups_by_name": self.origin,
            "proposed": {split: list(names[split]) for split in SPLITS},
            "notes": [*self.notes, *self.proposal.notes],
        }

    def render(self, shown: int = 3) -> str:
        """The report as text, with the first pairs of each kind."""
        lines = [f"leaks between the splits of {self.root}"]
        for kind, count in self.counts.items():
            lines.append(f"  {kind:<15} {count:>6} {'pair ' if count == 1 else 'pairs'}  {_EXPLAINED[kind]}")
            lines += [f"    {told(leak)}" for leak in [x for x in self.leaks if x.kind == kind][:shown]]
        sizes = ", ".join(f"{split} {len(self.proposal.names[split])}" for split in SPLITS)
        lines.append(f"groups: {self.origin}")
        lines.append(f"proposed split: {len(set(self.proposal.groups.values()))} groups, {sizes}")
        lines += [f"note: {note}" for note in (*self.notes, *self.proposal.notes)]
        return "\n".join(lines)


def told(leak: Leak) -> str:
    """One pair in one line."""
    more = "" if leak.turn == 0 else ", turned"
    if leak.kind in ("overlap", "same ground"):
        more += f", {leak.share:.0%} in common"
    if leak.shift is not None:
        more += f", shift {leak.shift[0]:.0f} rows {leak.shift[1]:.0f} columns"
    first, second = leak.splits
    return f"{leak.first} ({first}) and {leak.second} ({second}), similarity {leak.similarity:.2f}{more}"


def find_leaks(data: Dataset, *, progress: Callable[[int, int], None] | None = None) -> LeakReport:
    """Compare all images of a dataset with one another, and propose a split without leaks.

    Looks at pixels (copies, near duplicates, overlapping crops, tiles side by side), at the footprints of GeoTIFFs,
    and at names (`data.groups`). Pairs within one split are no leaks, but stay together in the proposal.

    Raises:
        DataError: an image cannot be read.
    """
    items = [item for split in data.splits for item in split.items]
    homes = [split.name for split in data.splits for _ in split.items]
    book = Sketchbook(detailed=True)
    for number, item in enumerate(items):
        book.add(image_of(item))
        if progress is not None:
            progress(number + 1, len(items))
    found, notes = _matches(book, items)
    every = replace(data.train, items=tuple(items))
    groups, named = find_groups(every), find_groups(every, ground=False)
    joined = Joined(len(items))
    for pair in found:
        joined.join(*pair)
    joined.join_equal(groups.names)
    for first, second in _named(named.names, homes):  # tiles that only touch are no leak, but stay together
        found.setdefault((first, second), ("same group", likeness(book, first, second)))
    leaks = [leak_of(kind, match, items, homes) for kind, match in found.values()]
    leaks = [leak for leak in leaks if leak.splits[0] != leak.splits[1]]
    leaks.sort(key=lambda leak: (KINDS.index(leak.kind), -leak.similarity, natural_key(leak.first)))
    images = {split: homes.count(split) for split in SPLITS}
    shares = {split: count / max(1, len(items)) for split, count in images.items()}
    proposal = propose(_labels(items, groups.names, joined), shares)
    return LeakReport(data.root, images, tuple(leaks), proposal, groups.origin, tuple(notes))


def _matches(
    book: Sketchbook, items: Sequence[Item]
) -> tuple[dict[tuple[int, int], tuple[Kind, Match]], list[str]]:
    """All pairs that show the same, each under its strongest kind, and what could not be compared."""
    found: dict[tuple[int, int], tuple[Kind, Match]] = {}
    notes = []

    def note(kind: Kind, match: Match) -> None:
        found.setdefault((match.first, match.second), (kind, match))

    for match in near_duplicates(book, range(len(items))):
        same = book.digests[match.first] == book.digests[match.second]
        note("copy" if same else "near duplicate", match)
    for match in shared_parts(book):
        note("overlap", match)
    try:
        for first, second, share in same_ground(grids_of(dict(enumerate(items)))):
            note("same ground", likeness(book, first, second)._replace(share=share))
    except MissingExtraError as error:
        notes.append(f"footprints were not compared: {error.found}")
    for match in continued(book):
        note("side by side", match)
    return found, notes


def leak_of(kind: Kind, match: Match, items: Sequence[Item], homes: Sequence[SplitName]) -> Leak:
    """The pair of a match."""
    one, two = match.first, match.second
    rest = match.similarity, match.turn, match.shift, match.share
    return Leak(kind, items[one].name, items[two].name, (homes[one], homes[two]), *rest)


def likeness(book: Sketchbook, first: int, second: int) -> Match:
    """Two images that are known to belong together, and how alike they look as a whole."""
    return Match(first, second, float(np.clip(book.vectors[first] @ book.vectors[second], 0, 1)))


def _named(groups: Sequence[str], homes: Sequence[SplitName]) -> list[tuple[int, int]]:
    """For each image the next one of its group that is in another split, in the order of the images."""
    last: dict[tuple[str, SplitName], int] = {}
    pairs = set()
    for number, (group, home) in enumerate(zip(groups, homes, strict=True)):
        for split in SPLITS:
            if split != home and (before := last.get((group, split))) is not None:
                pairs.add((before, number))
        last[group, home] = number
    return sorted(pairs)


def _labels(items: Sequence[Item], groups: Sequence[str], joined: Joined) -> dict[str, str]:
    """A label for each whole that images were joined to: its group by name, or its first image if others have that."""
    title: dict[int, str] = {}
    for number in range(len(items)):
        title.setdefault(joined.root(number), groups[number])
    often = Counter(title.values())
    label = {root: name if often[name] == 1 else items[root].name for root, name in title.items()}
    return {item.name: label[joined.root(number)] for number, item in enumerate(items)}


def grids_of(items: Mapping[int, Item]) -> dict[int, tuple[Any, Box]]:
    """Grid and window of the items that are GeoTIFFs."""
    found = {}
    for number, item in items.items():
        if isinstance(item, Row) or item.image.suffix.lower() not in _TIFF:
            continue
        try:
            grid = scene_facts(item.image).grid
        except DataError:
            continue  # a TIFF that is read as a picture
        whole = Box(0, 0, grid.height, grid.width)
        found[number] = (grid, item.box if isinstance(item, Window) else whole)
    return found
