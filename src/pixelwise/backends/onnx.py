"""ONNX Runtime: the only door to it. The network is exported for one size at a time, in float32."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.backends.interfaces import LowResolution, translated
from pixelwise.errors import MissingExtraError
from pixelwise.models.segmenter import Segmenter

KEPT = 4  # sizes that stay prepared, those met last; each has a copy of the weights and its own memory


def available() -> bool:
    """Are ONNX Runtime and what exports to it installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnxruntime", "onnx", "onnxscript"))


class OnnxRuntime:
    """A segmenter run by ONNX Runtime, exported once for each size that it meets."""

    name = "onnxruntime"
    footprint = 1.0

    def __init__(self, model: Segmenter) -> None:
        """Keep the model; the export comes with the first image of a size.

        Raises:
            MissingExtraError: ONNX Runtime, onnx or onnxscript is not installed.
        """
        if not available():
            raise MissingExtraError(
                "the engine onnxruntime needs onnxruntime, onnx and onnxscript, which are not all installed",
                remedy="pip install 'pixelwise[export]'",
            )
        self._core = LowResolution(model, plain=True).eval()
        self._failed = f"ONNX Runtime cannot run {model.name} on {model.encoder_name}"
        self._sessions: dict[tuple[int, ...], Any] = {}

    def __call__(self, pixels: NDArray[Any]) -> Tensor:
        """Framed pixels [N, H, W, C] to float32 logits [N, K, h, w].

        Raises:
            OptionError: it cannot run this network.
            MemoryError: it finds no room.
        """
        images = self._core.ready(pixels).contiguous()
        with translated(self._failed):
            session = self._session(images)
            return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])

    def _session(self, images: Tensor) -> Any:
        """That for images of this size, which becomes the last one to be forgotten."""
        shape = tuple(images.shape)
        session = self._sessions.pop(shape, None)
        if session is None:
            while len(self._sessions) >= KEPT:
                del self._sessions[next(iter(self._sessions))]
            session = self._exported(images)
        self._sessions[shape] = session
        return session

    def _exported(self, images: Tensor) -> Any:
        import onnxruntime

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter speaks of its own plans
            program = torch.onnx.export(self._core, (images,), dynamo=True, verbose=False)
        graph = program.model_proto.SerializeToString()  # type: ignore[union-attr]  # None only for a file
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def prepare(self, dtype: str) -> None:
        """Every size is prepared when it comes."""

    def release(self) -> None:
        """Forget the sizes that were met, each of which keeps its memory; they are exported again."""
        self._sessions.clear()
