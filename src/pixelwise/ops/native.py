"""The one door to numba: kernels compiled when first used, and a plain way on where that cannot be.

A module of kernels decorates its functions with `kernel`, so importing it compiles them, or loads them from
numba's cache on disk, beside the module or in the user's own folder. `load` imports such a module.

numba takes machine code from there as long as the kernel's own file is the same, whatever has become of functions
that the kernel calls in other files. So `kernel` puts a digest of all those files into the name it is found by.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_alone: ContextVar[bool] = ContextVar("alone", default=False)
_NATIVE = re.compile(rb"^\s*(?:from|import) (?:numba|llvmlite|pixelwise\.ops\.native)\b", re.MULTILINE)
_KEPT = 7 * 24 * 3600.0  # seconds that code of other sources stays: installations may share a folder
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def load(name: str) -> ModuleType | None:
    """The kernels of `pixelwise.ops.<name>`, or None where numba is absent, switched off or fails."""
    try:
        import numba
    except ImportError:
        return None
    if numba.config.DISABLE_JIT:
        return None
    try:
        return importlib.import_module(f"pixelwise.ops.{name}")
    except Exception as error:  # whatever a compiler may raise: there is another way
        warnings.warn(
            f"numba cannot compile {name}, the slower way is taken: {error}", RuntimeWarning, stacklevel=2
        )
        return None


def loaded(name: str) -> bool:
    """Whether the kernels of that name are there already, so that using them costs no compilation."""
    return f"pixelwise.ops.{name}" in sys.modules


def kernel(
    signature: str | list[str], *, fastmath: set[str] | bool = False
) -> Callable[[Function], Function]:
    """Compile a function for one signature, or for each of several, without the interpreter's lock."""
    from numba import njit

    def compile_now(function: Function) -> Function:
        function.__qualname__ = f"{function.__qualname__}.{_digest()}"  # which names numba's files
        try:
            compiled: Any = njit(signature, nogil=True, cache=True, fastmath=fastmath)(function)
        except (RuntimeError, OSError):  # no folder that the cache can be written to
            compiled = njit(signature, nogil=True, fastmath=fastmath)(function)
        if compiled.stats.cache_path is not None and compiled.stats.cache_misses:
            _forget(Path(compiled.stats.cache_path), function.__module__.rpartition(".")[2])
        result: Function = compiled
        return result

    return compile_now


def sources() -> list[Path]:
    """The files that kernels are made of: those of this folder that import numba, or this module by name."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file for file in files if _NATIVE.search(file.read_bytes())]


@cache
def _digest() -> str:
    from pixelwise import __version__

    content = hashlib.sha256(__version__.encode())
    for file in sources():
        content.update(file.read_bytes())
    return content.hexdigest()[:16]


def _forget(folder: Path, module: str) -> None:
    """Remove a module's machine code of other sources, of which each edit and each upgrade leaves some.

    A process that wants a file at this very moment compiles instead.
    """
    for file in folder.glob(f"{module}.*.nb[ci]"):
        with suppress(OSError):  # another process removes it too, or it is not ours
            if _digest() not in file.name and time.time() - file.stat().st_mtime > _KEPT:
                file.unlink()


@contextmanager
def alone() -> Iterator[None]:
    """Kernels run on the caller's thread: where another runtime's threads follow, torch's would be in their way."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def threads() -> int:
    """Threads that kernels may use: those torch was given, if it is in use, else all cores of the process."""
    if _alone.get():
        return 1
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    from numba import config

    return int(config.NUMBA_NUM_THREADS)


def share(work: Callable[[int], object], pieces: int) -> None:
    """Call `work` with each of 0..pieces - 1, on as many threads as kernels may use; the caller's is one."""
    count = min(pieces, threads())
    waiting = iter(range(pieces))  # next() on it is one step of the interpreter: no piece is taken twice
    errors: list[BaseException] = []

    def take() -> None:
        try:
            for piece in waiting:
                work(piece)
        except BaseException as error:
            errors.append(error)

    team = _team() if count > 1 else None
    if count < 2:
        take()
    elif team is not None:
        team(take)
    else:
        with ThreadPoolExecutor(count - 1) as pool:
            for _ in range(count - 1):
                pool.submit(take)
            take()
    if errors:
        raise errors[0]


def _team() -> Callable[[Callable[[], None]], None] | None:
    """Run a function on each of torch's own threads, where torch is in use and has GNU OpenMP's.

    After each operation of torch these threads wait busily for the next. Threads of our own would wait behind them
    for milliseconds, as long as a whole loss takes.
    """
    torch = sys.modules.get("torch")
    parallel = None if torch is None else _gomp_parallel(str(Path(torch.__file__ or "").parent / "lib"))
    if parallel is None:
        return None

    def run(take: Callable[[], None]) -> None:
        parallel(_CALLBACK(lambda _: take()), None, threads(), 0)

    return run


@cache
def _gomp_parallel(folder: str) -> Any:
    for file in sorted(Path(folder).glob("libgomp*.so*")):
        try:
            function = ctypes.CDLL(str(file)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        function.argtypes = (_CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        function.restype = None
        return function
    return None
