"""What `auto` found to be the quickest engine, kept in one file of the user's cache folder.

A row holds for the machine, the versions, the weights, the type and size of the images and the engines that were worth
trying: none is taken over from a short job to a long one, whose choice is larger, or from one network to another, whose
labels may agree less.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pixelwise.backends.interfaces import Precision
from pixelwise.errors import PixelwiseError
from pixelwise.files import write_text
from pixelwise.models.bundle import facts_of, weights_digest
from pixelwise.models.download import cache_folder
from pixelwise.models.segmenter import Segmenter
from pixelwise.types import Image

ENGINES = ("auto", "eager", "compiled", "openvino", "onnxruntime", "recorded")
_LIBRARIES = ("torch", "openvino", "onnxruntime", "onnx", "onnxscript")


def file() -> Path:
    """Where decisions are kept; without it everything is timed again."""
    return cache_folder() / "engines.json"


def key_of(model: Segmenter, precision: Precision, image: Image, names: Sequence[str]) -> str:
    """Of everything that the decision for an image [H, W, C] depends on, with the engines to be tried, one digest."""
    from pixelwise import __version__

    facts = [
        _machine(next(model.parameters()).device),
        str(torch.get_num_threads()),
        f"pixelwise {__version__}",
        *(_version(name) for name in _LIBRARIES),
        model.name,
        model.encoder_name,
        repr(model.options),
        repr(model.normalization),
        weights_digest(model),  # not the bundle's: weights may have changed since they were read
        precision,
        repr(facts_of(model).quantization),
        image.dtype.name,
        str(image.shape),
        *names,
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def known() -> dict[str, dict[str, Any]]:
    """What was decided before, by key; nothing where the file is missing or not ours."""
    try:
        found = json.loads(file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    rows = found.items() if isinstance(found, dict) else ()
    return {key: row for key, row in rows if isinstance(row, dict) and row.get("engine") in ENGINES[1:]}


def remember(key: str, decision: dict[str, Any]) -> None:
    """Keep a decision; where nothing can be written, it is made again next time."""
    try:
        file().parent.mkdir(parents=True, exist_ok=True)
        write_text(file(), json.dumps({**known(), key: decision}, indent=1) + "\n")
    except (OSError, PixelwiseError):
        return


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {name}"


def _machine(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} {os.cpu_count()}"
