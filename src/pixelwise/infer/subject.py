"""Digests and marks by which work is recognised."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from threading import Event
from typing import Any

import torch

from pixelwise.geo.mosaic import parts_of
from pixelwise.geo.reader import REMOTE
from pixelwise.models.segmenter import Segmenter


def weights_digest(model: Segmenter) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, and over how the network was built."""
    digest = hashlib.sha256(
        f"{model.name} {model.encoder_name} {model.options} {model.normalization}".encode()
    )
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def document_digest(document: dict[str, Any]) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def file_digest(path: str | Path, stop: Event) -> str:
    """SHA-256 of a local file, unless `stop` is set meanwhile; unknown for one that is elsewhere.

    Of a mosaic, that of all its parts one after the other.
    """
    digest = hashlib.sha256()
    for part in parts_of(path):
        if REMOTE.match(part):
            return "unknown: read over the network"
        with Path(part).open("rb") as stream:
            while not stop.is_set() and (data := stream.read(1 << 20)):
                digest.update(data)
    return digest.hexdigest()


def stamp_of(path: str | Path) -> tuple[int, int]:
    """Bytes and time of the last change, of a mosaic a number that stands for those of all parts; zeros elsewhere."""
    stamps = []
    for part in parts_of(path):
        if REMOTE.match(part):
            stamps.append((0, 0))
        else:
            state = Path(part).stat()
            stamps.append((state.st_size, state.st_mtime_ns))
    if len(stamps) == 1:
        return stamps[0]
    return sum(size for size, _ in stamps), int(document_digest({"stamps": stamps})[:15], 16)
