"""The only place that writes files: complete or not at all, and one writer per folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from pixelwise.errors import OutputError

LOCK_NAME = ".pixelwise.lock"
_PIECE = 1 << 20


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; it takes the name `path` only when all went well.

    A crash, a full disk or an exception leaves the previous file as it was.

    Raises:
        OutputError: the disk is full, the folder missing or read-only.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _flush(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _output_error(path, error) from error


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, or leave `path` untouched."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_stream(path: str | Path, stream: IO[bytes]) -> None:
    """Write what is left of an open file to `path`, a piece at a time, or leave `path` untouched."""
    with replacing(path) as temporary, temporary.open("wb") as target:
        shutil.copyfileobj(stream, target, _PIECE)


def write_text(path: str | Path, text: str) -> None:
    r"""Write `text` as UTF-8 to `path`, or leave `path` untouched.

    Bytes of file names that are no UTF-8 are written as `\udcff`, which is what JSON reads back.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def publish(finished: str | Path, path: str | Path) -> None:
    """Give a finished file of the same disk its final name; until then `path` is as it was.

    Raises:
        OutputError: the place cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _flush(Path(finished))
        Path(finished).replace(path)
    except OSError as error:
        raise _output_error(path, error) from error


def append_line(path: str | Path, line: str) -> None:
    """Append one line and flush it; used for logs, where a torn last line is harmless."""
    try:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError as error:
        raise _output_error(Path(path), error) from error


def make_folder(path: str | Path) -> Path:
    """Create the folder `path` with its parents and return it."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _output_error(path, error) from error
    return path


@contextmanager
def locked(folder: str | Path) -> Iterator[Path]:
    """Create `folder` if need be and hold it: a second process that wants it gets an OutputError.

    A folder that was made here and into which nothing was written before an error is removed again.
    """
    new = not Path(folder).exists()
    folder = make_folder(folder)
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            "another pixelwise process is writing to this folder",
            file=folder,
            remedy="wait for it to end, or choose another folder with -o",
        ) from None
    except OSError as error:
        raise _output_error(folder, error) from error
    failed = True
    try:
        yield folder
        failed = False
    finally:
        lock.release()
        (folder / LOCK_NAME).unlink(missing_ok=True)
        if failed and new:
            with suppress(OSError):  # it holds something, or somebody else's lock
                folder.rmdir()


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _output_error(path: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        found, remedy = "the disk is full; the file was not written", "free some space and run again"
    elif error.errno == errno.EFBIG:
        found, remedy = (
            "the file would be too large for this disk or its quota",
            "write to another disk with -o",
        )
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        found, remedy = "no permission to write here", "choose another folder with -o"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        found, remedy = "a file is in the way of the folder", "choose another folder with -o"
    else:
        found, remedy = f"cannot write: {error.strerror or error}", "choose another folder with -o"
    return OutputError(found, file=path, remedy=remedy)
