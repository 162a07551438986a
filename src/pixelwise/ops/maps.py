"""bfloat16 maps of a training step on a processor, as the kernels of `ops` take them: bits, [N, H, W, C]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.ops import native

_ROWS = 16  # that a thread takes at a time


def fits(*maps: Tensor) -> bool:
    """Whether these are bfloat16 maps on a processor, channels last."""
    return all(
        one.dtype == torch.bfloat16
        and one.device.type == "cpu"
        and one.is_contiguous(memory_format=torch.channels_last)
        for one in maps
    )


def empty_map(*shape: int) -> Tensor:
    """Memory for a map [N, C, H, W]."""
    return torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last)


def bits_of(x: Tensor) -> NDArray[np.uint16]:
    """[N, H, W, C], without a copy where the map is channels last."""
    last = x.detach().permute(0, 2, 3, 1).contiguous()
    bits: NDArray[np.uint16] = last.view(torch.uint16).numpy()
    return bits


def share_rows(rows: int, work: Callable[[int, int], None]) -> None:
    """Call `work(start, stop)` for rows of all images together, on as many threads as kernels may use."""
    native.share(lambda piece: work(piece * _ROWS, min((piece + 1) * _ROWS, rows)), -(-rows // _ROWS))
