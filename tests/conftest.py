"""What tests of several packages share: where the shared real data lie."""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A function from the name of a shared dataset to its folder; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        home = Path(os.environ.get("PIXELWISE_DATA") or ROOT.parent / "shared" / "data")
        folder = home / name
        if not folder.exists():
            pytest.skip(
                f"the dataset {name} is not at {folder}; set PIXELWISE_DATA to the folder that holds it"
            )
        return folder

    return find


@pytest.fixture(scope="session")
def loopback() -> None:
    """Skips tests that talk to a server of their own where even the machine's own network is cut."""
    with socket.socket() as listening, socket.socket() as calling:
        try:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            calling.connect(listening.getsockname())
        except OSError as error:
            pytest.skip(f"no connection from this machine to itself: {error.strerror}")


@pytest.fixture(scope="session")
def torchmetrics() -> ModuleType:
    """Its functional classification metrics; it imports a torchvision that may have been built for another torch."""
    if importlib.util.find_spec("torchmetrics") is None:
        pytest.skip("torchmetrics is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("torchmetrics.functional.classification")
        except RuntimeError:
            for name in [
                name for name in sys.modules if name.split(".")[0] in ("torchvision", "torchmetrics")
            ]:
                del sys.modules[name]
            shim = ROOT / "benchmarks" / "torchvision_shim.py"
            spec = importlib.util.spec_from_file_location("torchvision_shim", shim)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            module.install()
            return importlib.import_module("torchmetrics.functional.classification")


def write_shapes(root: Path, *, train: int = 6, val: int = 2, test: int = 2, size: int = 64) -> Path:
    """A dataset of bright rectangles and dark discs on noise, with exact labels, as PNG files."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    for split, count in {"train": train, "val": val, "test": test}.items():
        for index in range(count):
            labels = np.zeros((size, size), np.uint8)
            top, left = rng.integers(0, size // 2, 2)
            labels[top : top + size // 3, left : left + size // 3] = 1
            row, column = rng.integers(size // 4, size, 2)
            labels[(rows - row) ** 2 + (columns - column) ** 2 < (size // 6) ** 2] = 2
            image = np.array([90, 200, 20])[labels][..., None] + rng.normal(0, 15, (size, size, 3))
            for kind, array in (("images", image.clip(0, 255).astype(np.uint8)), ("masks", labels)):
                path = root / kind / split / f"shape{index}_{split}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(array).save(path)
    (root / "classes.yaml").write_text(
        "- {name: ground, color: '#888888'}\n- {name: box, color: '#eeee33'}\n- {name: disc, color: '#222288'}\n"
    )
    return root


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small dataset; not to be written to."""
    return write_shapes(tmp_path_factory.mktemp("shapes"))
