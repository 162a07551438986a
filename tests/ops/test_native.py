"""The door to numba: absent, switched off, broken, nowhere to cache; and work shared out over threads."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

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


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A copy of the package that may be edited, with a kernel that calls a function of another file."""
    pytest.importorskip("numba")
    package = tmp_path / "site" / "pixelwise"
    shutil.copytree(Path(native.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "ops" / "tiny.py").write_text("from numba import njit\n@njit\ndef value():\n    return 1\n")
    (package / "ops" / "tiny_kernels.py").write_text(
        "from pixelwise.ops.native import kernel\nfrom pixelwise.ops.tiny import value\n"
        "@kernel('void(u1[::1])')\ndef fill(x):\n    x[0] = value()\n"
    )
    return package


def filled(package: Path) -> str:
    """What the kernel of `installation` writes in a fresh process, and how often its machine code was on the disk."""
    code = (
        "import numpy as np; from pixelwise.ops import native; kernels = native.load('tiny_kernels');"
        "x = np.zeros(1, np.uint8); kernels.fill(x); print(x[0], sum(kernels.fill.stats.cache_hits.values()))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environment |= {
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",  # two edits within a second look alike to Python
        "XDG_CACHE_HOME": str(package.parent / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("writable", [True, False], ids=["in the package", "in the user's folder"])
def test_machine_code_of_an_edited_helper_is_not_used_again(installation: Path, writable: bool) -> None:
    if not writable:
        (installation / "ops" / "__pycache__").touch()  # no folder can be made there
    assert [filled(installation), filled(installation)] == ["1 0", "1 1"]
    helper = installation / "ops" / "tiny.py"
    helper.write_text(helper.read_text().replace("return 1", "return 2"))
    assert filled(installation) == "2 0"


def test_machine_code_of_other_sources_goes_after_a_while(installation: Path) -> None:
    folder = installation / "ops" / "__pycache__"
    folder.mkdir()
    old, recent, foreign = (
        folder / f"{name}-3.py311.nbi"
        for name in ("tiny_kernels.fill.0", "tiny_kernels.fill.1", "other.fill.0")
    )
    for file in (old, recent, foreign):
        file.touch()
        age = 0 if file == recent else 30 * 24 * 3600
        os.utime(file, (time.time() - age,) * 2)
    filled(installation)
    assert not old.exists() and recent.exists() and foreign.exists()
    assert filled(installation) == "1 1"


def test_what_kernels_import_is_in_their_key() -> None:
    ops = Path(native.__file__).parent
    counted = {file.name for file in native.sources()}
    assert "native.py" in counted and "head.py" not in counted
    for file in counted & {file.name for file in ops.glob("*_kernels.py")}:
        imported = re.findall(r"^from pixelwise\.ops\.(\w+) import", (ops / file).read_text(), re.MULTILINE)
        assert {f"{name}.py" for name in imported} <= counted, file
