"""Which backend runs a segmenter: chosen by the user, or by a short timing on the user's own image.

`auto` begins with the network as it is, since that starts at once. Only where the images to come would take longer
than preparing anything quicker does it try the others, on the image at hand; `decisions` remembers what came of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.backends import compiled, onnx, openvino, recorded
from pixelwise.errors import MissingExtraError, OptionError, PixelwiseError, close_matches
from pixelwise.infer import decisions
from pixelwise.infer.decisions import ENGINES
from pixelwise.infer.predictor import Precision, Running, precision_of
from pixelwise.models.bundle import facts_of
from pixelwise.models.segmenter import Segmenter
from pixelwise.types import Image, Labels

Answer = TypeVar("Answer")
WORTH = 20.0  # seconds of work still to do from which on `auto` looks for something quicker
WORTH_RECORDING = 5.0  # the same on a card, where what is quicker is there in a second or two
ON_PROCESSORS = ("openvino", "onnxruntime")  # engines that run nowhere else
LONG = 300.0  # from which on it waits for torch.compile too, which takes half a minute for each size of image
SEARCH = 60.0  # seconds after which it tries no further one
SLOW = 5.0  # seconds of an image from which on it is timed once and not twice
AGREEMENT: dict[Precision, float] = {
    "float32": 0.9999,
    "bfloat16": 0.99,
}  # of labels with those of `eager`, at least
INTEGERS = 0.9  # the same, whatever was told


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
        self,
        model: Segmenter,
        *,
        images: int,
        precision: Precision | None,
        say: Callable[[str], None],
        alike: Callable[[], bool] = lambda: False,
    ) -> None:
        self.model, self.left, self.say, self.alike = model, images, say, alike
        self.precision: Precision = precision or precision_of(model)
        self._eager = Running(model, self.precision)
        self.engine: Engine = self._eager
        self._on_card = next(model.parameters()).device.type != "cpu"
        self._decided = False
        self._answers = 0

    def prepare(self, dtype: str) -> None:
        """Nothing: what it begins with needs no preparation."""

    def release(self) -> None:
        """Give back the memory that the engine keeps."""
        self.engine.release()

    def __call__(self, image: Image) -> Labels:
        """The most probable class of every pixel."""
        return self._answer(image, lambda engine: engine(image))

    def with_confidence(self, image: Image) -> tuple[Labels, NDArray[np.float32]]:
        """The same, and its probability in 0..1."""
        return self._answer(image, lambda engine: engine.with_confidence(image))

    def with_sets(self, image: Image) -> tuple[Labels, NDArray[np.float32], NDArray[np.uint8]]:
        """The same, and how many classes are in the label set of each pixel."""
        return self._answer(image, lambda engine: engine.with_sets(image))

    def _answer(self, image: Image, ask: Callable[[Engine], Answer]) -> Answer:
        began = time.monotonic()
        answer = self._asked(ask)
        self.left -= 1
        self._answers += 1
        seconds = (time.monotonic() - began) * self.left
        # on a card the first image waits for all that has to be loaded
        told = self._answers > 1 or not self._on_card
        if told and not self._decided and seconds > (WORTH_RECORDING if self._on_card else WORTH):
            self._decided = True
            self.engine = self._quickest(image, seconds)
        return answer

    def _asked(self, ask: Callable[[Engine], Answer]) -> Answer:
        """By the engine, or eagerly from where that fails: on a size unlike the first, or since it was last timed."""
        try:
            return ask(self.engine)
        except OptionError as error:
            if self.engine is self._eager:
                raise
            self.say(f"going on with eager: {error.found}")
            self.engine = self._eager
            return ask(self.engine)

    def _quickest(self, image: Image, seconds: float) -> Engine:
        names = self._candidates(seconds)
        key = decisions.key_of(self.model, self.precision, image, names)
        known = decisions.known().get(key)
        if known is not None:
            try:
                engine = open_engine(self.model, known["engine"], precision=self.precision, alike=self.alike)
            except PixelwiseError:
                pass  # what was there then is not there now
            else:
                self.say(f"engine {known['engine']}, as timed before: {decisions.file()}")
                return engine
        self.say(f"about {seconds:.0f} s of work: looking for the quickest engine")
        engine, decision = fastest(self.model, image, self.precision, names, self.say, self.alike)
        self.say(f"going on with {decision['engine']}")
        decisions.remember(key, decision)
        return engine

    def _candidates(self, seconds: float) -> list[str]:
        """Names, the soonest prepared first; those that prepare each size anew only where there is but one."""
        if self._on_card:
            return ["recorded"]
        names = ["openvino"]
        if self.alike():
            if self.precision == "float32":  # ONNX Runtime has no convolutions in bfloat16
                names.append("onnxruntime")
            if seconds > LONG:
                names.append("compiled")
        return names


def open_engine(
    model: Segmenter,
    name: str = "auto",
    *,
    images: int = 1,
    precision: Precision | None = None,
    say: Callable[[str], None] = lambda text: None,
    alike: Callable[[], bool] = lambda: False,
) -> Engine:
    """What turns images into labels, by the backend called `name`.

    Args:
        model: A network with its classes and its preprocessing.
        name: `eager` starts at once; `openvino` takes seconds to prepare; `compiled` and `onnxruntime` prepare each
            size of image; `recorded` is for models on a CUDA device; `auto` decides by timing.
        images: For `auto`: how many there are to be mapped.
        precision: As for `predict`.
        say: Called with what `auto` finds.
        alike: Whether all of them have one size, asked once that matters: `openvino` prepares for that size alone, and
            `auto` tries engines that prepare each size.

    Raises:
        OptionError: an unknown name, or a network that the backend cannot run, where it is; what prepares each size
            says so with the first image of it.
        MissingExtraError: the backend is not installed.
    """
    EngineChoice(name)
    if name == "auto":
        return Auto(model, images=images, precision=precision, say=say, alike=alike)
    chosen = precision or precision_of(model)
    if name in ON_PROCESSORS and next(model.parameters()).device.type != "cpu":
        raise OptionError(f"the engine {name} computes on the processor", remedy="add --device cpu")
    if name == "eager":
        return Running(model, chosen)
    if name == "onnxruntime":
        return Running(model, "float32", onnx.OnnxRuntime(model))
    if name == "compiled":
        return Running(model, chosen, compiled.Compiled(model, chosen))
    if name == "recorded":
        return Running(model, chosen, recorded.Recorded(model, chosen))
    return Running(model, chosen, openvino.OpenVino(model, chosen, alike))


def fastest(
    model: Segmenter,
    image: Image,
    precision: Precision,
    names: list[str],
    say: Callable[[str], None],
    alike: Callable[[], bool] = lambda: False,
) -> tuple[Engine, dict[str, Any]]:
    """The quickest engine on `image` whose labels agree with the eager ones, and the figures it was chosen by."""
    began = time.monotonic()
    best: Engine = Running(model, precision)
    expected, eager = _timed(best, image)
    least = eager
    decision: dict[str, Any] = {
        "engine": "eager",
        "seconds": {"eager": round(eager, 4)},
        "agreement": {},
        "left out": {},
    }
    for name in names:
        try:
            if time.monotonic() - began > SEARCH:
                raise OptionError(f"not tried, after {SEARCH:.0f} s of looking")
            engine = open_engine(model, name, precision=precision, alike=alike)
            found, seconds = _timed(engine, image)
        except PixelwiseError as error:
            decision["left out"][name] = error.found
            fix = f" ({error.remedy})" if isinstance(error, MissingExtraError) else ""
            say(f"{name}: {error.found}{fix}")
            continue
        agreement = float((found == expected).mean())
        decision["seconds"][name] = round(seconds, 4)
        decision["agreement"][name] = round(agreement, 6)
        say(
            f"{name}: {seconds:.3f} s an image, {100 * agreement:.3f} % of labels as with eager ({eager:.3f} s)"
        )
        if seconds < least and agreement >= _agreement(model, name, precision):
            best, least, decision["engine"] = engine, seconds, name
    return best, decision


def _agreement(model: Segmenter, name: str, precision: Precision) -> float:
    """The least share of labels: with integers, twice as many may differ as `quantize` has told, up to a tenth."""
    measured = facts_of(model).quantization
    if measured is None or name != "openvino" or not openvino.ranges_of(model, precision):
        return AGREEMENT[precision]
    return min(AGREEMENT[precision], max(INTEGERS, 1 - 2 * (1 - measured.agreement)))


def _timed(engine: Engine, image: Image) -> tuple[Labels, float]:
    """Labels, and the shorter of two times after one to warm up; of a slow image the first time."""
    labels = engine(image)
    least = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        engine(image)
        least = min(least, time.perf_counter() - began)
        if least > SLOW:
            break
    return labels, least
