"""What each layer of a network does: output size, parameters, multiply-adds, receptive field.

One run without memory tells sizes and operations (`graph`), and windows put behind one another tell who sees what
(`fields`), so that skips count with their true extent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from pixelwise.errors import OptionError
from pixelwise.models.fields import Field, fields, halo
from pixelwise.models.graph import IMAGE, Record, record
from pixelwise.models.interfaces import Encoder
from pixelwise.models.network import Network
from pixelwise.models.rows import LayerRow, is_layer, layer_rows, size_of
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.stages import Stage, stages
from pixelwise.ops.resize import pad_to_multiple

SIZE = (512, 512)


@dataclass(frozen=True)
class Description:
    """All layers of a network for one image size.

    Attributes:
        rows: In the order of computation.
        parameters: Of the whole network.
        multiply_adds: For one image of `size`.
        field: Of the network's own output, in image pixels per axis; None for the whole image.
        halo: Image pixels before and after a tile, cut at multiples of the stride, that its output depends on; None
            for the whole image.
        whole: The first layer that sees the whole image, such as `GroupNorm (encoder.bn1)`; empty if none does.
        size: Height and width of the image.
        shown: Height and width of what the network computes on: the image enlarged to what it can take, or a window.
        stride: Image pixels per pixel of the network's own output; None where that is one vector for the image.
        stages: The network in large: runs of layers at one resolution, and what connects them.
        windows: How many windows a sliding classifier looks at, each on its own; the rows show one of them, with
            the multiply-adds of all. 0 for every other network.
    """

    rows: tuple[LayerRow, ...]
    parameters: int
    multiply_adds: int
    field: int | None
    halo: tuple[int, int] | None
    whole: str
    size: tuple[int, int]
    shown: tuple[int, int]
    stride: Fraction | None
    stages: tuple[Stage, ...]
    windows: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`; a halo of the whole image is `global: ` and the layer that sees it."""
        return {
            "size": list(self.size),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "field": "global" if self.field is None else self.field,
            "halo": f"global: {self.whole}" if self.halo is None else list(self.halo),
            "stride": None if self.stride is None else float(self.stride),
            "windows": self.windows,
            "layers": [row.as_dict() for row in self.rows],
        }


def describe(model: Network, *, size: tuple[int, int] = SIZE) -> Description:
    """Trace `model` on one image of `size` (height, width), enlarged as the network wants it.

    Raises:
        TraceError: the network computes something of which no receptive field is known.
        OptionError: a size below 1 x 1.

    >>> from pixelwise.models.zoo import build
    >>> facts = describe(build("unet", encoder="resnet18", classes=6))
    >>> facts.rows[0].output, facts.rows[0].field, facts.halo
    ((64, 256, 256), 7, (281, 250))
    """
    image = _image(model.bands, size)
    if not isinstance(model, Segmenter):
        traced = record(model, _maps_and_answer, image)
        return _description(model, traced, image, size, cut=model.stride)
    if model.decoder.window is not None:
        return _slid(model, model.decoder.window, size)
    image = model.frame.fitted(image)
    traced = record(model, _maps_and_logits, image)
    return _description(model, traced, image, size, cut=model.stride, margin=model.decoder.margin)


def describe_encoder(encoder: Encoder, *, bands: int = 3, size: tuple[int, int] = SIZE) -> Description:
    """Trace an encoder on its own; field and halo are those of its deepest map.

    >>> from pixelwise.models.interfaces import EncoderOptions
    >>> from pixelwise.models.zoo import make_encoder
    >>> facts = describe_encoder(make_encoder("vgg16", 3, EncoderOptions()))
    >>> facts.parameters, facts.field
    (14714688, 212)
    """
    image = pad_to_multiple(_image(bands, size), encoder.multiple)
    traced = record(nn.ModuleDict({"encoder": encoder}), lambda parts, x: parts["encoder"](x), image)
    return _description(encoder, traced, image, size, cut=encoder.multiple)


def _image(bands: int, size: tuple[int, int]) -> torch.Tensor:
    if min(size) < 1:
        raise OptionError(f"size is {size}", remedy="give a positive height and width")
    return torch.empty(1, bands, *size, device="meta")


def _maps_and_logits(network: Any, images: torch.Tensor) -> tuple[Any, Any]:
    maps = network.encoder(images)
    return maps, network.decoder(maps)


def _maps_and_answer(network: Any, images: torch.Tensor) -> list[Any]:
    """The encoder's maps too, which networks of other tasks do not hand out."""
    maps: list[Any] = []
    network.encoder.register_forward_hook(lambda _, images, result: maps.extend(result))
    answer = network(images)
    return [*maps, answer]


def _description(
    network: nn.Module,
    traced: Record,
    image: torch.Tensor,
    size: tuple[int, int],
    *,
    cut: int,
    margin: int = 0,
) -> Description:
    seen = fields(traced)
    large = stages(traced)
    rows = tuple(layer_rows(traced.operations, seen))
    last = traced.results[-1]
    field = seen[last] if last != IMAGE else None
    return Description(
        rows=rows,
        parameters=sum(p.numel() for p in network.parameters()),
        multiply_adds=sum(row.multiply_adds for row in rows),
        field=1 if last == IMAGE else size_of(field),
        halo=(0, 0) if last == IMAGE else None if field is None else halo(field, cut, margin=margin),
        whole=_first_whole(traced, seen),
        size=size,
        shown=(image.shape[-2], image.shape[-1]),
        stride=large[-1].stride if large else Fraction(1),
        stages=large,
    )


def _slid(model: Segmenter, window: tuple[int, int], size: tuple[int, int]) -> Description:
    """A classifier slid over the image: traced on one window, which is all that any of its values can see."""
    side, step = window
    one = torch.empty(1, model.bands, side, side, device="meta")
    traced = record(model, _maps_and_logits, one)
    places = -(-size[0] // step), -(-size[1] // step)
    windows = math.prod(places)
    rows = [
        replace(
            row,
            multiply_adds=row.multiply_adds * windows,
            field=side if row.field is None else min(row.field, side),
        )
        for row in layer_rows(traced.operations, fields(traced))
    ]
    rows.append(LayerRow("windows", "put together", (rows[-1].output[0], *places), 0, 0, side))
    before = (side - step) // 2
    return Description(
        rows=tuple(rows),
        parameters=sum(p.numel() for p in model.parameters()),
        multiply_adds=sum(row.multiply_adds for row in rows),
        field=side,
        halo=(before, side - step - before),
        whole="",
        size=size,
        shown=(side, side),
        stride=Fraction(step),
        stages=stages(traced),
        windows=windows,
    )


def _first_whole(traced: Record, seen: list[Field | None]) -> str:
    """The first layer on the way to the result of which a value sees the whole image."""
    needed = {traced.results[-1]}
    found = ""
    for place in reversed(range(len(traced.operations))):
        if place not in needed or seen[place] is not None:
            continue
        operation = traced.operations[place]
        before = {source.operation for source in operation.sources} - {IMAGE}
        needed |= before
        if all(seen[source] is not None for source in before):
            name = type(operation.layer).__name__ if is_layer(operation.layer) else operation.name
            found = f"{name} ({operation.module})" if operation.module else name
    return found
