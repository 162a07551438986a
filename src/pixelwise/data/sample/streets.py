"""The road network of a generated town: a bent lattice whose junctions all hang together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]  # [N, 2], x to the right and y downwards, in pixels of the town


@dataclass(frozen=True)
class Road:
    """A road between two junctions: its centre line, its width in pixels and whether it is paved."""

    line: Points
    width: int
    paved: bool


@dataclass(frozen=True)
class Lattice:
    """Junctions [rows, columns, 2] and the roads between them; `pairs` are the flat indices of their ends."""

    nodes: NDArray[np.float64]
    roads: tuple[Road, ...]
    pairs: frozenset[tuple[int, int]]

    def cell(self, row: int, column: int) -> Points:
        """Corners [4, 2] of the cell between four junctions, clockwise on screen."""
        n = self.nodes
        return np.stack([n[row, column], n[row, column + 1], n[row + 1, column + 1], n[row + 1, column]])

    def sides(self, row: int, column: int) -> list[bool]:
        """For each side of the cell, in the order of its corners: does a road run along it."""
        width = self.nodes.shape[1]
        first = row * width + column
        corners = [first, first + 1, first + width + 1, first + width]
        ends = zip(corners, corners[1:] + corners[:1], strict=True)
        return [(min(pair), max(pair)) in self.pairs for pair in ends]


def lay_streets(
    rng: np.random.Generator, width: int, height: int, *, spacing: float, loops: float, unpaved: float
) -> Lattice:
    """Lay out the roads of a town of `width` x `height` pixels.

    Args:
        rng: source of randomness.
        width: pixels.
        height: pixels.
        spacing: mean distance of junctions, in pixels.
        loops: share of the possible roads beyond a spanning tree that are built, 0..1.
        unpaved: share of the side roads that are dirt, 0..1.
    """
    nodes = _junctions(rng, width, height, spacing)
    rows, columns = nodes.shape[:2]
    flat = nodes.reshape(-1, 2)
    index = np.arange(rows * columns).reshape(rows, columns)
    pairs = np.concatenate(
        [
            np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], axis=1),
            np.stack([index[:-1].ravel(), index[1:].ravel()], axis=1),
        ]
    )
    inside: Mask = np.asarray(np.all((flat > 8) & (flat < np.array([width - 8, height - 8])), axis=1))
    ends_inside = inside[pairs].sum(axis=1)
    # Avenues: whole rows and columns of the lattice that are cheap for the spanning tree.
    avenue_row: Mask = np.less(rng.random(rows), 0.4)
    avenue_column: Mask = np.less(rng.random(columns), 0.4)
    horizontal = np.arange(len(pairs)) < rows * (columns - 1)
    start_row, start_column = pairs[:, 0] // columns, pairs[:, 0] % columns
    avenue = np.where(horizontal, avenue_row[start_row], avenue_column[start_column])
    cost = rng.uniform(0.5, 1.5, size=len(pairs)) - 0.4 * avenue
    within = ends_inside == 2
    graph = coo_array((cost[within], (pairs[within, 0], pairs[within, 1])), shape=(len(flat), len(flat)))
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    in_tree = np.isin(pairs[:, 0] * len(flat) + pairs[:, 1], tree.row.astype(np.int64) * len(flat) + tree.col)
    built = in_tree | (within & ((rng.uniform(size=len(pairs)) < loops) | avenue))
    built |= (ends_inside == 1) & ((rng.uniform(size=len(pairs)) < 0.5) | avenue)
    roads = []
    for number in np.flatnonzero(built):
        start, end = pairs[number]
        roads.append(_road(rng, flat[start], flat[end], avenue=bool(avenue[number]), unpaved=unpaved))
    kept = frozenset((int(a), int(b)) for a, b in pairs[built])
    return Lattice(nodes, tuple(roads), kept)


def _junctions(rng: np.random.Generator, width: int, height: int, spacing: float) -> NDArray[np.float64]:
    turn = rng.uniform(-0.35, 0.35)
    reach = np.hypot(width, height) / 2 + spacing
    steps = int(np.ceil(reach / spacing))
    grid = np.arange(-steps, steps + 1) * spacing
    x, y = np.meshgrid(grid, grid)
    jitter = rng.uniform(-0.16, 0.16, size=(2, *x.shape)) * spacing
    # A slow wave bends the whole lattice, so that no two streets are parallel for long.
    phase = rng.uniform(0, 2 * np.pi, size=4)
    bend = 0.35 * spacing
    u = (
        x
        + jitter[0]
        + bend * np.sin(y / (3.1 * spacing) + phase[0])
        + bend * np.sin(x / (4 * spacing) + phase[1])
    )
    v = (
        y
        + jitter[1]
        + bend * np.sin(x / (2.7 * spacing) + phase[2])
        + bend * np.sin(y / (4 * spacing) + phase[3])
    )
    turned = np.stack([u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)], axis=-1)
    centred: NDArray[np.float64] = turned + np.array([width / 2, height / 2])
    return centred


def _road(rng: np.random.Generator, start: Points, end: Points, *, avenue: bool, unpaved: float) -> Road:
    along = end - start
    across = np.array([-along[1], along[0]])
    middle = (start + end) / 2 + across * rng.normal(0.0, 0.05)
    t = np.linspace(0.0, 1.0, 9)[:, None]
    line = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
    paved = avenue or rng.uniform() >= unpaved
    width = int(rng.integers(22, 26) if avenue else rng.integers(17, 20) if paved else rng.integers(15, 19))
    return Road(line, width, paved)
