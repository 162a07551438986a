"""Random views of an image and its labels together: one crop, flip, zoom and turn, then light and colour.

The crop is cut out of the stored integers before anything becomes float, and one affine map does flip, zoom
and turn at once. What lies outside the image becomes IGNORE in the labels and the mean in the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.types import IGNORE, Image, Labels


@dataclass(frozen=True)
class AugmentOptions:
    """How training images are varied.

    Attributes:
        flip: Mirror left-right, half of the time.
        flip_vertical: Mirror top-bottom too, and turn by multiples of 90 degrees: right for pictures from above.
        scale: Smallest and largest zoom, drawn log-uniformly.
        rotation: Largest turn, degrees.
        color: Strength of the changes of brightness, contrast and tint, in standard deviations of the data.
    """

    flip: bool = True
    flip_vertical: bool = False
    scale: tuple[float, float] = (0.75, 1.5)
    rotation: float = 0.0
    color: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise OptionError(f"augment.scale is {list(self.scale)}", remedy="give 0 < smallest <= largest")
        if not 0 <= self.rotation <= 180:
            raise OptionError(f"augment.rotation is {self.rotation}", remedy="give degrees in 0..180")
        if not 0 <= self.color <= 2:
            raise OptionError(f"augment.color is {self.color}", remedy="give a strength in 0..2")


@dataclass(frozen=True)
class View:
    """One random view: where its centre lies in the image and the map from view to image pixels."""

    center: tuple[float, float]  # row, column
    # image offset (row, column) = matrix @ view offset
    matrix: tuple[tuple[float, float], tuple[float, float]]

    @property
    def is_plain(self) -> bool:
        """Whether the view is a crop without zoom or turn, at most mirrored."""
        (a, b), (c, d) = self.matrix
        return b == c == 0 and abs(a) == abs(d) == 1

    def affine(self, size: tuple[int, int]) -> tuple[float, ...]:
        """(a, b, c, d, y, x): pixel (i, j) of a view of `size` is at row a i + b j + y, column c i + d j + x."""
        (a, b), (c, d) = self.matrix
        row, column = (size[0] - 1) / 2, (size[1] - 1) / 2
        y = self.center[0] - 0.5 - a * row - b * column
        x = self.center[1] - 0.5 - c * row - d * column
        return a, b, c, d, y, x


def random_view(
    shape: tuple[int, int], size: tuple[int, int], options: AugmentOptions, rng: np.random.Generator
) -> View:
    """Draw a view of `size` (rows, columns) that lies within an image of `shape` as far as it fits."""
    low, high = options.scale
    zoom = math.exp(rng.uniform(math.log(low), math.log(high))) if low < high else low
    angle = math.radians(rng.uniform(-options.rotation, options.rotation)) if options.rotation else 0.0
    quarter = int(rng.integers(4)) if options.flip_vertical else 0
    mirror = -1.0 if options.flip and rng.random() < 0.5 else 1.0
    cos, sin = _turn(angle, quarter)
    matrix = ((cos / zoom, -sin * mirror / zoom), (sin / zoom, cos * mirror / zoom))
    center = []
    for axis in (0, 1):
        reach = 0.5 * sum(abs(m) * s for m, s in zip(matrix[axis], size, strict=True))
        start, stop = sorted((reach, shape[axis] - reach))
        place = rng.uniform(start, stop)
        center.append(round(place - size[axis] / 2) + size[axis] / 2)
    return View((center[0], center[1]), matrix)


def cut(
    image: Image, labels: Labels, view: View, size: tuple[int, int], fill: Tensor
) -> tuple[Tensor, Tensor]:
    """Resample one view: image [H, W, C] and labels [H, W] to float32 [C, *size] and uint8 [*size].

    Args:
        image: Values as stored.
        labels: Class indices and IGNORE.
        view: Which part.
        size: Rows and columns of the result.
        fill: [C] values for what lies outside.
    """
    if view.is_plain:
        return _crop(image, labels, view, size, fill)
    (a, b), (c, d) = view.matrix
    rows = torch.arange(size[0], dtype=torch.float32) - (size[0] - 1) / 2
    columns = torch.arange(size[1], dtype=torch.float32) - (size[1] - 1) / 2
    y = a * rows[:, None] + b * columns[None, :] + (view.center[0] - 0.5)
    x = c * rows[:, None] + d * columns[None, :] + (view.center[1] - 0.5)
    top, bottom = _span(y, image.shape[0])
    left, right = _span(x, image.shape[1])
    part = torch.from_numpy(image[top:bottom, left:right].astype(np.float32)).permute(2, 0, 1)
    truth = torch.from_numpy(labels[top:bottom, left:right].astype(np.float32))[None]
    height, width = bottom - top, right - left
    grid = torch.stack([(2 * (x - left) + 1) / width - 1, (2 * (y - top) + 1) / height - 1], dim=-1)[None]
    # border padding, so that no view mixes fill into the last row of an image; the outside is cut off after
    sampled = F.grid_sample(part[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0]
    classes = F.grid_sample(truth[None], grid, mode="nearest", padding_mode="border", align_corners=False)[
        0, 0
    ]
    outside = (y < -0.5) | (y > image.shape[0] - 0.5) | (x < -0.5) | (x > image.shape[1] - 0.5)
    sampled = torch.where(outside, fill[:, None, None], sampled)
    return sampled, classes.masked_fill(outside, IGNORE).to(torch.uint8)


@dataclass(frozen=True, eq=False)
class ColorChange:
    """Other light for each image of a batch, in standard deviations of the data: gain [N, 1] and shift [N, C].

    The same strength so suits 8-bit photographs and 16-bit bands.
    """

    gain: NDArray[np.float32]
    shift: NDArray[np.float32]

    def apply(self, images: Tensor) -> Tensor:
        """Normalised images [N, C, H, W] in that light."""
        gain, shift = (torch.from_numpy(values)[..., None, None] for values in (self.gain, self.shift))
        return images * gain.to(images.device) + shift.to(images.device)


def random_colors(count: int, bands: int, strength: float, rng: np.random.Generator) -> ColorChange:
    """Draw contrast, brightness and the balance of bands for each of `count` images."""
    if strength == 0:
        return ColorChange(np.ones((count, 1), np.float32), np.zeros((count, bands), np.float32))
    contrast = np.exp(rng.normal(0, strength, (count, 1)))
    brightness = rng.normal(0, strength, (count, 1))
    tint = rng.normal(0, strength / 2, (count, bands))
    return ColorChange(contrast.astype(np.float32), (brightness + tint).astype(np.float32))


def _turn(angle: float, quarter: int) -> tuple[float, float]:
    """Cosine and sine of the whole turn; exact for multiples of 90 degrees."""
    exact = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[quarter]
    if angle == 0:
        return exact
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * exact[0] - sin * exact[1], sin * exact[0] + cos * exact[1]


def _span(coordinates: Tensor, limit: int) -> tuple[int, int]:
    """First and last + 1 index of what bilinear sampling touches, at least one."""
    start = min(max(int(coordinates.min().floor()), 0), limit - 1)
    stop = max(min(int(coordinates.max().floor()) + 2, limit), start + 1)
    return start, stop


def _crop(
    image: Image, labels: Labels, view: View, size: tuple[int, int], fill: Tensor
) -> tuple[Tensor, Tensor]:
    """A crop without resampling, mirrored where the view says so."""
    top = round(view.center[0] - size[0] / 2)
    left = round(view.center[1] - size[1] / 2)
    rows = slice(max(top, 0), min(top + size[0], image.shape[0]))
    columns = slice(max(left, 0), min(left + size[1], image.shape[1]))
    pixels: NDArray[np.float32] = np.empty((*size, image.shape[2]), np.float32)
    truth: Labels = np.full(size, IGNORE, np.uint8)
    inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    if (rows.stop - rows.start, columns.stop - columns.start) != size:
        pixels[:] = fill.numpy()
    pixels[inner] = image[rows, columns]
    truth[inner] = labels[rows, columns]
    if view.matrix[0][0] < 0:
        pixels, truth = pixels[::-1], truth[::-1]
    if view.matrix[1][1] < 0:
        pixels, truth = pixels[:, ::-1], truth[:, ::-1]
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return torch.from_numpy(planes), torch.from_numpy(np.ascontiguousarray(truth))
