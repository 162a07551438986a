"""Which backend runs a segmenter: chosen by the user, or by a short timing on the user's own image.

`auto` begins with the network as it is, since that starts at once. Only where the images to come would take longer
than preparing anything quicker does it try the others, on the image at hand; the decision is remembered for the
machine, the network and the size of image.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.backends import compiled, onnx, openvino
from pixelwise.errors import OptionError, PixelwiseError, close_matches
from pixelwise.files import write_text
from pixelwise.infer.predictor import Precision, Running, precision_of
from pixelwise.models.download import cache_folder
from pixelwise.models.segmenter import Segmenter
from pixelwise.types import Image, Labels

Answer = TypeVar("Answer")
ENGINES = ("auto", "eager", "compiled", "openvino", "onnxruntime")
WORTH = 20.0  # seconds of work still to do from which on `auto` looks for something quicker
LONG = 300.0  # from which on it waits for torch.compile too, which takes half a minute for each size of image
AGREEMENT: dict[Precision, float] = {
    "float32": 0.9999,
    "bfloat16": 0.99,
}  # of labels with those of `eager`, at least
FILE = "engines.json"


class Engine(Protocol):
    """Images [H, W, C] to labels [H, W] uint8."""

    @property
    def footprint(self) -> float:
        """Memory of the activations, as a share of what torch holds in float32; tiles are planned by it."""
        ...

    def prepare(self, dtype: str) -> None:
        """Do what the first image of a type would wait for, whatever its size."""
        ...

    def release(self) -> None:
        """Give back the memory that is kept from one image to the next."""
        ...

    def __call__(self, image: Image) -> Labels:
        """The most probable class of every pixel; takes and raises what `predict` does."""
        ...

    def with_confidence(self, image: Image) -> tuple[Labels, NDArray[np.float32]]:
        """The same, and its probability in 0..1."""
        ...

    def with_sets(self, image: Image) -> tuple[Labels, NDArray[np.float32], NDArray[np.uint8]]:
        """The same, and how many classes are in the label set of each pixel."""
        ...


@dataclass(frozen=True)
class EngineChoice:
    """An engine by its name, and what is called with what `auto` finds."""

    name: str = "auto"
    say: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise OptionError(f"engine {self.name!r}", remedy=close_matches(self.name, ENGINES))


class Auto:
    """Begins eagerly, and changes to the quickest backend once that pays.

    Attributes:
        engine: What runs now.
    """

    footprint = 1.0  # that of the engine it begins with

    def __init__(
        self, model: Segmenter, *, images: int, precision: Precision | None, say: Callable[[str], None]
    ) -> None:
        self.model, self.left, self.say = model, images, say
        self.precision: Precision = precision or precision_of(model)
        self.engine: Engine = Running(model, self.precision)
        self._decided = next(model.parameters()).device.type != "cpu"

    def prepare(self, dtype: str) -> None:
        """Nothing: what it begins with needs no preparation."""

    def release(self) -> None:
        """Give back the memory that the engine keeps."""
        self.engine.release()

    def __call__(self, image: Image) -> Labels:
        """The most probable class of every pixel."""
        return self._answer(image, self.engine)

    def with_confidence(self, image: Image) -> tuple[Labels, NDArray[np.float32]]:
        """The same, and its probability in 0..1."""
        return self._answer(image, self.engine.with_confidence)

    def with_sets(self, image: Image) -> tuple[Labels, NDArray[np.float32], NDArray[np.uint8]]:
        """The same, and how many classes are in the label set of each pixel."""
        return self._answer(image, self.engine.with_sets)

    def _answer(self, image: Image, run: Callable[[Image], Answer]) -> Answer:
        began = time.monotonic()
        answer = run(image)
        self.left -= 1
        seconds = (time.monotonic() - began) * self.left
        if not self._decided and seconds > WORTH:
            self._decided = True
            self.engine = self._quickest(image, seconds)
        return answer

    def _quickest(self, image: Image, seconds: float) -> Engine:
        key = _key(self.model, self.precision, image)
        known = _decisions().get(key)
        if known is not None:
            try:
                return open_engine(self.model, known["engine"], precision=self.precision)
            except PixelwiseError:
                pass  # what was there then is not there now
        self.say(f"about {seconds:.0f} s of work: looking for the quickest engine")
        names = ["openvino"]
        if self.precision == "float32":  # ONNX Runtime has no convolutions in bfloat16
            names.append("onnxruntime")
        if seconds > LONG:
            names.append("compiled")
        engine, decision = fastest(self.model, image, self.precision, names, self.say)
        _remember(key, decision)
        return engine


def open_engine(
    model: Segmenter,
    name: str = "auto",
    *,
    images: int = 1,
    precision: Precision | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Engine:
    """What turns images into labels, by the backend called `name`.

    Args:
        model: A network with its classes and its preprocessing.
        name: `eager` starts at once; `openvino` takes seconds to prepare and then any size; `compiled` and
            `onnxruntime` prepare each size of image; `auto` decides by timing.
        images: For `auto`: how many there are to be mapped.
        precision: As for `predict`.
        say: Called with what `auto` finds.

    Raises:
        OptionError: an unknown name, or a network that the backend cannot run.
        MissingExtraError: the backend is not installed.
    """
    EngineChoice(name)
    if name == "auto":
        return Auto(model, images=images, precision=precision, say=say)
    chosen = precision or precision_of(model)
    if name == "eager":
        return Running(model, chosen)
    if name == "onnxruntime":
        return Running(model, "float32", onnx.OnnxRuntime(model))
    backend = openvino.OpenVino if name == "openvino" else compiled.Compiled
    return Running(model, chosen, backend(model, chosen))


def fastest(
    model: Segmenter,
    image: Image,
    precision: Precision,
    names: list[str],
    say: Callable[[str], None],
) -> tuple[Engine, dict[str, Any]]:
    """The quickest engine on `image` whose labels agree with the eager ones, and the figures it was chosen by."""
    best: Engine = Running(model, precision)
    expected, eager = _timed(best, image)
    least = eager
    decision: dict[str, Any] = {"engine": "eager", "seconds": {"eager": round(eager, 4)}, "agreement": {}}
    for name in names:
        try:
            engine = open_engine(model, name, precision=precision)
            found, seconds = _timed(engine, image)
        except PixelwiseError as error:
            say(f"{name}: {error.found}")
            continue
        agreement = float((found == expected).mean())
        decision["seconds"][name] = round(seconds, 4)
        decision["agreement"][name] = round(agreement, 6)
        say(
            f"{name}: {seconds:.3f} s an image, {100 * agreement:.3f} % of labels as with eager ({eager:.3f} s)"
        )
        if seconds < least and agreement >= AGREEMENT[precision]:
            best, least, decision["engine"] = engine, seconds, name
    return best, decision


def _timed(engine: Engine, image: Image) -> tuple[Labels, float]:
    """Labels, and the shorter of two times after one to warm up."""
    labels = engine(image)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        engine(image)
        seconds.append(time.perf_counter() - began)
    return labels, min(seconds)


def _key(model: Segmenter, precision: Precision, image: Image) -> str:
    """Machine, versions, network, precision and size, as one digest."""
    versions = []
    for name in ("torch", "openvino", "onnxruntime"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    facts = [
        _processor(),
        str(torch.get_num_threads()),
        *versions,
        model.name,
        model.encoder_name,
        repr(model.options),
        str(len(model.classes)),
        precision,
        str(image.shape),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} {os.cpu_count()}"


def _decisions() -> dict[str, dict[str, Any]]:
    """What was decided before; nothing where the file is missing or not ours."""
    try:
        found = json.loads((cache_folder() / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    rows = found.items() if isinstance(found, dict) else ()
    return {key: row for key, row in rows if isinstance(row, dict) and row.get("engine") in ENGINES[1:]}


def _remember(key: str, decision: dict[str, Any]) -> None:
    """Keep a decision; where nothing can be written, it is made again next time."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_text(cache_folder() / FILE, json.dumps({**_decisions(), key: decision}, indent=1) + "\n")
    except (OSError, PixelwiseError):
        return
