"""OpenVINO, Intel's inference runtime for processors: the only door to it.

https://docs.openvino.ai. The network is converted from torch as it is, for any size; batch normalisation is folded
and weights are laid out when it is compiled, a few seconds in all. Runs on AMD's processors too.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from typing import Any

import torch
from torch import Tensor

from pixelwise.backends.interfaces import LowResolution, Precision
from pixelwise.errors import MissingExtraError, OptionError
from pixelwise.models.segmenter import Segmenter


def available() -> bool:
    """Is OpenVINO installed."""
    return importlib.util.find_spec("openvino") is not None


class OpenVino:
    """A segmenter compiled by OpenVINO for this processor and for images of any size."""

    name = "openvino"

    def __init__(self, model: Segmenter, precision: Precision) -> None:
        """Convert and compile.

        Raises:
            MissingExtraError: OpenVINO is not installed.
            OptionError: it cannot convert this network.
        """
        began = time.monotonic()
        runtime = _runtime()
        hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            graph = _converted(runtime, model)
            self._request = runtime.Core().compile_model(graph, "CPU", hints).create_infer_request()
        except Exception as error:  # some of its own have no root but this
            if not isinstance(error, RuntimeError) and not type(error).__module__.startswith("openvino"):
                raise
            raise OptionError(
                f"OpenVINO cannot run {model.name} on {model.encoder_name}: {str(error).splitlines()[-1]}",
                remedy="choose another engine, such as compiled or eager",
            ) from error
        self.seconds = time.monotonic() - began

    def __call__(self, images: Tensor) -> Tensor:
        """Normalised float32 images [N, C, H, W] to float32 logits [N, K, h, w]."""
        pixels = images.contiguous().numpy()
        # shared: the arrays are read before the next call
        answer = self._request.infer({0: pixels}, share_inputs=True, share_outputs=True)
        return torch.from_numpy(answer[0])


def _converted(runtime: Any, model: Segmenter) -> Any:
    edge = 2 * model.stride
    example = model.frame.framed(torch.zeros(1, model.bands, edge, edge))
    shape = runtime.PartialShape([-1, model.bands, -1, -1])
    core = LowResolution(model, plain=True).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of torch's tracer: each size is computed from the image's, not frozen
        return runtime.convert_model(core, example_input=example, input=[shape])


def _runtime() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError(
            "the engine openvino needs OpenVINO, which is not installed",
            remedy="pip install 'pixelwise[fast]'",
        ) from error
    return openvino
