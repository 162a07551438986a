"""What the images of a training looked like, in the few numbers that the shift alarm compares new images with."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def _short(values: tuple[float, ...]) -> tuple[float, ...]:
    """Five digits are enough and keep a bundle small."""
    return tuple(float(f"{value:.5g}") for value in values)


Values = Annotated[tuple[float, ...], AfterValidator(_short)]


class Spread(BaseModel):
    """Where vectors of one kind lie: their mean, the directions in which they vary most, and how much elsewhere.

    Attributes:
        mean: [D].
        axes: Directions of length 1, [k][D], the largest variance first.
        variances: Along them, [k].
        rest: Variance in each other direction.
        limit: Distance beyond which a vector is unlike those of training; from images that were held out.
        usual: Median distance of those.
        mean_limit: The same limit for the mean vector of several images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: Values
    axes: tuple[Values, ...]
    variances: Values
    rest: float
    limit: float
    usual: float
    mean_limit: float


class Fingerprint(BaseModel):
    """The images that a network was trained on.

    Attributes:
        images: How many were looked at.
        bands: Bands.
        dtype: Type of the files.
        size: Median height and width.
        pixel_size: Metres, where GeoTIFFs say so.
        lowest: Per band, the smallest 1 % quantile of an image.
        highest: Per band, the largest 99 % quantile of an image.
        dimmest: Per band, the smallest 99 % quantile of an image.
        color: Of `ops.bandshift.colors`.
        chroma: Of `ops.bandshift.chroma`.
        detail: Of `ops.bandshift.detail`.
        features: Of the mean of the encoder's deepest map; None where it cannot be taken from small views.
        order: Logarithm of the likelihood by which an image may fit better with its bands exchanged.
        order_mean: The same for the mean over several images and one exchange.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int
    bands: int
    dtype: str
    size: tuple[int, int]
    pixel_size: float | None = None
    lowest: Values
    highest: Values
    dimmest: Values
    color: Spread
    chroma: Spread
    detail: Spread
    features: Spread | None = None
    order: float
    order_mean: float
