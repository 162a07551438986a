"""Small datasets on disk, made to order."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # for faulty.py

Writer = Callable[..., Path]


def save(path: Path, array: NDArray[Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def write_image(tmp_path: Path) -> Writer:
    """Write a random RGB image [H, W, 3] below tmp_path, a different one per name."""

    def write(name: str, *, size: tuple[int, int] = (6, 8), bands: int = 3, **options: Any) -> Path:
        rng = np.random.default_rng(list(name.encode()))
        array = rng.integers(0, 256, (*size, bands), dtype=np.uint8)
        return save(tmp_path / name, array[:, :, 0] if bands == 1 else array, **options)

    return write


@pytest.fixture
def write_mask(tmp_path: Path) -> Writer:
    """Write a mask of the values 0, 1, 2 (or of `values` repeated) below tmp_path."""

    def write(
        name: str, values: object = (0, 1, 2), *, size: tuple[int, int] = (6, 8), dtype: Any = np.uint8
    ) -> Path:
        return save(tmp_path / name, np.resize(np.asarray(values, dtype), size))

    return write


@pytest.fixture
def write_pairs(write_image: Writer, write_mask: Writer, tmp_path: Path) -> Writer:
    """Write images/NAME.png with masks/NAME.png for each name, and return the folder."""

    def write(*names: str, images: str = "images", masks: str = "masks", values: object = (0, 1, 2)) -> Path:
        for name in names:
            write_image(f"{images}/{name}.png")
            write_mask(f"{masks}/{name}.png", values)
        return tmp_path

    return write
