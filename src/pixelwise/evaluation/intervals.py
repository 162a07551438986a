"""Intervals of scores that are made of counts per image.

A score of a dataset is a function of counts added up over its images. Leaving out one unit (an image, or a group of
images that are alike) at a time tells how much each moves the score (the jackknife); the spread of these influences
gives a standard error, and their kurtosis how far it can be trusted: few units, or a class that lies in few of them,
make a standard error uncertain, and a quantile of Student's t with the matching degrees of freedom makes the interval
wider. Scores lie between 0 and 1, so the interval is made on a logit scale. Where units are blocks cut out of a film or
a scene, the variance is raised by what the likeness of neighbouring images hides from blocks.

Why not the bootstrap: its percentiles were too short in simulations (docs/intervals.md has the figures).

Efron, Stein: The Jackknife Estimate of Variance, Annals of Statistics 9, 1981
(https://doi.org/10.1214/aos/1176345462). Satterthwaite: An Approximate Distribution of Estimates of Variance
Components, Biometrics Bulletin 2, 1946 (https://doi.org/10.2307/3002019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.classification import Interval
from pixelwise.evaluation.units import Units
from pixelwise.ops.rates import or_none

Floats = NDArray[np.float64]
Measure = Callable[[Floats], Floats]
"""From counts added up [..., K, parts] to scores [..., S], NaN where undefined."""

TINY = 1e-300
_FARTHEST = 20.0  # in the logarithm of a length: a factor of half a milliard says that nothing is known
ROUNDING = 1e-12  # influences below are those of sums in floating point

RELIABLE = 5.0
"""Effective units below which the interval of a single score is marked, in addition."""

INDEPENDENT = 50.0
"""Independent units below which every interval is marked: rare classes do not show in the influences how much they
vary, and the images of a short film or the tiles of a scene not how alike they are. From so many on 95 % were true in
simulations, at 20 were not."""

NOTE = (
    f"fewer than {INDEPENDENT:.0f} independent images (or groups), or too few of them hold what this score is made of; "
    "the interval may miss more often than 1 in 20"
)


@dataclass(frozen=True)
class Estimate:
    """A score with its 95 % interval.

    Attributes:
        value: The score; NaN where undefined.
        interval: Where it would lie over very many images like these, in 95 of 100 cases; NaN where undefined.
        deviation: Standard error.
        effective_units: Of how many equal units the score is made in effect: a class in two images has two at most.
        reliable: Whether simulations found the interval true at so many independent units and effective ones.
    """

    value: float
    interval: Interval
    deviation: float
    effective_units: float
    reliable: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, what is undefined as None."""
        low, high = self.interval
        return {
            "value": or_none(self.value),
            "interval": None if math.isnan(low) else [low, high],
            "standard_error": or_none(self.deviation),
            "effective_units": round(self.effective_units, 1),
            "interval_reliable": self.reliable,
        }


@dataclass(frozen=True, eq=False)
class Influences:
    """Scores [S] and how far each unit [units, S] and each image [images, S] moves them."""

    values: Floats
    of_unit: Floats
    of_image: Floats
    units: Units
    means: tuple[int, ...] = ()  # which scores are means over classes

    @property
    def variance(self) -> Floats:
        """Of each score [S], over units."""
        units = self.units.count
        result: Floats = (
            (units - 1) / units * (self.of_unit**2).sum(0) * _stretch(self.correlation, self.units)
        )
        return result

    @property
    def inflation(self) -> Floats:
        """How many images of each score [S] say as much as one that is like no other."""
        if self.units.near is not None:
            return self.units.near.inflation(self.correlation)
        result: Floats = (1 + self.correlation) / (1 - self.correlation)
        return result

    @property
    def correlation(self) -> Floats:
        """Of neighbouring images, for each score [S]; 0 where units are independent of each other."""
        if self.units.near is not None:
            return self.units.near.correlation(self.of_image)
        chain = np.array(self.units.chain)
        if not len(chain):
            return np.zeros(len(self.values))
        follows = chain[1:] == chain[:-1]
        products = (self.of_image[1:] * self.of_image[:-1])[follows].sum(0)
        raw = products / np.maximum((self.of_image**2).sum(0), TINY)
        # The mean that was taken off makes it too low by as much, to first order (Kendall 1954).
        result: Floats = np.clip(raw + (1 + 3 * raw) / len(chain), 0.0, 0.97)
        return result

    @property
    def effective(self) -> Floats:
        """Effective number of units of each score [S]: so many equal influences would be as concentrated."""
        table = self.of_image if self.units.alike else self.of_unit
        spread: Floats = (table**2).sum(0) ** 2 / np.maximum((table**4).sum(0), TINY)
        result: Floats = spread / self.inflation
        return result

    @property
    def reliable(self) -> NDArray[np.bool_]:
        """Whether simulations found the interval of each score [S] true at so many units."""
        # how alike a film's frames are, or a scene's tiles, a class that few of them show does not tell
        if len(self.of_image) / self.inflation.max() < INDEPENDENT:
            return np.zeros(len(self.values), np.bool_)
        result: NDArray[np.bool_] = self.effective >= RELIABLE
        for place in self.means:  # whose influences do not tell how few units a rare class has
            result[place] = True
        return result

    @property
    def freedom(self) -> Floats:
        """Degrees of freedom of the variance [S], from the kurtosis of the influences: normal ones have units - 1."""
        units = self.units.count
        kurtosis = units * (self.of_unit**4).sum(0) / np.maximum((self.of_unit**2).sum(0) ** 2, TINY)
        result: Floats = np.clip(2 * units / np.maximum(kurtosis - 1, TINY), 1, max(1, units - 1))
        return result


def influences(counts: NDArray[Any], measure: Measure, units: Units, *, mean: bool = False) -> Influences:
    """Scores of counts [images, K, parts], and how far each unit moves them; `mean` adds the mean as the last score.

    The mean is over the scores that are defined.

    >>> from pixelwise.evaluation.units import units_of
    >>> counts = np.array([[[3, 4]], [[1, 4]]])
    >>> found = influences(counts, lambda sums: sums[..., 0] / sums[..., 1], units_of(["a", "b"]))
    >>> found.values.tolist(), found.of_unit.tolist()
    ([0.5], [[0.25], [-0.25]])
    """
    total = counts.sum(0).astype(np.float64)
    values = measure(total)
    defined = ~np.isnan(values)

    def moved(parts: Floats) -> Floats:
        without = measure(total - parts)
        # A class that a single unit holds vanishes with it; nothing is known of how it varies.
        without = np.where(np.isnan(without), values, without)
        if mean:
            without = np.concatenate([without, _average(without, defined)], axis=-1)
        result: Floats = without.mean(0) - without
        return np.where(np.abs(result) < ROUNDING, 0.0, result)

    of_unit = moved(units.sums(counts))
    of_image = moved(counts.astype(np.float64)) if units.alike else of_unit
    if mean:
        values = np.concatenate([values, _average(values, defined)])
    return Influences(values, of_unit, of_image, units, (len(values) - 1,) if mean else ())


def estimates(found: Influences, *, length: bool = False) -> tuple[Estimate, ...]:
    """Each score with its interval; `length` for what has no upper end, such as a distance."""
    between = length_interval if length else share_interval
    columns = zip(found.values, found.variance, found.freedom, found.effective, found.reliable, strict=True)
    units = found.units.count
    return tuple(
        Estimate(
            value=float(value),
            interval=between(float(value), float(variance), float(freedom), units),
            deviation=math.sqrt(variance) if not math.isnan(value) else math.nan,
            effective_units=float(effective),
            reliable=bool(reliable),
        )
        for value, variance, freedom, effective, reliable in columns
    )


def share_interval(value: float, variance: float, freedom: float, units: int) -> Interval:
    """A 95 % interval of a score in 0..1 with a variance of so many degrees of freedom, symmetric in its logit.

    Where no unit moves the score, as when all is right, the bound is what so many units without a failure leave
    possible.
    """
    if math.isnan(value):
        return math.nan, math.nan
    if not 0 < value < 1 or variance <= 0:
        alone = 0 < value < 1  # a single unit holds all that the score is made of
        reach = 1 - 0.025 ** (1 / (1 if alone else max(1, units)))
        return max(0.0, value - reach), min(1.0, value + reach)
    centre = math.log(value / (1 - value))
    reach = quantile(freedom) * math.sqrt(variance) / (value * (1 - value))
    return _share(centre - reach), _share(centre + reach)


def length_interval(value: float, variance: float, freedom: float, _units: int) -> Interval:
    """A 95 % interval of a score above 0, symmetric in its logarithm; undefined where no unit moves the score."""
    if not value > 0 or variance <= 0:
        return math.nan, math.nan
    reach = min(quantile(freedom) * math.sqrt(variance) / value, _FARTHEST)
    return value * math.exp(-reach), value * math.exp(reach)


def quantile(freedom: float) -> float:
    """Student's t that 97.5 % stay below."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _share(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def _average(table: Floats, defined: NDArray[np.bool_]) -> Floats:
    """The mean over the defined scores [..., 1]; NaN where there is none."""
    if not defined.any():
        return np.full((*table.shape[:-1], 1), math.nan)
    result: Floats = table[..., defined].mean(-1, keepdims=True)
    return result


def _stretch(correlation: Floats, units: Units) -> Floats:
    """How much larger the variance is than blocks show whose ends are alike, for an autoregressive chain.

    Blocks of L images in chains of m: their sums vary by V(L), chains by V(m), and taking off the common mean hides
    a share.
    """
    if units.near is not None:
        return units.near.stretch(correlation)
    if not units.chain:
        return np.ones_like(correlation)
    images, blocks, chains = len(units.chain), units.count, len(set(units.chain))
    whole = chains * _chain_variance(correlation, images / chains)
    seen = blocks / (blocks - 1) * (blocks * _chain_variance(correlation, images / blocks) - whole / blocks)
    return np.maximum(1.0, whole / seen)


def _chain_variance(correlation: Floats, length: float) -> Floats:
    """Variance of the sum of so many values of variance 1, each correlated with the one before."""
    rest = 1 - correlation
    result: Floats = length * (1 + correlation) / rest - 2 * correlation * (1 - correlation**length) / rest**2
    return result
