"""Training batches from decoded images kept in memory or in a memory-mapped file.

The batch of a step is a pure function of the seed and the step: no state, no workers, nothing to restore when
a run is resumed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.data.assemble import assemble
from pixelwise.data.ondevice import DeviceViews, usable
from pixelwise.data.transforms import AugmentOptions, random_colors, random_view
from pixelwise.types import Image, Labels, Normalization, Sample

RAM_LIMIT = 4 * 1024**3  # bytes of decoded images kept in memory before they go to a file
_ALIGNED = 64  # bytes of which each array in the file begins at a multiple, as NumPy and processors like it


class Samples(Protocol):
    """Anything that yields samples by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True)
class Batch:
    """Normalised images float32 [N, C, h, w] channels last, labels uint8 [N, h, w], and the images' names.

    On the device that the loader was given, where it can make them there.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]


class _Place(NamedTuple):
    """Where an array lies in the file of a cache."""

    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


_Kept = NDArray[Any] | _Place


class ImageCache:
    """Every image of a split, decoded once, at full and at half resolution."""

    def __init__(
        self,
        samples: Samples,
        *,
        where: Literal["auto", "ram", "disk"] = "auto",
        half: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.names: list[str] = []
        self._full: list[tuple[_Kept, _Kept]] = []
        self._half: list[tuple[_Kept, _Kept]] = []
        self._where = where
        self._file: Any = None
        self._mapped: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._bytes = 0
        for index in range(len(samples)):
            sample = samples[index]
            self.names.append(sample.name)
            self._full.append((self._keep(sample.image), self._keep(sample.labels)))
            if half:
                self._half.append((self._keep(halve(sample.image)), self._keep(sample.labels[::2, ::2])))
            if progress is not None:
                progress(index + 1, len(samples))
        self._map()

    def __len__(self) -> int:
        return len(self.names)

    def get(self, index: int, *, coarse: bool) -> tuple[Image, Labels]:
        """Image [H, W, C] and labels [H, W] of one image; `coarse` gives half the resolution.

        What lies in the file cannot be written to.
        """
        image, labels = self._half[index] if coarse else self._full[index]
        return self._array(image), self._array(labels)

    def _array(self, kept: _Kept) -> NDArray[Any]:
        if not isinstance(kept, _Place):
            return kept
        size = math.prod(kept.shape) * kept.dtype.itemsize
        array: NDArray[Any] = self._mapped[kept.start : kept.start + size].view(kept.dtype)
        return array.reshape(kept.shape)

    def _map(self) -> None:
        """Map the file once, not each image by itself: a process may hold few files, and each map counts as one."""
        if self._file is not None:
            self._file.flush()
            self._mapped = np.memmap(self._file, np.uint8, "r")
            self._file.close()  # what is mapped keeps what it needs

    def _keep(self, array: NDArray[Any]) -> _Kept:
        self._bytes += array.nbytes
        array = np.ascontiguousarray(array)
        if self._where == "ram" or (self._where == "auto" and self._bytes <= RAM_LIMIT):
            return array
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="pixelwise-cache-")  # noqa: SIM115  gone with the process
        start = self._file.seek(-(-self._file.tell() // _ALIGNED) * _ALIGNED)
        self._file.write(array.data)
        return _Place(start, array.dtype, array.shape)


class Loader:
    """Batches of random views, each determined by the seed and its step."""

    def __init__(
        self,
        cache: ImageCache,
        *,
        batch: int,
        normalization: Normalization,
        augment: AugmentOptions,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        self.cache = cache
        self.batch_size = batch
        self.normalization = normalization
        self.augment = augment
        self.seed = seed
        self.device = device or torch.device("cpu")
        self._on_device: DeviceViews | None = None
        if len(cache) and usable(self.device, cache.get(0, coarse=False)[0]):
            self._on_device = DeviceViews(cache, self.device, normalization)

    def batch(self, step: int, size: tuple[int, int], *, coarse: bool = False) -> Batch:
        """The batch of `step`: views of `size` (rows, columns), of half-resolution images if `coarse`."""
        rng = np.random.default_rng([self.seed, 1, step])
        chosen = self.indices(step)
        pairs = [self.cache.get(index, coarse=coarse) for index in chosen]
        views = [random_view(labels.shape, size, self.augment, rng) for _, labels in pairs]
        change = random_colors(len(pairs), pairs[0][0].shape[2], self.augment.color, rng)
        if self._on_device is None:
            images, truth = assemble(pairs, views, size, self.normalization, change)
        else:
            images, truth = self._on_device.batch(chosen, views, size, change, coarse=coarse)
        return Batch(images, truth, tuple(self.cache.names[index] for index in chosen))

    def indices(self, step: int) -> list[int]:
        """Which images the batch of `step` shows: epochs are permutations, joined without a gap."""
        count = len(self.cache)
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        orders: dict[int, Sequence[int]] = {}
        chosen = []
        for place in places:
            epoch, offset = divmod(place, count)
            if epoch not in orders:
                orders[epoch] = np.random.default_rng([self.seed, 2, epoch]).permutation(count).tolist()
            chosen.append(orders[epoch][offset])
        return chosen


def halve(image: Image) -> Image:
    """[H, W, C] at half the resolution: means of 2 x 2 blocks, the last row and column repeated if odd.

    >>> halve(np.array([[[1], [3], [9]]], np.uint8)).tolist()
    [[[2], [9]]]
    """
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    upper, lower = even[::2].astype(np.float32), even[1::2]
    # slices are added seven times as fast as `mean` adds over axes of length 2
    mean = (upper[:, ::2] + upper[:, 1::2] + lower[:, ::2] + lower[:, 1::2]) / 4
    half: Image = (mean if image.dtype.kind == "f" else np.rint(mean)).astype(image.dtype)
    return half
