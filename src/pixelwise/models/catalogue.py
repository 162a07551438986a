"""Everything that can be built, with what it costs and how far it sees; nothing is computed or allocated for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from pixelwise.models.interfaces import EncoderOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.trace import SIZE, Description, describe, describe_encoder
from pixelwise.models.zoo import AUTO, Entry, build, entries, make_encoder


@dataclass(frozen=True)
class Row:
    """One line of `pixelwise models`: an encoder on its own, or a model on `encoder`."""

    entry: Entry
    encoder: str
    facts: Description

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`; field and halo may be `global`."""
        facts = self.facts.as_dict()
        kept = {key: facts[key] for key in ("parameters", "multiply_adds", "field", "halo")}
        return {**self.entry.__dict__, "encoder": self.encoder, "size": facts["size"], **kept}


def catalogue(size: tuple[int, int] = SIZE, *, classes: int = 2, bands: int = 3) -> Iterator[Row]:
    """A row per entry of the zoo, for images of `size` (height, width).

    >>> next(row for row in catalogue() if row.entry.name == "fullres").encoder
    'image'
    """
    for entry in entries():
        if entry.kind == "encoder":
            yield Row(entry, entry.name, sketched_encoder(entry.name, bands=bands, size=size))
            continue
        network = sketched(entry.name, encoder=AUTO, classes=classes, bands=bands)
        yield Row(entry, network.encoder_name, describe(network, size=size))


def sketched(name: str, *, encoder: str, classes: int, bands: int) -> Segmenter:
    """The network of `build` without values, on the meta device: in no time, however large it is."""
    with torch.device("meta"):
        return build(name, encoder=encoder, classes=classes, bands=bands)


def sketched_encoder(name: str, *, bands: int = 3, size: tuple[int, int] = SIZE) -> Description:
    """What `describe_encoder` says of the encoder called `name`, in its standard form."""
    with torch.device("meta"):
        encoder = make_encoder(name, bands, EncoderOptions())
    return describe_encoder(encoder, bands=bands, size=size)
