"""Averages over a whole raster: taken tile by tile in a first pass, put in as constants in a second one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelwise.infer.predictor import Precision, computed
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.tiles import Tile, TilePlan
from pixelwise.types import Image


class _Reached(Exception):
    """All that is averaged has been computed."""


Sums = dict[str, tuple[NDArray[np.float64], int]]  # per pooling layer: sums over pixels of its map, how many


def summed(
    model: Segmenter,
    pools: Sequence[str],
    plan: TilePlan,
    windows: Iterable[tuple[Tile, Callable[[], Image]]],
    precision: Precision | None,
) -> Iterator[Sums]:
    """What each tile adds to the averages that the pooling layers `pools` take over the whole raster.

    The maps that they average are cut to the cores, which partition them as the raster is partitioned.
    """

    def run(tile: Tile) -> Callable[[Tensor], Sums]:
        def compute(images: Tensor) -> Sums:
            found = {}
            for name, features in _reached(model, pools, images).items():
                kept = features[(0, slice(None), *_share(tile, plan, features))].double()
                found[name] = kept.sum(dim=(1, 2)).cpu().numpy(), kept[0].numel()
            return found

        return compute

    for tile, image in windows:
        with computed(model, [image()], precision, run(tile)) as sums:
            yield sums


def averaged(pools: Sequence[str], parts: Iterable[Sums]) -> dict[str, Tensor]:
    """What the pooling layers return for the whole raster, float32 [1, C, 1, 1]; sums are added in the order given."""
    totals: dict[str, NDArray[np.float64]] = {}
    pixels = dict.fromkeys(pools, 0)
    for part in parts:
        for name, (sums, count) in part.items():
            totals[name] = totals[name] + sums if name in totals else sums
            pixels[name] += count
    return {
        name: torch.from_numpy(totals[name] / pixels[name]).float().reshape(1, -1, 1, 1) for name in pools
    }


@contextmanager
def held(model: nn.Module, averages: dict[str, Tensor]) -> Iterator[None]:
    """In the body, the named layers return these values whatever they are given."""

    def hook(value: Tensor) -> Callable[..., Tensor]:
        return lambda _, arguments, result: value.to(result).expand_as(result)

    hooks = [model.get_submodule(name).register_forward_hook(hook(value)) for name, value in averages.items()]
    try:
        yield
    finally:
        for registered in hooks:
            registered.remove()


def _reached(model: Segmenter, pools: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """What the layers `pools` are given; nothing is computed beyond the last of them."""
    taken: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def take(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            taken[name] = arguments[0]
            if len(taken) == len(pools):
                raise _Reached

        return take

    hooks = [model.get_submodule(name).register_forward_pre_hook(hook(name)) for name in pools]
    try:
        with torch.inference_mode():
            model(model.prepare(images))
    except _Reached:
        pass
    finally:
        for registered in hooks:
            registered.remove()
    return taken


def _share(tile: Tile, plan: TilePlan, features: Tensor) -> tuple[slice, slice]:
    """The part of a map that stands for the core; at the end of the raster with what the image was enlarged by."""
    found = []
    for axis in (0, 1):
        start, stop = tile.core[axis] - tile.window[axis], tile.core[axis + 2] - tile.window[axis]
        length = tile.window[axis + 2] - tile.window[axis]
        pace = -(-length // plan.stride) * plan.stride // features.shape[2 + axis]
        at_end = tile.core[axis + 2] == plan.size[axis]
        found.append(slice(start // pace, features.shape[2 + axis] if at_end else stop // pace))
    return found[0], found[1]
