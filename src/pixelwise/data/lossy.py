"""Whether the compression of a TIFF may have changed its values."""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import imagecodecs

UNSURE = ("JPEG 2000", "JPEG XL", "JPEG XR")
"""Compressions that may be without loss, but their files do not say so."""

_NAMES = {
    **dict.fromkeys((6, 7, 33007, 34892), "JPEG"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    **dict.fromkeys((34927, 50001), "WebP"),
    34887: "LERC",
}
_LERC_PARAMETERS = 50674
_LERC_ERROR = {2: 34, 3: 38, 4: 42, 5: 42, 6: 50}  # where the blob of each version has its error
_LERC_HEAD = 64
_MOST = 2**28  # bytes that are unpacked to look at them


def lossy(page: Any, stream: Any) -> str:
    """The name of the compression of a TIFF page, if it loses values or may lose them; else empty.

    WebP and LERC say themselves whether they did, in each tile or strip; all of a file are written alike.
    """
    name = _NAMES.get(int(page.compression), "")
    if name in ("WebP", "LERC"):
        places = zip(page.dataoffsets, page.databytecounts, strict=True)
        place = next(((offset, count) for offset, count in places if count), None)
        if place is None:
            return ""  # nothing but blocks without data
        stream.seek(place[0])
        start = stream.read(place[1])
        if start[12:16] == b"VP8L" or (name == "LERC" and _lerc_keeps(start, page)):
            return ""
    return name


def _lerc_keeps(data: bytes, page: Any) -> bool:
    """Whether a blob allows no error: of integers less than one, of floats none."""
    parameters = page.tags[_LERC_PARAMETERS].value if _LERC_PARAMETERS in page.tags else (0, 0)
    if parameters[1] == 1:
        data = zlib.decompressobj().decompress(data, _LERC_HEAD)
    elif parameters[1] == 2:
        most = (
            2 * math.prod(page.chunks) * page.dtype.itemsize + 4096
        )  # a blob is hardly larger than its pixels
        data = bytes(imagecodecs.zstd_decode(data, out=min(most, _MOST)))
    version = int.from_bytes(data[6:10], "little")
    if data[:6] != b"Lerc2 " or version not in _LERC_ERROR:
        return False
    (error,) = struct.unpack_from("<d", data, _LERC_ERROR[version])
    return bool(error == 0 or (error <= 0.5 and page.dtype.kind in "bui"))
