"""What tests of scenes on the command line share: a small model in a bundle, and how scenes are written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pixelwise.models.bundle import save
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.zoo import build


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    options = NetworkOptions(decoder_channels=(6,))
    net = build("fullres", encoder="image", classes=["road", "house"], options=options)
    return save(net, tmp_path_factory.mktemp("bundle") / "net.safetensors")


@pytest.fixture(scope="session")
def tif() -> Callable[..., Path]:
    """Writes an image [H, W, C] as a TIFF, with a place if one is given."""
    rasterio = pytest.importorskip("rasterio")

    def write(path: Path, image: NDArray[Any], **profile: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = {"height": image.shape[0], "width": image.shape[1], "count": image.shape[2]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", driver="GTiff", dtype=image.dtype.name, **size, **profile
            ) as target:
                target.write(np.moveaxis(image, 2, 0))
        return path

    return write
