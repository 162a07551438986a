"""The door to numba: absent, switched off, broken, nowhere to cache; and work shared out over threads."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading

import pytest

from pixelwise.ops import native


@pytest.fixture(autouse=True)
def fresh() -> None:
    native.load.cache_clear()


def test_without_numba_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert native.load("confusion_kernels") is None


def test_numba_switched_off_means_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert native.load("confusion_kernels") is None


def test_a_compiler_that_fails_is_told_and_not_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")

    def fail(name: str) -> None:
        raise OSError("no LLVM here")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.warns(RuntimeWarning, match="cannot compile confusion_kernels.*no LLVM here"):
        assert native.load("confusion_kernels") is None


def test_kernels_work_where_no_cache_can_be_written() -> None:
    pytest.importorskip("numba")
    code = (
        "from numba.core import caching; caching.FunctionCache._impl_class._locator_classes = [];"
        "import numpy as np; from pixelwise.ops.native import kernel\n"
        "@kernel('void(u1[::1])')\ndef one(x):\n    x[0] = 1\n"
        "x = np.zeros(1, np.uint8); one(x); assert x[0] == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_piece_is_done_once(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "threads", lambda: threads)
    done: list[int] = []
    native.share(done.append, 7)
    assert sorted(done) == list(range(7))


def test_an_error_of_a_piece_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "threads", lambda: 2)
    main = threading.get_ident()
    other_began = threading.Event()

    def work(piece: int) -> None:
        if threading.get_ident() != main:
            other_began.set()
            raise ValueError("in a helper")
        other_began.wait(5)

    with pytest.raises(ValueError, match="in a helper"):
        native.share(work, 2)
