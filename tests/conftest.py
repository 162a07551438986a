"""What tests of several packages share: where the shared real data lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

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
