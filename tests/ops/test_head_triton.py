"""The kernels for GPUs, without one: Triton's interpreter runs interpreted_head in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("interpreted_head.py")


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_by_the_interpreter():
    """What Triton defines when it is imported has to be interpreted too, hence the process."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", str(TESTS)]
    surroundings = {**os.environ, "TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": ""}
    found = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
    assert "passed" in found.stdout and "skipped" not in found.stdout
