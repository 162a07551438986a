"""What each layer of a network does: output size, parameters, multiply-adds, receptive field.

The network is traced symbolically, sizes come from a run without memory (torch's meta device), and receptive
fields from intervals of pixel indices carried back through the graph, so that skips count with their true
extent.
"""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.resize import pad_to_multiple


@dataclass(frozen=True)
class LayerRow:
    """One layer of `describe`; `output` is (channels, height, width), `field` in image pixels per axis."""

    name: str
    kind: str
    output: tuple[int, int, int]
    parameters: int
    multiply_adds: int
    field: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {**self.__dict__, "output": list(self.output)}


@dataclass(frozen=True)
class Description:
    """All layers of a network for one image size.

    Attributes:
        rows: In the order of computation.
        parameters: Of the whole network.
        multiply_adds: For one image of `size`.
        halo: Image pixels before and after a tile, cut at multiples of the stride, that its output depends on.
        size: Height and width of the image.
    """

    rows: tuple[LayerRow, ...]
    parameters: int
    multiply_adds: int
    halo: tuple[int, int]
    size: tuple[int, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {
            "size": list(self.size),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "halo": list(self.halo),
            "layers": [row.as_dict() for row in self.rows],
        }


def describe(model: Segmenter, *, size: tuple[int, int] = (512, 512)) -> Description:
    """Trace `model` on one image of `size` (height, width).

    >>> from pixelwise.models.zoo import build
    >>> facts = describe(build("unet", encoder="resnet18", classes=6))
    >>> facts.rows[0].output, facts.rows[0].field, facts.halo
    ((64, 256, 256), 7, (281, 250))
    """
    core = _Core(copy.deepcopy(model).to("meta", torch.float32).eval())
    graph = fx.GraphModule(core, _Tracer().trace(core))
    image = pad_to_multiple(torch.empty(1, model.bands, *size, device="meta"), model.stride)
    recorder = _Recorder(graph, core)
    recorder.run(image)
    period = model.stride  # the pattern of who sees what repeats with the stride
    logits = recorder.layers[-1][0]
    first, last = _seen(core, logits, 0, period // _stride(recorder.layers[-1][1], image) - 1)
    rows = tuple(_row(core, node, result, period) for node, result in recorder.layers)
    return Description(
        rows=rows,
        parameters=sum(p.numel() for p in model.parameters()),
        multiply_adds=sum(row.multiply_adds for row in rows),
        halo=(-first, last - period + 1),
        size=size,
    )


class _Core(nn.Module):
    """Encoder, decoder and head without the padding, which depends on the size."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = model.encoder, model.decoder, model.head

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.decoder(self.encoder(images)))
        return logits


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m.__module__.startswith("torch.nn") and not isinstance(m, nn.Sequential)


class _Recorder(fx.Interpreter):
    """Runs the graph and keeps the result of every layer worth a row."""

    def __init__(self, graph: fx.GraphModule, core: nn.Module) -> None:
        super().__init__(graph)
        self.core = core
        self.layers: list[tuple[fx.Node, Tensor]] = []

    def run_node(self, n: fx.Node) -> Any:
        """Compute one node and note it."""
        result = super().run_node(n)
        if n.op == "call_module":
            if not isinstance(self.core.get_submodule(str(n.target)), (nn.ReLU, nn.Dropout2d, nn.Identity)):
                self.layers.append((n, result))
        elif n.target in _FUNCTIONS:
            self.layers.append((n, result))
        return result


_FUNCTIONS = {F.interpolate: "upsample", torch.cat: "concatenate", operator.add: "add", operator.iadd: "add"}


def _row(core: nn.Module, node: fx.Node, result: Tensor, period: int) -> LayerRow:
    channels, height, width = result.shape[1:]
    spans = [_seen(core, node, place, place) for place in range(period)]
    field = max(last - first + 1 for first, last in spans)
    if node.op != "call_module":
        name = _FUNCTIONS[node.target]  # type: ignore[index]
        return LayerRow(node.name, name, (channels, height, width), 0, 0, field)
    module = core.get_submodule(str(node.target))
    parameters = sum(p.numel() for p in module.parameters())
    adds = module.weight.numel() * height * width if isinstance(module, nn.Conv2d) else 0
    return LayerRow(
        str(node.target), type(module).__name__, (channels, height, width), parameters, adds, field
    )


def _stride(result: Tensor, image: Tensor) -> int:
    return int(image.shape[-1] // result.shape[-1])


def _seen(core: nn.Module, target: fx.Node, first: int, last: int) -> tuple[int, int]:
    """The first and last image pixel, along one axis, that outputs `first`..`last` of a node depend on."""
    wanted: dict[fx.Node, tuple[int, int]] = {target: (first, last)}
    for node in reversed(target.graph.nodes):
        if node not in wanted:
            continue
        if node.op == "placeholder":
            return wanted[node]
        span = _before(core, node, *wanted.pop(node))
        for source in node.all_input_nodes:
            low, high = wanted.get(source, span)
            wanted[source] = (min(low, span[0]), max(high, span[1]))
    raise ValueError("the node does not depend on the image")


def _before(core: nn.Module, node: fx.Node, first: int, last: int) -> tuple[int, int]:
    """The span of a layer's input that its outputs `first`..`last` depend on."""
    if node.target is F.interpolate:
        if node.kwargs["mode"] == "nearest":
            return first // 2, last // 2
        return (first - 1) // 2, (last + 1) // 2
    module = core.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        kernel, stride, padding, dilation = (
            int(value[0] if isinstance(value, tuple) else value)
            for value in (module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
        )
        return first * stride - padding, last * stride - padding + dilation * (kernel - 1)
    return first, last
