"""Batches made on an accelerator: images lie there as they are stored, and one kernel makes all views of a batch.

A step then sends some hundred bytes, which say what its views show; of a dataset too large for the accelerator, the
stored pixels that the views show.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.data.transforms import ColorChange, View
from pixelwise.ops import cards
from pixelwise.ops.cards import parts
from pixelwise.ops.standardize import mean_and_scale
from pixelwise.types import Image, Labels, Normalization

KERNELS = "view_triton_kernels"
ROOM = 0.25  # of an accelerator's free memory, for images that stay there
BLOCK = 256  # pixels of a program
_TYPES = ("uint8", "uint16", "float32")
Facts = NDArray[np.float64]


class Images(Protocol):
    """Decoded images at full and at half resolution, by position."""

    def __len__(self) -> int: ...

    def get(self, index: int, *, coarse: bool) -> tuple[Image, Labels]:
        """Image [H, W, C] and labels [H, W]."""
        ...


class DeviceViews:
    """Views of images, made on an accelerator."""

    def __init__(
        self, images: Images, device: torch.device, normalization: Normalization, room: int | None = None
    ) -> None:
        """Prepare.

        Args:
            images: That views are of, all of one type and number of bands.
            device: Where the batches are made.
            normalization: Per band.
            room: Bytes that images may take there; by default `ROOM` of what is free.
        """
        self.images, self.device = images, device
        self.room = _free(device) if room is None else room
        self.mean, self.scale = (
            tensor.flatten().double().numpy() for tensor in mean_and_scale(normalization)
        )
        self._kept: dict[bool, _Kept | None] = {}

    def batch(
        self,
        chosen: Sequence[int],
        views: Sequence[View],
        size: tuple[int, int],
        change: ColorChange,
        *,
        coarse: bool,
    ) -> tuple[Tensor, Tensor]:
        """What `assemble` returns for the images at `chosen`, on the device."""
        if coarse not in self._kept:
            self._kept[coarse] = self._keep(coarse=coarse)
        kept = self._kept[coarse]
        maps = np.array([view.affine(size) for view in views])
        if kept is None:
            pairs = [self.images.get(index, coarse=coarse) for index in chosen]
            stored, places = self._sent(pairs, maps, size)
        else:
            stored, places = kept.stored, kept.places[list(chosen)]
        factor = self.scale * change.gain
        colors = np.concatenate([factor, change.shift - self.mean * factor, change.shift], axis=1)
        return self._launch(stored, np.concatenate([places, maps, colors], axis=1), size)

    def _keep(self, *, coarse: bool) -> _Kept | None:
        """All images of a resolution on the device, or None where there is no room for them."""
        pairs = [self.images.get(index, coarse=coarse) for index in range(len(self.images))]
        needed = sum(image.nbytes + labels.nbytes for image, labels in pairs)
        if needed > self.room:
            return None
        self.room -= needed
        shapes = np.array([labels.shape for _, labels in pairs], np.float64)
        starts = np.cumsum([0, *(labels.size for _, labels in pairs[:-1])])
        places = np.column_stack([starts, shapes[:, 1], shapes])
        pixels = int(sum(labels.size for _, labels in pairs))
        values = torch.empty(pixels * pairs[0][0].shape[2], dtype=_dtype(pairs[0][0]), device=self.device)
        classes = torch.empty(pixels, dtype=torch.uint8, device=self.device)
        bands = pairs[0][0].shape[2]
        for start, (image, labels) in zip(starts.tolist(), pairs, strict=True):
            part = slice(start, start + labels.size)
            classes[part].copy_(_flat(labels))
            values[part.start * bands : part.stop * bands].copy_(_flat(image))
        return _Kept((values, classes), places)

    def _sent(
        self, pairs: Sequence[tuple[Image, Labels]], maps: Facts, size: tuple[int, int]
    ) -> tuple[tuple[Tensor, Tensor], Facts]:
        """The rows and columns of each image that a view shows, sent as they are stored."""
        values, classes, places, start = [], [], [], 0
        for (image, labels), one in zip(pairs, maps, strict=True):
            rows, columns = _shown(one, size, labels.shape)
            values.append(image[rows, columns].reshape(-1))
            classes.append(labels[rows, columns].reshape(-1))
            width = columns.stop - columns.start
            places.append((start - rows.start * width - columns.start, width, *labels.shape))
            start += classes[-1].size
        sent = self._send(np.concatenate(values)), self._send(np.concatenate(classes))
        return sent, np.array(places, np.float64)

    def _send(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _launch(
        self, stored: tuple[Tensor, Tensor], facts: Facts, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        bands = len(self.mean)
        images = torch.empty((len(facts), *size, bands), device=self.device)
        truth = torch.empty((len(facts), *size), dtype=torch.uint8, device=self.device)
        with cards.where(images):
            cards.kernels(KERNELS).views[parts(size[0] * size[1], BLOCK), len(facts)](
                *stored, self._send(facts), images, truth, *size, facts.shape[1], BANDS=bands, BLOCK=BLOCK
            )
        return images.permute(0, 3, 1, 2), truth


class _Kept:
    """Images on the device, and of each where it begins, pixels from row to row, height and width."""

    def __init__(self, stored: tuple[Tensor, Tensor], places: Facts) -> None:
        self.stored, self.places = stored, places


def usable(device: torch.device, image: Image) -> bool:
    """Whether batches of images of that type can be made on the device."""
    return device.type in cards.CARDS and image.dtype.name in _TYPES and _tried(device, image.dtype.name)


@cache
def _tried(device: torch.device, dtype: str) -> bool:
    return cards.load(KERNELS) is not None and cards.works(device, lambda: _try(device, dtype))


def _try(device: torch.device, dtype: str) -> None:
    """Two pixels change their places."""

    class Pair:
        def __len__(self) -> int:
            return 1

        def get(self, index: int, *, coarse: bool) -> tuple[Image, Labels]:
            return np.array([[[1], [3]]], dtype), np.array([[5, 6]], np.uint8)

    mirrored = View((0.5, 1.0), ((1.0, 0.0), (0.0, -1.0)))
    change = ColorChange(np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32))
    made = DeviceViews(Pair(), device, Normalization((0.0,), (1.0,)), room=1 << 10)
    images, truth = made.batch([0], [mirrored], (1, 2), change, coarse=False)
    if images.flatten().tolist() != [3, 1] or truth.flatten().tolist() != [6, 5]:
        raise RuntimeError("their answers are wrong")


def _shown(facts: Facts, size: tuple[int, int], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of an image that are read for a view, at least one of each.

    With one more on every side: an accelerator may round a position to the other side of a pixel.
    """
    a, b, c, d, y, x = facts
    corners = [(i, j) for i in (0, size[0] - 1) for j in (0, size[1] - 1)]
    found = []
    for steps, start, limit in (((a, b), y, shape[0]), ((c, d), x, shape[1])):
        ends = [steps[0] * i + steps[1] * j + start for i, j in corners]
        first = min(max(int(np.floor(min(ends))) - 1, 0), limit - 1)
        last = min(max(int(np.floor(max(ends))) + 2, first), limit - 1)
        found.append(slice(first, last + 1))
    return found[0], found[1]


def _free(device: torch.device) -> int:
    return int(ROOM * torch.cuda.mem_get_info(device)[0])


def _dtype(image: Image) -> torch.dtype:
    return torch.from_numpy(image[:1, :1].copy()).dtype


def _flat(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.require(array, requirements=["C", "W"]).reshape(-1))
