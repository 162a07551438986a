"""What a network must see around a tile to judge it as in the whole image, and what that costs in memory.

The halo is that of the logits at the size of the image, interpolation included. Where averages over the whole image
enter, they are found: when each of them is a pooling layer and none depends on another, the network is local but for
these averages, which can be taken first and put in as constants.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.models.fields import Field, fields, halo
from pixelwise.models.graph import IMAGE, Operation, Record, record
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.windows import window_of
from pixelwise.ops.resize import resize

SIZE = 512


@dataclass(frozen=True)
class Surroundings:
    """What a tile needs.

    Attributes:
        stride: Tiles begin at multiples of it.
        halo: Image pixels before and after a tile that its logits depend on, the averages aside; None where
            something else than an average of the image enters.
        pools: Names of the layers that average over the whole image.
        whole: What makes a halo impossible, such as `GroupNorm (encoder.bn1)`; empty where there is one.
        memory: Bytes per image pixel that the network holds at most at one time, in float32.
    """

    stride: int
    halo: tuple[int, int] | None
    pools: tuple[str, ...]
    whole: str
    memory: float


def surroundings(model: Segmenter) -> Surroundings:
    """Trace `model` and say what a tile of it needs.

    Raises:
        TraceError: the network computes something of which no receptive field is known.

    >>> from pixelwise.models.zoo import build
    >>> facts = surroundings(build("unet", classes=6))
    >>> facts.stride, facts.halo
    (32, (281, 250))
    >>> surroundings(build("deeplabv3plus", classes=6)).pools
    ('decoder.aspp.image.0',)
    """
    if model.decoder.window is not None:
        return _slid(model, *model.decoder.window)
    margin = model.decoder.margin
    image = model.frame.fitted(torch.empty(1, model.bands, SIZE, SIZE, device="meta"))
    traced = record(model, _maps_and_labels, image)
    memory = _peak(traced, image) / (image.shape[-2] * image.shape[-1])
    local, whole = traced, ""
    pools: tuple[str, ...] = ()
    if _field(traced, -1) is None:
        pools, whole = _averages(traced)
        if not whole:
            local = record(model, _with_constants(pools), image)
            if _field(local, -1) is None:
                nested = [operation for operation in _global(local) if operation.module not in pools]
                whole = ", ".join(dict.fromkeys(_describe(operation) for operation in nested))
    if pools and margin and not whole:
        whole = ", ".join(pools)  # the margin is mirrored: an average over tiles is not that over the image
    reach = None
    if not whole:
        wanted = [_field(local, place) for place in range(-1 - len(pools), 0)]
        reach = _halo([field for field in wanted if field is not None], model.stride, margin)
    return Surroundings(model.stride, reach, pools, whole, memory)


def _maps_and_labels(network: Any, images: Tensor) -> tuple[Any, Tensor]:
    """The encoder's maps too, which live until the decoder is done."""
    maps = network.encoder(images)
    return maps, _full(network, network.decoder(maps), images)


def _full(network: Any, logits: Tensor, images: Tensor) -> Tensor:
    margin = network.decoder.margin
    return resize(logits, (images.shape[-2] - 2 * margin, images.shape[-1] - 2 * margin))


def _with_constants(pools: Sequence[str]) -> Callable[[Any, Tensor], list[Tensor]]:
    """Run with constants for the results of `pools`; what they average comes before the logits in the results."""

    def run(network: Any, images: Tensor) -> list[Tensor]:
        taken: list[Tensor] = []

        def replace(_: nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> Tensor:
            taken.append(arguments[0])
            return torch.empty(result.shape, device="meta")

        for name in pools:
            network.get_submodule(name).register_forward_hook(replace)
        logits = _full(network, network.decoder(network.encoder(images)), images)
        return [*taken, logits]

    return run


def _averages(traced: Record) -> tuple[tuple[str, ...], str]:
    """The pooling layers that average over the image, or what else sees all of it."""
    pools: list[Operation] = []
    whole: list[Operation] = []
    for operation in _global(traced):
        layer = operation.layer
        pooled = isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1))
        (pools if pooled else whole).append(operation)
    names = tuple(dict.fromkeys(operation.module for operation in pools))
    calls = Counter(operation.module for operation in pools)
    whole += [operation for operation in pools if calls[operation.module] > 1]
    return names, ", ".join(dict.fromkeys(_describe(operation) for operation in whole))


def _global(traced: Record) -> list[Operation]:
    """The operations that see the whole image though nothing before them does."""
    seen = fields(traced)
    return [
        operation
        for operation, field in zip(traced.operations, seen, strict=True)
        if field is None
        and window_of(operation, 0) is None
        and all(source.operation == IMAGE or seen[source.operation] for source in operation.sources)
    ]


def _describe(operation: Operation) -> str:
    return f"{type(operation.layer).__name__} ({operation.module})"


def _field(traced: Record, result: int) -> Field | None:
    place = traced.results[result]
    return None if place == IMAGE else fields(traced)[place]


def _halo(found: Sequence[Field], stride: int, margin: int) -> tuple[int, int]:
    halos = [halo(field, stride, margin=margin) for field in found]
    return max(before for before, _ in halos), max(after for _, after in halos)


def _slid(model: Segmenter, size: int, step: int) -> Surroundings:
    """A sliding classifier: a window around each step, and its neighbours' between which logits are interpolated."""
    one = torch.empty(1, model.bands, size, size, device="meta")
    traced = record(model, lambda network, x: network.decoder(network.encoder(x)), one)
    before = (size - step) // 2
    reach = (before + step, size - step - before + step)
    outputs = max(2, len(model.classes))
    return Surroundings(step, reach, (), "", _peak(traced, one) / step**2 + 4 * (model.bands + 3 * outputs))


def _peak(traced: Record, image: Tensor) -> int:
    """Bytes of all results that are still to be read, at the worst moment; in place or not is not told apart."""
    operations = traced.operations
    owners = {IMAGE: IMAGE}  # what holds the memory of a result
    last: dict[int, int] = {}
    for place, operation in enumerate(operations):
        owners[place] = owners[operation.sources[0].operation] if operation.name in VIEWS else place
        for source in operation.sources:
            last[owners[source.operation]] = place
        last[owners[place]] = place
    for place in traced.results:
        last[owners[place]] = len(operations)
    sizes = {place: 4 * math.prod(operation.shape) for place, operation in enumerate(operations)}
    sizes[IMAGE] = 4 * image.numel()
    held = worst = sizes[IMAGE]
    for place in range(len(operations)):
        held += sizes[place] if owners[place] == place else 0
        worst = max(worst, held + _scratch(operations[place]))
        held -= sum(sizes[gone] for gone, end in last.items() if end == place)
    return worst


def _scratch(operation: Operation) -> int:
    """A convolution may bring what it reads and what it writes into another order first."""
    if operation.name != "convolution":
        return 0
    return 4 * sum(math.prod(shape) for shape in (operation.shape, *(s.shape for s in operation.sources)))


# results that share the memory of their source; ReLU is done in place here
VIEWS = frozenset({"view", "_unsafe_view", "slice", "split", "expand", "alias", "detach", "permute", "relu"})
