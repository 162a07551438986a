"""The few values that cross module borders, and the names of the arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Label of the pixels that count nowhere, inside the program."""

MAX_CLASSES = 255
"""Labels are uint8 and 255 means ignore."""

Image = NDArray[Any]  # [H, W, C], uint8, uint16 or float32, values as stored in the file
Labels = NDArray[np.uint8]  # [H, W], class indices and IGNORE
Confusion = NDArray[np.int64]  # [K, K], rows truth, columns prediction
SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class ClassSpec:
    """One class: its name and its colour as `#rrggbb`; its index is its position in the list."""

    name: str
    color: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three values in 0..255."""
        value = int(self.color[1:], 16)
        return value >> 16, value >> 8 & 255, value & 255


@dataclass(frozen=True)
class Normalization:
    """Per-band `(value - mean) / std`, in the units of the image file."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.mean)


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its labels: `image` [H, W, C] as stored, `labels` uint8 [H, W]."""

    name: str
    image: Image
    labels: Labels
