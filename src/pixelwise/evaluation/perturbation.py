"""Validation images as another camera, another light or another distance would have shown them.

Images to come are seldom as near to the training images as the validation split is: a network is right less often on
them, and as sure as before. Temperatures fitted on perturbed images allow for that (Tomani et al.: Post-hoc
Uncertainty Calibration for Domain Drift Scenarios, 2021). Three kinds, each at three strengths, come in turn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from pixelwise.types import Image, Labels

STRENGTHS = (0.5, 1.0, 1.5)
KINDS = ("light", "blur", "size")
GAMMA, GAIN, SHIFT = 0.35, 0.15, 0.1  # deviations: of log gamma, of the log gain per band, of an offset
SIGMA = 1.5  # of the blur, in pixels
SIZE = 0.5  # log of the factor by which images are enlarged or reduced
WAYS = len(KINDS) * len(STRENGTHS)


def perturbed(image: Image, labels: Labels, way: int, rng: np.random.Generator) -> tuple[Image, Labels]:
    """An image [H, W, C] and its labels in one of `WAYS` ways; dtype and range of values stay.

    Args:
        image: uint8, uint16 or float32.
        labels: uint8 [H, W].
        way: 0..WAYS - 1.
        rng: What is left to chance.

    >>> image, labels = np.full((8, 8, 1), 9, np.uint8), np.zeros((8, 8), np.uint8)
    >>> perturbed(image, labels, KINDS.index("blur"), np.random.default_rng(0))[0].mean()
    np.float64(9.0)
    """
    kind, strength = KINDS[way % len(KINDS)], STRENGTHS[way // len(KINDS) % len(STRENGTHS)]
    if kind == "size":
        return _resized(image, labels, float(np.exp(rng.choice([-1, 1]) * SIZE * strength)))
    low, high = _range(image)
    values = (image.astype(np.float32) - low) / (high - low)
    if kind == "light":
        gamma = np.exp(rng.normal(0, GAMMA * strength))
        gains = np.exp(rng.normal(0, GAIN * strength, image.shape[2]))
        values = values**gamma * gains + rng.normal(0, SHIFT * strength)
    else:
        values = gaussian_filter(values, (SIGMA * strength, SIGMA * strength, 0))
    return _back(values, image.dtype, low, high), labels


def _range(image: Image) -> tuple[float, float]:
    if image.dtype.kind == "u":
        return 0.0, float(np.iinfo(image.dtype).max)
    low, high = float(image.min()), float(image.max())
    return low, high if high > low else low + 1


def _back(values: NDArray[Any], dtype: np.dtype[Any], low: float, high: float) -> Image:
    scaled = values.clip(0, 1) * (high - low) + low
    return np.rint(scaled).astype(dtype) if dtype.kind == "u" else scaled.astype(dtype)


def _resized(image: Image, labels: Labels, factor: float) -> tuple[Image, Labels]:
    """Enlarged by `factor` and cut at the middle to the size it had, or reduced."""
    height, width = labels.shape
    if factor > 1:  # the part that will fill the frame
        rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
        top, left = (height - rows) // 2, (width - columns) // 2
        image = image[top : top + rows, left : left + columns]
        labels = labels[top : top + rows, left : left + columns]
    by = (factor, factor)
    grown = zoom(image.astype(np.float32), (*by, 1), order=1, grid_mode=True, mode="nearest")
    if image.dtype.kind == "u":
        grown = np.rint(grown)
    chosen = zoom(labels, by, order=0, grid_mode=True, mode="nearest")
    return grown.astype(image.dtype), chosen
