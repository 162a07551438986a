"""What a network computes, written down while it runs once without memory (torch's meta device).

Modules and functions all end in a small set of tensor operations, whatever they are called and however a network
branches on sizes. Those whose result depends on the image are written down, each with the layer that asked for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pixelwise.errors import PixelwiseError

IMAGE = -1  # as the operation that a tensor comes from


class TraceError(PixelwiseError):
    """A network computes something of which nobody has said what it does."""

    code = "trace"


@dataclass(frozen=True)
class Source:
    """A tensor that an operation takes, if the image can change it.

    Attributes:
        operation: Index of the operation that made it, `IMAGE` for the image.
        argument: Under which name it is taken.
        shape: Its shape.
    """

    operation: int
    argument: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Operation:
    """One tensor operation.

    Attributes:
        name: Such as `convolution`.
        arguments: By name, with those left out; tensors stand for themselves, without values.
        sources: Its arguments that depend on the image.
        shape: Of the result, the first one where there are several.
        module: Name of the innermost layer that it happens in.
        layer: That layer.
        call: Number of the call of the layer; the same for all that happens in one call.
    """

    name: str
    arguments: dict[str, Any]
    sources: tuple[Source, ...]
    shape: tuple[int, ...]
    module: str
    layer: nn.Module
    call: int

    @property
    def where(self) -> str:
        """The operation and its layer, for messages."""
        return f"{self.name} in {self.module or 'the network itself'}"


@dataclass(frozen=True, eq=False)
class Record:
    """All operations in the order of computation; `results` made what the network returned, in order."""

    operations: tuple[Operation, ...]
    results: tuple[int, ...]


def record(network: nn.Module, run: Callable[[Any, Tensor], Any], image: Tensor) -> Record:
    """Run a copy of `network` without memory and write down what happens.

    Args:
        network: Left as it is.
        run: Given the copy and the image; its tensors, alone or in lists, are the results.
        image: On the meta device.
    """
    recorder = _Recorder(image)
    ghost = without_memory(network).eval()
    for name, module in ghost.named_modules():
        recorder.follow(name, module)
    with torch.no_grad(), recorder:
        results = run(ghost, image)
    return Record(tuple(recorder.operations), tuple(recorder.made[id(t)] for t in _tensors(results)))


def without_memory(network: nn.Module) -> Any:
    """A copy with float32 weights on the meta device; nothing of the size of the weights is allocated."""
    held: dict[int, Any] = {}
    for parameter in network.parameters():
        held[id(parameter)] = nn.Parameter(_ghost(parameter), requires_grad=False)
    for buffer in network.buffers():
        held[id(buffer)] = _ghost(buffer)
    return copy.deepcopy(network, held)


def _ghost(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return torch.empty(tensor.shape, dtype=dtype, device="meta")


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation on a tensor that comes from the image."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.made = {id(image): IMAGE}
        self._kept: list[Any] = [image]  # as long as a tensor lives, its id is its own
        self._sharing: dict[int, set[int]] = {}
        self._inside: list[tuple[str, nn.Module, int]] = [("", nn.Module(), 0)]
        self._calls = 0

    def follow(self, name: str, module: nn.Module) -> None:
        """Notice when `module` starts and ends."""

        def enter(module: nn.Module, _: Any) -> None:
            self._calls += 1
            self._inside.append((name, module, self._calls))

        def leave(_: nn.Module, arguments: Any, result: Any) -> None:
            self._inside.pop()

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute one operation and note it."""
        arguments = _named(func, args, kwargs or {})
        sources = tuple(
            Source(self.made[id(tensor)], name, tuple(tensor.shape))
            for name, value in arguments.items()
            for tensor in _tensors(value)
            if id(tensor) in self.made
        )
        result = _result(func, arguments, args, kwargs or {})
        self._kept.append((args, kwargs, result))
        if sources:
            name = func.overloadpacket.__name__.removesuffix("_")  # in place or not is all the same
            self._note(name, arguments, sources, result)
        return result

    def _note(self, name: str, arguments: dict[str, Any], sources: tuple[Source, ...], result: Any) -> None:
        results = list(_tensors(result))
        module, layer, call = self._inside[-1]
        shape = tuple(results[0].shape) if results else ()
        operation = Operation(name, arguments, sources, shape, module, layer, call)
        for tensor in results:
            sharing = self._sharing.setdefault(tensor.untyped_storage()._cdata, set())
            if id(tensor) in self.made and len(sources) > 1 and len(sharing) > 1:
                raise TraceError(
                    f"{operation.where} writes into a tensor that others are views of",
                    remedy="write x = x + y in place of x += y there",
                )
            sharing.add(id(tensor))
            self.made[id(tensor)] = len(self.operations)
        self.operations.append(operation)


def _result(func: Any, named: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operation returns; batch normalisation in short, on which the meta device spends half of its time."""
    if func is torch.ops.aten.native_batch_norm.default:
        return torch.empty_like(named["input"]), named["input"].new_empty(0), named["input"].new_empty(0)
    return func(*args, **kwargs)


def _named(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments of an operation by name, defaults included."""
    named = {}
    for place, argument in enumerate(func._schema.arguments):
        default = argument.default_value if argument.has_default_value() else None
        named[argument.name] = args[place] if place < len(args) else kwargs.get(argument.name, default)
    return named


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
