"""One file over HTTP: resumed where it broke off, kept only if its SHA-256 is the expected one.

Nothing is fetched that was not asked for by name. What has arrived so far lies beside the file under the name
`NAME.part`, under a name that stays the same, which is why it is written here and not by `files`: a temporary
name of its own for each attempt could not be continued.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from pixelwise.errors import OutputError, PixelwiseError
from pixelwise.files import locked

CACHE_VARIABLE = "PIXELWISE_CACHE"
ATTEMPTS = 5  # connections for one file, each going on where the one before broke off
TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 18


class DownloadError(PixelwiseError):
    """A file cannot be fetched, or what came is not the file that was asked for."""

    code = "download"


def cache_folder() -> Path:
    """Where fetched files are kept: $PIXELWISE_CACHE, or `pixelwise` in the cache folder of the system."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pixelwise"


def fetch(
    url: str,
    folder: Path,
    *,
    sha256: str,
    progress: Callable[[int, int], None] | None = None,
    timeout: float = TIMEOUT,
) -> Path:
    """The file at `url` in `folder`, fetched only if it is not there yet.

    Args:
        url: http or https; the last part of its path is the name of the file.
        folder: Made if need be, and locked while something arrives.
        sha256: Beginning of the SHA-256 that the whole file must have, in hexadecimal, 8 digits at least.
        progress: Called with the bytes that are there and their expected number.
        timeout: Seconds without a byte after which the connection counts as broken.

    Raises:
        DownloadError: no connection, an answer other than the file, a connection that broke off, or a file
            with another hash; of a wrong file nothing is kept.
        OutputError: the folder is in use, full or read-only.
    """
    name = Path(urlsplit(url).path).name
    known = urlsplit(url).scheme in ("http", "https")
    if not name or not known or not re.fullmatch("[0-9a-f]{8,64}", sha256):
        raise DownloadError(
            f"cannot fetch {url!r} with SHA-256 {sha256!r}", remedy="give an address and a hash"
        )
    target = folder / name
    if target.is_file() and _digest(target).startswith(sha256):
        return target
    with locked(folder):
        part = folder / f"{name}.part"
        try:
            resumed = part.exists()
            _receive(url, part, progress, timeout)
            found = _digest(part)
            if resumed and not found.startswith(sha256):  # the beginning may be of another version: once more
                part.unlink()
                _receive(url, part, progress, timeout)
                found = _digest(part)
            if not found.startswith(sha256):
                part.unlink()
                raise DownloadError(
                    f"{url} was refused: its SHA-256 begins with {found[: len(sha256)]}, expected {sha256}",
                    remedy="try again later; if it stays so, the file at this address was exchanged and must not "
                    "be used",
                )
            part.replace(target)
        except OSError as error:
            raise OutputError(
                f"cannot be written: {error.strerror or error}",
                file=part,
                remedy=f"free some space, or set {CACHE_VARIABLE} to another folder",
            ) from error
    return target


def _receive(url: str, part: Path, progress: Callable[[int, int], None] | None, timeout: float) -> None:
    """Make `part` whole, over as many connections as it takes while each brings something."""
    for attempt in range(ATTEMPTS):
        before = part.stat().st_size if part.exists() else 0
        total = _continue(url, part, before, progress, timeout)
        now = part.stat().st_size
        if now == total:
            return
        if now <= before or attempt == ATTEMPTS - 1:
            raise DownloadError(
                f"the connection to {urlsplit(url).hostname} broke off after {now / 1e6:.1f} of "
                f"{total / 1e6:.1f} MB",
                remedy="run the command again: it goes on from there",
            )


def _continue(
    url: str, part: Path, have: int, progress: Callable[[int, int], None] | None, timeout: float
) -> int:
    """Append to `part` what one connection brings; return how large the whole file is."""
    request = Request(url, headers={"User-Agent": "pixelwise", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urlopen(request, timeout=timeout)
    except HTTPError as error:
        with error:
            if error.code == 416 and have:
                return have  # nothing is left to send; the hash will tell whether it is the file
            raise DownloadError(
                f"{url} cannot be had: the server answers {error.code} {error.reason}",
                remedy="try again later, or give a file that is already here",
            ) from None
    except (URLError, OSError, http.client.HTTPException) as error:
        raise _offline(url, part.parent, error) from error
    with answer:
        going_on = answer.status == 206 and _range_start(answer.headers.get("Content-Range")) == have
        start = have if going_on else 0
        length = answer.headers.get("Content-Length")
        if length is None or not length.isdigit():
            raise DownloadError(
                f"{url}: the server does not say how long the file is", remedy="try again later"
            )
        total = start + int(length)
        with part.open("r+b" if going_on else "wb") as stream:
            stream.seek(start)
            _copy(answer, stream, start, total, progress)
        return total


def _copy(
    answer: http.client.HTTPResponse,
    stream: BinaryIO,
    have: int,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    while have < total:
        try:
            block = answer.read(min(_CHUNK, total - have))
        except (OSError, http.client.HTTPException):
            break  # what came stays, the caller decides whether to go on
        if not block:
            break
        stream.write(block)
        have += len(block)
        if progress is not None:
            progress(have, total)
    stream.flush()
    os.fsync(stream.fileno())


def _range_start(header: str | None) -> int | None:
    found = re.match(r"bytes (\d+)-", header or "")
    return int(found[1]) if found else None


def _offline(url: str, folder: Path, error: Exception) -> DownloadError:
    reason = error.reason if isinstance(error, URLError) else error
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return DownloadError(
        f"no connection to {urlsplit(url).hostname} ({text}), so {Path(urlsplit(url).path).name} cannot be fetched",
        remedy=f"connect to the network, or copy the file into {folder}, or leave the weights out",
    )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
