"""The cheap part of the search for leaks, for a pass over the data that reads every image anyway."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence

from pixelwise.data.items import Item, Row, Window
from pixelwise.data.leaks import grids_of, leak_of, likeness, told
from pixelwise.data.leaksearch import Match, Sketchbook, near_duplicates
from pixelwise.errors import DataError, MissingExtraError
from pixelwise.geo.footprints import same_ground
from pixelwise.types import SPLITS, Image, SplitName

_LISTED = 8  # pairs on the same ground that a warning spells out
_REMEDY = (
    "keep them in one split, or scores are too good: "
    "`pixelwise check DATA --leaks --split-to FILE.csv` proposes one"
)


class LeakWatch:
    """The cheap part of the search, for a pass over the data that reads every image anyway."""

    def __init__(self) -> None:
        self.book = Sketchbook(detailed=False)
        self.items: list[Item] = []
        self.homes: list[SplitName] = []

    def add(self, item: Item, split: SplitName, image: Image) -> None:
        """Remember an image [H, W, C]."""
        self.book.add(image)
        self.items.append(item)
        self.homes.append(split)

    def warnings(self) -> list[DataError]:
        """One warning for each two splits that hold near duplicates, and one for each two that show the same ground.

        Files that are equal byte by byte are left out. Without the extra `geo` no ground is compared.
        """
        found = []
        for position, split in enumerate(SPLITS):
            for other in SPLITS[position + 1 :]:
                one = [n for n, home in enumerate(self.homes) if home == split]
                two = [n for n, home in enumerate(self.homes) if home == other]
                pairs = [match for match in near_duplicates(self.book, one, two) if not self._equal(match)]
                if pairs:
                    found.append(self._warning(pairs))
        return found + self._grounds()

    def _grounds(self) -> list[DataError]:
        """A warning for each two splits whose GeoTIFFs overlap on the earth; scenes are kept apart when cut."""
        tiles = {number: item for number, item in enumerate(self.items) if not isinstance(item, Window)}
        found: dict[tuple[SplitName, SplitName], list[Match]] = {}
        try:
            grids = grids_of(tiles)
            for one, two, share in same_ground(grids):
                first, second = sorted((one, two), key=lambda number: SPLITS.index(self.homes[number]))
                match = likeness(self.book, first, second)._replace(share=share)
                splits = self.homes[first], self.homes[second]
                if splits[0] != splits[1] and not self._equal(match):
                    found.setdefault(splits, []).append(match)
        except MissingExtraError:
            return []
        return [self._ground_warning(pairs) for pairs in found.values()]

    def _ground_warning(self, pairs: Sequence[Match]) -> DataError:
        pairs = sorted(pairs, key=lambda match: -match.share)
        leaks = [leak_of("same ground", match, self.items, self.homes) for match in pairs]
        listed = "; ".join(
            f"{leak.first} ({leak.splits[0]}) and {leak.second} ({leak.splits[1]}), {leak.share:.0%}"
            for leak in leaks[:_LISTED]
        )
        more = f"; and {len(leaks) - _LISTED} more" if len(leaks) > _LISTED else ""
        first, second = leaks[0].splits
        number = f"{len(pairs)} pair{'s' if len(pairs) > 1 else ''} of images"
        return DataError(
            f"{number} in {first} and {second} show the same ground: {listed}{more}",
            file=self.items[pairs[0].first].image,
            code="split-ground",
            count=len(pairs),
            remedy=_REMEDY,
        )

    def _equal(self, match: Match) -> bool:
        if self.book.digests[match.first] != self.book.digests[match.second]:
            return False
        one, two = self.items[match.first], self.items[match.second]
        if isinstance(one, (Row, Window)) or isinstance(two, (Row, Window)):
            return True
        return filecmp.cmp(one.image, two.image, shallow=False)

    def _warning(self, pairs: Sequence[Match]) -> DataError:
        pairs = sorted(pairs, key=lambda match: -match.similarity)
        leaks = [leak_of("near duplicate", match, self.items, self.homes) for match in pairs[:3]]
        more = " ..." if len(pairs) > 3 else ""
        first, second = leaks[0].splits
        number = f"{len(pairs)} pair{'s' if len(pairs) > 1 else ''} of near duplicates"
        return DataError(
            f"{number} in {first} and {second}: {'; '.join(told(leak) for leak in leaks)}{more}",
            file=self.items[pairs[0].first].image,
            remedy=_REMEDY,
        )
