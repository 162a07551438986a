"""Weights for an encoder: out of a model of any task, out of a published file, or by name from the network.

Only the encoder's part is taken, and all of it: a tensor that is missing, unknown or of another shape is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwise.errors import BundleError
from pixelwise.models.encoderfiles import EncoderWeights, read_encoder_weights
from pixelwise.models.encoders.stem import adapt_stem
from pixelwise.models.network import Network
from pixelwise.types import Normalization

SHOWN = 5  # tensors named in an error, of each kind
# Layers that published classifiers have after their encoder.
HEADS = ("fc.", "classifier.", "head.", "last_linear.", "pre_logits.", "aux1.", "aux2.", "conv_preds.")


@dataclass(frozen=True)
class Loaded:
    """What loading did.

    Attributes:
        source: Where the weights came from.
        encoder: Name of the encoder they went into.
        tensors: How many were loaded.
        left_out: Names of the tensors that belong to a classifier and were not used.
        adapted: How the first layer was made to take another number of bands; empty where it was not.
        normalization: What the weights expect, if known.
        licence: As the maker states it.
        notes: What else there is to know, a sentence each.
    """

    source: str
    encoder: str
    tensors: int
    left_out: tuple[str, ...]
    adapted: str
    normalization: Normalization | None
    licence: str
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a reader."""
        text = f"{self.encoder}: {self.tensors} tensors from {self.source} (licence: {self.licence})"
        if self.left_out:
            text += f"; {len(self.left_out)} of a classifier left out"
        return [text, *([self.adapted] if self.adapted else []), *self.notes]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self) | {"left_out": len(self.left_out), "notes": list(self.notes)}


def load_encoder_weights(
    network: Network, source: str | Path, *, say: Callable[[str], None] | None = None
) -> Loaded:
    """Read weights from `source` and put them into the encoder of `network`; see `read_encoder_weights`.

    Raises:
        BundleError: the source cannot be read, or holds weights of another encoder.
        DownloadError: `hub:` without a network.
        OptionError: an unknown name after `hub:`.

    >>> import tempfile
    >>> from pixelwise.models.bundle import save
    >>> from pixelwise.models.tasks import build_classifier
    >>> from pixelwise.models.zoo import build
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = save(build_classifier(encoder="resnet18"), f"{folder}/classifier.safetensors")
    ...     load_encoder_weights(build("unet", encoder="resnet18"), file).tensors
    120
    """
    return put_encoder_weights(network, read_encoder_weights(source, say=say))


def put_encoder_weights(network: Network, weights: EncoderWeights) -> Loaded:
    """Copy `weights` into the encoder of `network`, all of it or nothing.

    Raises:
        BundleError: they are another encoder's, or hold values that are not finite.
    """
    encoder, name = network.encoder, network.encoder_name
    if weights.encoder not in (None, name):
        raise BundleError(
            f"holds weights of {weights.encoder}, the network has {name}",
            file=weights.source,
            remedy=f"build the network with --encoder {weights.encoder}, or give weights of {name}",
        )
    own = encoder.state_dict()
    given, left_out = _encoder_part(weights.tensors, own)
    given, adapted = _adapt(given, own, f"{encoder.stem}.weight")
    _check_all_there(name, weights, given, own)
    broken = [key for key, tensor in given.items() if not torch.isfinite(tensor.float()).all()]
    if broken:
        raise BundleError(f"holds values that are not finite in {broken[0]}", file=weights.source)
    # counters of batches may be absent from old files, and count for nothing
    encoder.load_state_dict(own | given)
    return Loaded(
        weights.source,
        name,
        len(given),
        left_out,
        adapted,
        weights.normalization,
        weights.licence,
        weights.notes,
    )


def _encoder_part(
    tensors: dict[str, Tensor], own: dict[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors meant for an encoder with the state `own`, and the names of those of a decoder or classifier."""
    inside = {name.removeprefix("encoder."): name for name in tensors if name.startswith("encoder.")}
    names = inside or {name: name for name in tensors}
    kept = {key: tensors[name] for key, name in names.items() if key in own or not key.startswith(HEADS)}
    used = {names[key] for key in kept}
    return kept, tuple(sorted(tensors.keys() - used))


def _adapt(given: dict[str, Tensor], own: dict[str, Tensor], stem: str) -> tuple[dict[str, Tensor], str]:
    """Fit the first layer to the bands of the network, if nothing but their number differs."""
    if stem not in given or stem not in own:
        return given, ""
    before, after = given[stem].shape, own[stem].shape
    if before == after or len(before) != 4 or (before[0], *before[2:]) != (after[0], *after[2:]):
        return given, ""
    adapted = adapt_stem(given[stem].float(), after[1])
    return given | {stem: adapted}, (
        f"the first layer knew {before[1]} bands and now takes {after[1]}: its kernels were repeated in turn and "
        f"scaled so that their sum over bands, the answer to a grey image, stays what it was"
    )


def _check_all_there(
    name: str, weights: EncoderWeights, given: dict[str, Tensor], own: dict[str, Tensor]
) -> None:
    missing = [key for key in own.keys() - given.keys() if not key.endswith("num_batches_tracked")]
    unknown = list(given.keys() - own.keys())
    misshapen = [
        f"{key} {_shape(given[key])} for {_shape(own[key])}"
        for key in own.keys() & given.keys()
        if own[key].shape != given[key].shape
    ]
    kinds = {"lacks": missing, "has unknown": unknown, "has misshapen": misshapen}
    wrong = [f"{what} {len(keys)} ({_few(keys)})" for what, keys in kinds.items() if keys]
    if wrong:
        raise BundleError(
            f"does not hold the weights of this {name}: it {'; '.join(wrong)}",
            file=weights.source,
            remedy=f"give weights of {name}, built with the same width and normalisation",
        )


def _few(keys: list[str]) -> str:
    listed = ", ".join(sorted(keys)[:SHOWN])
    return f"{listed}, ..." if len(keys) > SHOWN else listed


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
