"""What a file must be before GDAL or a reader of vectors may see it: a regular file of a known kind and size."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path

from pixelwise.errors import UnreadableError

# A drive letter is one letter; `GTiff:`, `http://` and `zip+https://` have more before the colon.
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9_+.\-]+:")


def regular_file(path: str | Path, kinds: Mapping[str, tuple[bytes, ...]], *, most_bytes: int) -> Path:
    """`path` as an existing regular file, whose suffix is one of `kinds` and whose content begins as it should.

    GDAL reads names like `/vsicurl/...` or `DRIVER:...` as orders to go elsewhere, and some small text files as
    descriptions of other files; neither gets past this function.

    Args:
        path: a path on this machine.
        kinds: suffix in lower case to the possible first bytes; no bytes: any.
        most_bytes: larger files are refused.

    Raises:
        UnreadableError: an address instead of a path, no regular file, of another kind, empty or too large.
    """
    text = str(path)
    names = ", ".join(kinds)
    if _SCHEME.match(text) or "://" in text or text.lower().replace("\\", "/").startswith(("/vsi", "vsi")):
        found = "is an address or a virtual path, not a file on this machine"
        raise UnreadableError(found, file=path, remedy=f"download or unpack it first; read are {names}")
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in kinds:
        found = f"files ending in {suffix or 'nothing'} are not read here"
        raise UnreadableError(found, file=path, remedy=f"convert it to one of {names}")
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise UnreadableError("not a regular file", file=path, remedy="give the path of a file")
        with path.open("rb") as stream:
            start = stream.read(16)
    except FileNotFoundError as error:
        raise UnreadableError("no such file", file=path, remedy="check the path") from error
    except OSError as error:
        found = f"cannot be read: {error.strerror}"
        raise UnreadableError(found, file=path, remedy="check its permissions") from error
    if not start:
        raise UnreadableError("the file is empty (0 bytes)", file=path, remedy="export it again")
    if state.st_size > most_bytes:
        found = f"has {state.st_size:,} bytes, more than the {most_bytes:,} that are read"
        raise UnreadableError(found, file=path, remedy="cut it into parts")
    if kinds[suffix] and not start.startswith(kinds[suffix]):
        found = f"is no {suffix} file: its content begins with {start[:12]!r}"
        raise UnreadableError(found, file=path, remedy=f"convert it to one of {names}")
    return path
