"""Tiles faded into one another: probabilities weighted by the distance from the tile's edge, one strip at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pixelwise.ops.temperature import sharpened
from pixelwise.ops.tiles import Stretch, Tile, TilePlan
from pixelwise.types import Labels


class Blender:
    """Takes tiles row by row and gives back finished rows of the map.

    The weights of all tiles at a pixel sum to 1: each fades in and out linearly over twice the overlap, half of it
    on either side of the border between two cores. Memory: the probabilities of one row of tiles.

    Args:
        plan: With a halo of the overlap on both sides, at most half as long as a core.
        classes: Planes of probabilities.
        row: The first row of tiles that will be added.
        temperatures: One for every class, by which the probability of a finished label is calibrated.
    """

    def __init__(
        self, plan: TilePlan, classes: int, row: int = 0, temperatures: Sequence[float] | None = None
    ) -> None:
        self.plan, self.row, self.temperatures = plan, row, temperatures
        self.top = plan.rows[row].first
        height = plan.rows[row].last - self.top
        self.sums = np.zeros((classes, height, plan.size[1]), np.float32)

    def add(self, tile: Tile, probabilities: NDArray[np.float32]) -> None:
        """Add the probabilities [K, h, w] of a tile's window; it belongs to the row that is being filled."""
        rows, columns = self.plan.rows[tile.row], self.plan.columns[tile.column]
        down = _ramp(rows, self.plan.size[0], self.plan.halo[0])
        across = _ramp(columns, self.plan.size[1], self.plan.halo[0])
        weighted = probabilities * (down[:, None] * across[None, :])
        self.sums[:, : tile.window.height, columns.first : columns.last] += weighted

    def finish(self) -> tuple[int, Labels, NDArray[np.float32]]:
        """The row of tiles is complete: first final row, labels [h, W] and their probability; the rest stays."""
        plan, row = self.plan, self.row
        end = plan.size[0] if row + 1 == len(plan.rows) else plan.rows[row + 1].first
        final = self.sums[:, : end - self.top]
        top, labels = self.top, final.argmax(axis=0).astype(np.uint8)
        if self.temperatures is None:
            sure = final.max(axis=0, initial=0)
        else:
            sure = sharpened(final, self.temperatures)
        if row + 1 < len(plan.rows):
            rest = self.sums[:, end - self.top :]
            following = plan.rows[row + 1]
            sums = np.zeros((len(self.sums), following.last - following.first, plan.size[1]), np.float32)
            sums[:, : rest.shape[1]] = rest
            self.sums, self.top, self.row = sums, following.first, row + 1
        return top, labels, sure


class Rows:
    """Finished rows of a map, handed out core by core."""

    def __init__(self, plan: TilePlan, row: int, top: int) -> None:
        self.plan, self.row, self.top = plan, row, top
        self.parts: list[tuple[Labels, NDArray[np.float32]]] = []

    def add(
        self, labels: Labels, sure: NDArray[np.float32]
    ) -> Iterator[tuple[Tile, Labels, NDArray[np.float32]]]:
        """Take the next rows; yield the cores that are complete with them."""
        self.parts.append((labels, sure))
        bottom = self.top + sum(len(part) for part, _ in self.parts)
        whole = [np.concatenate(both) for both in zip(*self.parts, strict=True)]
        while self.row < len(self.plan.rows) and self.plan.rows[self.row].stop <= bottom:
            stretch = self.plan.rows[self.row]
            rows = slice(stretch.start - self.top, stretch.stop - self.top)
            for tile in self.plan.in_row(self.row):
                columns = slice(tile.core.left, tile.core.right)
                yield tile, whole[0][rows, columns], whole[1][rows, columns]
            self.row += 1
        done = self.plan.rows[self.row - 1].stop if self.row else 0
        kept = max(0, done - self.top)
        self.top += kept
        self.parts = [(whole[0][kept:].copy(), whole[1][kept:].copy())]


def _ramp(stretch: Stretch, length: int, overlap: int) -> NDArray[np.float32]:
    weights = np.ones(stretch.last - stretch.first, np.float32)
    rising = (np.arange(2 * overlap, dtype=np.float32) + 0.5) / max(1, 2 * overlap)
    if stretch.first > 0:
        weights[: 2 * overlap] = rising
    if stretch.last < length:
        weights[len(weights) - 2 * overlap :] = rising[::-1]
    return weights
