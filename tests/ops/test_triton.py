"""The kernels for GPUs, without one: Triton's interpreter runs interpreted_*.py, in a process of its own each."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pixelwise.ops import cards, head, head_triton

TESTS = sorted(Path(__file__).parent.glob("interpreted_*.py"))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize("file", TESTS, ids=[file.stem for file in TESTS])
def test_by_the_interpreter(file):
    """What Triton defines when it is imported has to be interpreted too, hence the process."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", str(file)]
    surroundings = {**os.environ, "TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": ""}
    found = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
    assert "passed" in found.stdout and "skipped" not in found.stdout


@pytest.mark.filterwarnings("default")
def test_where_the_kernels_cannot_be_launched_torch_does_their_work(monkeypatch):
    """As without a C compiler, or on a card that Triton does not know; the card is this processor here."""
    launched = []

    class Launcher:
        def __getitem__(self, programs):
            def launch(*given, **named):
                launched.append(programs)
                raise RuntimeError("Failed to find C compiler")

            return launch

    class Kernels:
        labels = sums = means = gradient = Launcher()

    torch.manual_seed(0)
    logits, truth = torch.randn(2, 5, 6, 7, requires_grad=True), torch.randint(0, 5, (2, 24, 28))
    expected = head.labels_from_low(logits, (24, 28))
    entropy = head.sums_from_low(logits, truth).entropy
    monkeypatch.setattr(cards, "CARDS", ("cpu",))
    monkeypatch.setattr(cards, "load", lambda name: Kernels)
    head_triton.usable.cache_clear()
    with pytest.warns(RuntimeWarning, match="Failed to find C compiler") as warned:
        with torch.inference_mode():
            assert torch.equal(head.labels_from_low(logits, (24, 28)), expected)
        assert torch.equal(head.confident_labels_from_low(logits, (24, 28))[0], expected)
        sums = head.sums_from_low(logits, truth)
        sums.entropy.backward()
    assert len(warned) == len(launched) == 1
    torch.testing.assert_close(sums.entropy, entropy)
    assert torch.isfinite(logits.grad).all()
    head_triton.usable.cache_clear()
