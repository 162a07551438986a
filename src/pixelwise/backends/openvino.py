"""OpenVINO, Intel's inference runtime for processors: the only door to it.

https://docs.openvino.ai. The network is converted from torch for any size, a U-Net's doublings folded; batch
normalisation is folded and weights are laid out when it is compiled, a few seconds in all. Where all images have one
size it is compiled for that one, which is 3 to 10 % quicker; never for both, as each holds weights of its own. A model
with ranges for integers computes the convolutions that have one in 8 bits.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.backends.folded import fold_doublings
from pixelwise.backends.interfaces import LowResolution, Precision, translated
from pixelwise.backends.quantized import Range, note_ranges, quantize_noted
from pixelwise.errors import MissingExtraError
from pixelwise.models.bundle import facts_of
from pixelwise.models.segmenter import Segmenter

BFLOAT16 = 0.46
"""Memory in bfloat16 as a share of torch's in float32, as measured by benchmarks/engine_memory.py."""

_TYPES = {"uint8": "u8", "uint16": "u16", "float32": "f32"}


def available() -> bool:
    """Is OpenVINO installed."""
    return importlib.util.find_spec("openvino") is not None


class OpenVino:
    """A segmenter compiled by OpenVINO for this processor."""

    name = "openvino"

    def __init__(
        self, model: Segmenter, precision: Precision, alike: Callable[[], bool] = lambda: False
    ) -> None:
        """Convert; what compiles it for a type of pixels comes with the first image of it.

        Args:
            model: As `judged` has it.
            precision: Of its arithmetic, where the processor has it.
            alike: Whether all images have one size, asked with the first one; another size is taken all the same.

        Raises:
            MissingExtraError: OpenVINO is not installed.
            OptionError: it cannot convert this network.
        """
        self._runtime = load_runtime()
        self._hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # pinned threads were seen on one core, at half the speed
        }
        self._model = model
        self._failed = f"OpenVINO cannot run {model.name} on {model.encoder_name}"
        with translated(self._failed, line=-1):
            self._graph = _converted(self._runtime, model, ranges_of(model, precision))
            able = self._runtime.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._requests: dict[str, Any] = {}
        self._alike = alike
        self._size: tuple[int, ...] | None = None  # that all requests are for; None is any
        # where the processor has no bfloat16, it computes in float32
        lower = precision == "bfloat16" and "BF16" in able
        self.footprint = BFLOAT16 if lower else 1.0

    def __call__(self, pixels: NDArray[Any]) -> Tensor:
        """Framed pixels [N, H, W, C] to float32 logits [N, K, h, w].

        Raises:
            OptionError: it cannot run this network.
            MemoryError: it finds no room.
        """
        pixels = np.ascontiguousarray(pixels)
        with translated(self._failed, line=-1):
            # shared: the arrays are read before the next call
            answer = self._request(pixels.dtype.name, pixels.shape).infer(
                {0: pixels}, share_inputs=True, share_outputs=True
            )
        return torch.from_numpy(answer[0])

    def prepare(self, dtype: str) -> None:
        """Compile for a type of pixels and any size, and lay out the weights, which comes with the first image."""
        edge = 2 * self._model.stride
        self._any_size()
        with translated(self._failed, line=-1):
            pixels = np.zeros((1, edge, edge, self._model.bands), dtype)
            self._request(dtype, pixels.shape).infer({0: pixels})

    def release(self) -> None:
        """Give back what activations took; the next image asks for it again."""
        for request in self._requests.values():
            request.get_compiled_model().release_memory()

    def _any_size(self) -> None:
        if self._size is not None:
            self._requests.clear()
        self._alike, self._size = (lambda: False), None

    def _request(self, dtype: str, size: tuple[int, ...]) -> Any:
        if not self._requests and self._alike():
            self._size = size
        elif self._size not in (None, size):
            self._any_size()
        if dtype not in self._requests:
            self._requests[dtype] = self._compiled(dtype)
        return self._requests[dtype]

    def _compiled(self, dtype: str) -> Any:
        """With normalisation in the graph: torch's threads, which wait busily after work, have no part in it."""
        runtime = self._runtime
        graph = self._graph.clone()
        if self._size is not None:
            count, height, width, bands = self._size
            graph.reshape([count, bands, height, width])
        steps = runtime.preprocess.PrePostProcessor(graph)
        steps.input().tensor().set_element_type(getattr(runtime.Type, _TYPES[dtype]))
        steps.input().tensor().set_layout(runtime.Layout("NHWC"))
        steps.input().model().set_layout(runtime.Layout("NCHW"))
        mean, deviation = (values.flatten().tolist() for values in (self._model.mean, 1 / self._model.scale))
        steps.input().preprocess().convert_element_type(runtime.Type.f32).mean(mean).scale(deviation)
        return runtime.Core().compile_model(steps.build(), "CPU", self._hints).create_infer_request()


def ranges_of(model: Segmenter, precision: Precision) -> dict[str, Range]:
    """Of the convolutions that compute in integers: none where another precision is asked for than the bundle's."""
    facts = facts_of(model)
    return facts.quantization.ranges if facts.quantization and precision == facts.precision else {}


def _converted(runtime: Any, model: Segmenter, ranges: Mapping[str, Range]) -> Any:
    edge = 2 * model.stride
    example = model.frame.framed(torch.zeros(1, model.bands, edge, edge))
    shape = runtime.PartialShape([-1, model.bands, -1, -1])
    core = LowResolution(model, plain=True).eval()
    note_ranges(core.model, ranges)
    fold_doublings(core)
    quantize_noted(core)
    with torch.no_grad(), warnings.catch_warnings():
        # of torch's tracer: each size is computed from the image's, not frozen
        warnings.simplefilter("ignore")
        return runtime.convert_model(core, example_input=example, input=[shape])


def load_runtime() -> Any:
    """OpenVINO's module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with _without_telemetry():
            import openvino
            import openvino.tools.ovc.convert_impl
            import openvino.tools.ovc.main
    except ImportError as error:
        raise MissingExtraError(
            "the engine openvino needs OpenVINO, which is not installed",
            remedy="pip install 'pixelwise[fast]'",
        ) from error
    return openvino


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """OpenVINO imported here reports nothing to anybody.

    Else its import and each conversion start a process that sends a message; without a network these processes live
    for seconds and take half of the speed from what is computed meanwhile. Its own code has a stub for where the
    package that sends is missing, so that package is hidden while OpenVINO is imported.
    """
    name = "openvino_telemetry"
    there = name in sys.modules
    if not there:
        sys.modules[name] = None  # type: ignore[assignment]  # what is None there cannot be imported
    try:
        yield
    finally:
        if not there:
            del sys.modules[name]
