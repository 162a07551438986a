"""A raster read at another pixel size, on a grid that covers the same ground from corner to corner."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.geo.facts import MAX_PIXELS, RasterFacts
from pixelwise.ops.tiles import Box

SAME = 0.01  # a pixel size that is off by no more is left as it is
CHUNK = 1 << 20  # values of the source that are resampled at a time
TIE = 1e-9  # means of whole numbers that end in a half are rounded up, however the sums were made

Window = tuple[NDArray[Any], NDArray[np.bool_] | None]


class Reader(Protocol):
    """What reads windows of a raster."""

    facts: RasterFacts

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    def read(self, box: Box, *, drop_alpha: bool = False) -> Window:
        """The image [H, W, C] in a box, and where it holds no data."""
        ...


class ResampledReader:
    """Windows of a raster at another pixel size.

    Larger pixels are means over those they cover, smaller ones are interpolated (bilinear). Pixels without data count
    nowhere, and one holds no data where nothing under it does. Rows and columns keep their directions: nothing is
    turned or reprojected.

    Attributes:
        facts: Those of the raster with the new size, place and pixel size.
    """

    def __init__(self, reader: Reader, pixel_size: float) -> None:
        self.reader = reader
        self.facts = _facts(reader.facts, pixel_size)
        self.steps = tuple(
            before / after for before, after in zip(reader.size, self.facts.size, strict=True)
        )  # pixels of the source in one, down and across

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.facts.size

    def read(self, box: Box, *, drop_alpha: bool = False) -> Window:
        """As `RasterReader.read`, a few rows at a time, so that a window costs no more memory than its result."""
        per_row = math.ceil(self.steps[0]) * math.ceil(box.width * self.steps[1]) * self.facts.bands
        rows = max(1, CHUNK // per_row)
        parts = [
            self._read(Box(top, box.left, min(top + rows, box.bottom), box.right), drop_alpha)
            for top in range(box.top, box.bottom, rows)
        ]
        image = np.concatenate([part for part, _ in parts])
        if all(empty is None for _, empty in parts):
            return image, None
        return image, np.concatenate(
            [np.zeros(part.shape[:2], bool) if empty is None else empty for part, empty in parts]
        )

    def _read(self, box: Box, drop_alpha: bool) -> Window:
        height, width = self.reader.size
        top, bottom = _span(box.top, box.bottom, self.steps[0], height)
        left, right = _span(box.left, box.right, self.steps[1], width)
        values, empty = self.reader.read(Box(top, left, bottom, right), drop_alpha=drop_alpha)
        weighed, there = values.astype(np.float64), None
        if empty is not None:
            weighed[empty] = 0  # also what is not a number
            there = (~empty).astype(np.float64)
        for axis, (first, stop, begin, step) in enumerate(
            ((box.top, box.bottom, top, self.steps[0]), (box.left, box.right, left, self.steps[1]))
        ):
            places = np.arange(first, stop)
            weighed = _along(weighed, places, step, begin, axis)
            there = None if there is None else _along(there, places, step, begin, axis)
        nothing = None
        if there is not None:
            nothing = there < TIE
            weighed /= np.where(nothing, 1.0, there)[:, :, None]
            nothing = nothing if nothing.any() else None
        image = _typed(weighed, values.dtype)
        if nothing is not None:
            fill = [0 if value is None else value for value in self.facts.nodata[: image.shape[2]]]
            image[nothing] = np.array(fill).astype(image.dtype)
        return image, nothing


def same_pixel_size(facts: RasterFacts, pixel_size: float) -> bool:
    """Whether the pixels of a raster are of that size already, to a percent.

    Raises:
        DataError: the pixel size of the raster is unknown.
    """
    own = facts.place.pixel_size
    if not own or facts.place.transform is None:
        raise DataError(
            "does not say how large its pixels are in metres, so it cannot be resampled",
            file=facts.name,
            remedy="give it a coordinate system and a transform, or map it as it is",
        )
    return abs(own / pixel_size - 1) <= SAME


def _facts(facts: RasterFacts, pixel_size: float) -> RasterFacts:
    same_pixel_size(facts, pixel_size)
    own, transform = facts.place.pixel_size or 0.0, facts.place.transform or (1, 0, 0, 0, 1, 0)
    height, width = (max(1, round(side * own / pixel_size)) for side in facts.size)
    if height * width > MAX_PIXELS:
        raise DataError(
            f"would have {height} x {width} pixels of {pixel_size:.3g} m",
            file=facts.name,
            remedy="map it without --resample, or in parts",
        )
    down, across = facts.height / height, facts.width / width
    a, b, c, d, e, f = transform
    place = replace(
        facts.place,
        transform=(a * across, b * down, c, d * across, e * down, f),
        pixel_size=own * math.sqrt(down * across),
    )
    return replace(facts, height=height, width=width, place=place)


def _span(first: int, stop: int, step: float, limit: int) -> tuple[int, int]:
    """The pixels of the source that those from `first` to `stop` - 1 need, neighbours for interpolation included."""
    if step >= 1:
        return min(math.floor(first * step + TIE), limit - 1), min(math.ceil(stop * step - TIE), limit)
    low, high = (first + 0.5) * step - 0.5, (stop - 0.5) * step - 0.5
    return max(0, math.floor(low)), min(limit, math.floor(high) + 2)


def _along(
    values: NDArray[np.float64], places: NDArray[np.int64], step: float, begin: int, axis: int
) -> NDArray[np.float64]:
    """One axis resampled: `values` start at pixel `begin` of the source, `places` are pixels of the result."""
    moved = np.moveaxis(values, axis, 0)
    count = len(moved)
    if step < 1:
        at = np.clip((places + 0.5) * step - 0.5 - begin, 0, count - 1)
        lower = np.minimum(at.astype(np.int64), max(0, count - 2))
        share = (at - lower).reshape(-1, *[1] * (moved.ndim - 1))
        found = moved[lower] * (1 - share) + moved[np.minimum(lower + 1, count - 1)] * share
    else:  # differences of running sums at the edges of the new pixels, which may lie inside old ones
        sums = np.concatenate([np.zeros_like(moved[:1]), np.cumsum(moved, axis=0)])
        edges = np.clip(np.append(places, places[-1] + 1) * step - begin, 0, count)
        whole = np.minimum(np.floor(edges + TIE).astype(np.int64), count)
        share = np.maximum(edges - whole, 0).reshape(-1, *[1] * (moved.ndim - 1))
        reached = sums[whole] + share * moved[np.minimum(whole, count - 1)]
        found = np.diff(reached, axis=0) / np.diff(edges).reshape(-1, *[1] * (moved.ndim - 1))
    return np.moveaxis(found, 0, axis)


def _typed(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """In the type of the raster, whole numbers rounded to the nearest."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.floor(values + 0.5 + TIE), limits.min, limits.max).astype(dtype)
