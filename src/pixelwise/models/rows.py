"""One row per layer: what comes out, what it costs, how far it sees."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import nn

from pixelwise.models.fields import Field
from pixelwise.models.graph import Operation
from pixelwise.models.windows import ELEMENTWISE

# operations that get a row where no layer of torch's does them, and how the row calls them
KINDS = {
    "add": "add",
    "mul": "multiply",
    "cat": "concatenate",
    "convolution": "convolution",
    "max_pool2d_with_indices": "pool",
    "avg_pool2d": "pool",
    "_adaptive_avg_pool2d": "pool",
    "max_unpool2d": "unpool",
    "upsample_nearest2d": "upsample",
    "upsample_bilinear2d": "upsample",
    "slice": "crop",
    "constant_pad_nd": "pad",
    "reflection_pad2d": "pad",
    "replication_pad2d": "pad",
    "mean": "mean",
    "expand": "spread",
}
JOINS = frozenset({"add", "mul"})  # with a constant they are not worth a row


@dataclass(frozen=True)
class LayerRow:
    """One layer of `describe`.

    Attributes:
        name: The layer's; for an operation outside torch's layers, that of the part it happens in.
        kind: `Conv2d`, `upsample`, ...
        output: Channels, height and width.
        parameters: Those that no earlier row has counted.
        multiply_adds: For one image.
        field: Image pixels from the first to the last that a value depends on, the most of any value and of both
            axes; None for the whole image.
    """

    name: str
    kind: str
    output: tuple[int, int, int]
    parameters: int
    multiply_adds: int
    field: int | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`; a field of the whole image is `global`."""
        field = "global" if self.field is None else self.field
        return {**self.__dict__, "output": list(self.output), "field": field}


def layer_rows(operations: tuple[Operation, ...], seen: list[Field | None]) -> Iterator[LayerRow]:
    """A row per call of a torch layer, and per operation worth one outside of them."""
    counted: set[int] = set()
    places = range(len(operations))
    for _, group in groupby(places, key=lambda place: _group(operations[place], place)):
        members = [*group]
        done = [operations[place] for place in members]
        if not any(_worth(operation) for operation in done):
            continue
        last = done[-1]
        kind = _kind(last)
        weights = {id(p): p.numel() for p in _parameters(done) if id(p) not in counted}
        counted.update(weights)
        yield LayerRow(
            name=_name(last, kind),
            kind=kind,
            output=_output(last.shape),
            parameters=sum(weights.values()),
            multiply_adds=sum(_multiply_adds(operation) for operation in done),
            field=size_of(seen[members[-1]]),
        )


def _group(operation: Operation, place: int) -> tuple[int, str | int]:
    """Equal for neighbours that share a row: all of a torch layer's call, and both axes of a crop."""
    if is_layer(operation.layer):
        return operation.call, ""
    return operation.call, operation.name if operation.name == "slice" else place


def is_layer(module: nn.Module) -> bool:
    """Whether it is a layer of torch's or one with weights of its own, and not a composition."""
    if next(module.children(), None) is not None:
        return False
    return type(module).__module__.startswith("torch.nn.") or next(module.parameters(), None) is not None


def _worth(operation: Operation) -> bool:
    if is_layer(operation.layer):
        return operation.name not in ELEMENTWISE or next(operation.layer.parameters(), None) is not None
    if operation.name in JOINS and len(operation.sources) < 2:
        return False
    return operation.name in KINDS and (
        operation.shape != operation.sources[0].shape or operation.name in JOINS
    )


def _kind(operation: Operation) -> str:
    return type(operation.layer).__name__ if is_layer(operation.layer) else KINDS[operation.name]


def _name(operation: Operation, kind: str) -> str:
    path = operation.module
    if is_layer(operation.layer) or path.rpartition(".")[2] == kind:
        return path
    return f"{path}.{kind}" if path else kind


def _parameters(operations: list[Operation]) -> list[nn.Parameter]:
    layer = operations[-1].layer
    if is_layer(layer):
        return [*layer.parameters()]
    values = [value for operation in operations for value in operation.arguments.values()]
    return [value for value in values if isinstance(value, nn.Parameter)]


def _output(shape: tuple[int, ...]) -> tuple[int, int, int]:
    channels, height, width = (*shape[1:], 1, 1)[:3]
    return channels, height, width


def _multiply_adds(operation: Operation) -> int:
    """One per weight and place: for a transposed convolution the places of the input, else those of the output."""
    given = operation.arguments
    if operation.name == "convolution":
        shape = operation.sources[0].shape if given["transposed"] else operation.shape
        return shape[0] * math.prod(shape[2:]) * int(given["weight"].numel())
    if operation.name in ("addmm", "mm"):
        return operation.shape[0] * int(given["mat2"].numel())
    return 0


def size_of(field: Field | None) -> int | None:
    """Image pixels from the first to the last, the most of both axes; None for the whole image."""
    return None if field is None else max(reach.size for reach in field)
