"""Whether an image looks like those a model was trained on: bands and their order, range, colours, detail, features."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from pixelwise.infer.predictor import as_array, evaluating
from pixelwise.models.bundle import facts_of
from pixelwise.models.fingerprint import Fingerprint, Spread
from pixelwise.models.network import Network
from pixelwise.ops.bandshift import Directions, Vector, chroma, colors, detail, distance, views
from pixelwise.types import Image

ODD_PIXEL_SIZE = 1.5  # pixels larger or smaller than those of training by more than this factor
DIM = 4.0  # all values below this share of the dimmest image of training: another unit
BRIGHT = 2.0  # beyond the brightest

Kind = Literal["bands", "range", "order", "colors", "detail", "pixel size", "features"]


@dataclass(frozen=True)
class Sign:
    """One way in which an image differs from those of training: what was found, and a number with its limit."""

    kind: Kind
    found: str
    value: float
    limit: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": self.kind,
            "found": self.found,
            "value": float(f"{self.value:.4g}"),
            "limit": float(f"{self.limit:.4g}"),
        }


@dataclass(frozen=True, eq=False)
class Look:
    """Numbers of one image: quantiles per band, colours [5, C], detail [4], features [D] or None."""

    low: Vector
    high: Vector
    colors: Vector
    detail: Vector
    features: Vector | None


@dataclass(frozen=True)
class ShiftReport:
    """What is odd about an image.

    Attributes:
        signs: One for each way in which it differs.
        checked: False where the model does not say what it was trained on.
        look: What was compared, for judging several images together; None where the values are in another unit.
    """

    signs: tuple[Sign, ...] = ()
    checked: bool = True
    look: Look | None = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.signs

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of what was found."""
        return tuple(sign.kind for sign in self.signs)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {"checked": self.checked, "ok": self.ok, "signs": [sign.as_dict() for sign in self.signs]}


def input_shift(model: Network, image: Image, *, pixel_size: float | None = None) -> ShiftReport:
    """Compare an image with the fingerprint in the model's bundle; never an error for what the image holds.

    Args:
        model: With the facts of a bundle that has a fingerprint; others are not checked.
        image: [H, W, C], or [H, W] for one band, any dtype, values as in the file.
        pixel_size: Metres, if known.
    """
    known = facts_of(model).fingerprint
    if known is None:
        return ShiftReport(checked=False)
    image = image[:, :, None] if image.ndim == 2 else image
    if image.ndim != 3 or image.size == 0 or image.dtype.kind not in "buif":
        return ShiftReport(checked=False)
    signs = list(_pixel_size(known, pixel_size))
    if image.shape[2] != known.bands:
        found = f"{image.shape[2]} bands, training images have {known.bands}"
        return ShiftReport((*signs, Sign("bands", found, image.shape[2], known.bands)))
    if image.dtype.kind == "f":
        image = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    look = look_at(model, image, features=known.features is not None)
    odd = list(_range(known, look, image.dtype.name))
    if odd:  # all other numbers are in another unit
        return ShiftReport((*signs, *odd))
    gains = order_gains(look, known_directions(known.chroma))
    if max(gains, default=0.0) > known.order:
        signs.append(order_sign(gains, known.bands, known.order))
    return ShiftReport((*signs, *_unlike(known, look)), look=look)


def look_at(model: Network, image: Image, *, features: bool) -> Look:
    """Take the numbers of an image [H, W, C]; the encoder sees four views of 128 x 128 pixels at most."""
    seen = views(image)
    pixels = seen.reshape(-1, seen.shape[-1])
    low, high = np.quantile(pixels, (0.01, 0.99), axis=0)
    return Look(low, high, colors(pixels), detail(seen), _features(model, seen) if features else None)


def orders(bands: int) -> Iterator[tuple[int, ...]]:
    """Other orders of the bands: all for up to 4, else exchanges of two of the first 12.

    >>> list(orders(2))
    [(1, 0)]
    """
    own = tuple(range(bands))
    if bands <= 4:
        yield from (order for order in itertools.permutations(own) if order != own)
        return
    for one, two in itertools.combinations(own[:12], 2):
        swapped = list(own)
        swapped[one], swapped[two] = two, one
        yield tuple(swapped)


def order_gains(look: Look, where: Directions) -> tuple[float, ...]:
    """For each of the other orders, the logarithm of how much likelier the colours are in it than as they are."""
    dimensions = len(where.mean)

    def unlikely(order: Sequence[int]) -> float:
        return distance(chroma(look.colors[:, list(order)]), where) ** 2 * dimensions / 2

    bands = look.colors.shape[1]
    own = unlikely(range(bands))
    return tuple(own - unlikely(order) for order in orders(bands))


def order_sign(gains: Sequence[float], bands: int, limit: float) -> Sign:
    """The sign that says which order of the bands would fit best."""
    best = int(np.argmax(gains))
    text = " ".join(str(band + 1) for band in list(orders(bands))[best])
    return Sign("order", f"bands in the order {text} would fit better than as they are", gains[best], limit)


def compared(known: Fingerprint, look: Look) -> Iterator[tuple[Kind, str, Vector, Spread]]:
    """The vectors of an image beside the spreads of those of training."""
    yield "colors", "colours and brightness", look.colors.ravel(), known.color
    yield "detail", "detail (the size of pixels, sharpness or noise)", look.detail, known.detail
    if look.features is not None and known.features is not None:
        yield "features", "features of the encoder", look.features, known.features


def known_directions(spread: Spread) -> Directions:
    """The arrays of a spread."""
    mean = np.array(spread.mean)
    axes = np.array(spread.axes).reshape(len(spread.axes), len(mean))
    return Directions(mean, axes, np.array(spread.variances), spread.rest)


def _features(model: Network, seen: Image) -> Vector:
    device = next(model.parameters()).device
    with evaluating(model):
        pixels = torch.from_numpy(np.ascontiguousarray(seen.astype(np.float32))).permute(0, 3, 1, 2)
        maps = model.deepest(model.prepare(pixels.to(device)))
        return np.asarray(as_array(maps.float().mean(dim=(0, 2, 3))), np.float64)


def _pixel_size(known: Fingerprint, pixel_size: float | None) -> Iterator[Sign]:
    if pixel_size and known.pixel_size:
        ratio = pixel_size / known.pixel_size
        if not 1 / ODD_PIXEL_SIZE <= ratio <= ODD_PIXEL_SIZE:
            found = f"a pixel is {pixel_size:.3g} m, in training {known.pixel_size:.3g} m"
            yield Sign("pixel size", found, ratio, ODD_PIXEL_SIZE)


def _range(known: Fingerprint, look: Look, dtype: str) -> Iterator[Sign]:
    top, dimmest, highest = float(look.high.max()), min(known.dimmest), max(known.highest)
    if top < dimmest / DIM:
        yield Sign(
            "range",
            f"values up to {top:.4g}, in training at least up to {dimmest:.4g}",
            top,
            dimmest / DIM,
        )
    elif top > BRIGHT * highest:
        yield Sign(
            "range",
            f"values up to {top:.4g}, in training up to {highest:.4g}",
            top,
            BRIGHT * highest,
        )
    elif {dtype, known.dtype} == {"uint8", "uint16"}:
        yield Sign("range", f"values are {dtype}, in training {known.dtype}", top, highest)


def _unlike(known: Fingerprint, look: Look) -> Iterator[Sign]:
    for kind, words, vector, spread in compared(known, look):
        far = distance(vector, known_directions(spread))
        if far > spread.limit:
            found = f"{words} are {far / spread.usual:.1f} times as far from training as usual"
            yield Sign(kind, found, far, spread.limit)
