"""Files that hold weights of an encoder: bundles, plain files of tensors, published files.

What a file says about the images that its weights expect (normalisation, type) travels along.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from pixelwise.errors import BundleError, OptionError, close_matches
from pixelwise.files import write_bytes
from pixelwise.models.bundle import KEY as BUNDLE_KEY
from pixelwise.models.bundle import facts_of, load_network
from pixelwise.models.download import cache_folder, fetch
from pixelwise.models.published import PUBLISHED, TERMS
from pixelwise.types import Normalization

KEY = "pixelwise.encoder"
VERSION = 1
HUB = "hub:"


@dataclass(frozen=True)
class EncoderWeights:
    """Tensors for an encoder, and what is known about them.

    Attributes:
        source: The file, run or name they were asked for by.
        encoder: Whose they are; None where the source does not say.
        tensors: By the names of the encoder's own state; layers of a classifier may be among them.
        normalization: Of the images they expect; None where unknown.
        dtype: Type of those images; None where unknown.
        licence: As the maker states it.
        notes: What else there is to know, a sentence each.
    """

    source: str
    encoder: str | None
    tensors: dict[str, Tensor]
    normalization: Normalization | None = None
    dtype: str | None = None
    licence: str = "unstated"
    notes: tuple[str, ...] = ()

    def normalization_for(self, bands: int, dtype: str) -> tuple[Normalization | None, str]:
        """The normalisation that these weights bring for images of `bands` bands, or None; and why, in a sentence."""
        own = self.normalization
        if own is None:
            reason = "do not say how their images were normalised"
        elif own.bands != bands:
            reason = f"know {own.bands} bands, the data have {bands}"
        elif self.dtype is not None and self.dtype != dtype:
            reason = f"know {self.dtype} values, the data are {dtype}"
        else:
            pairs = zip(own.mean, own.std, strict=True)
            values = ", ".join(f"{mean:g} ± {std:g}" for mean, std in pairs)
            return own, f"images are normalised as the weights expect: {values}"
        return None, f"the weights {reason}: images are normalised by the data's own statistics"


class _Card(BaseModel):
    """The metadata of a file of encoder weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    encoder: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: str
    licence: str
    source: str
    notes: tuple[str, ...]


def read_encoder_weights(source: str | Path, *, say: Callable[[str], None] | None = None) -> EncoderWeights:
    """Encoder weights from a bundle or run of any task, a .safetensors or .pth file of tensors, or `hub:NAME`.

    A .pth file is read as tensors only; anything else in it is refused, not executed. `hub:NAME` fetches a file of
    the table `PUBLISHED` once and keeps it in the cache folder; `say` is told before.

    Raises:
        BundleError: missing, damaged, or of no kind that is known.
        DownloadError: `hub:` without a network.
        OptionError: an unknown name after `hub:`.
    """
    text = str(source)
    if text.startswith(HUB):
        return _from_hub(text, say)
    path = Path(source)
    if path.is_dir():
        if (path / "model.json").is_file():
            raise BundleError(
                "is a TensorFlow.js folder",
                file=path,
                remedy=f"pixelwise weights convert {path} -o FILE.safetensors, and give that file",
            )
        return _from_bundle(path)
    if not path.is_file():
        raise BundleError(
            "no such file or folder",
            file=path,
            remedy=f"give a run, a .safetensors or .pth file, or {HUB}NAME with one of {', '.join(PUBLISHED)}",
        )
    if path.suffix in (".pth", ".pt"):
        return EncoderWeights(text, None, _read_pth(path))
    if path.suffix != ".safetensors":
        raise BundleError(
            f"has the suffix {path.suffix!r}", file=path, remedy="give a run, a .safetensors or a .pth file"
        )
    return _from_safetensors(path)


def save_encoder_weights(path: str | Path, weights: EncoderWeights) -> Path:
    """Write encoder weights as one .safetensors file that says whose they are and what they expect.

    Raises:
        OptionError: the encoder, the normalisation or the type of the images is unknown.
        OutputError: the place cannot be written to.
    """
    if weights.encoder is None or weights.normalization is None or weights.dtype is None:
        raise OptionError("weights of unknown origin", remedy="say encoder, normalization and dtype")
    card = _Card(
        version=VERSION,
        encoder=weights.encoder,
        mean=weights.normalization.mean,
        std=weights.normalization.std,
        dtype=weights.dtype,
        licence=weights.licence,
        source=weights.source,
        notes=weights.notes,
    )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.tensors.items()}
    write_bytes(path, serialize(tensors, metadata={KEY: card.model_dump_json()}))
    return Path(path)


def _from_hub(text: str, say: Callable[[str], None] | None) -> EncoderWeights:
    name = text.removeprefix(HUB)
    if name not in PUBLISHED:
        raise OptionError(f"no published weights are called {name!r}", remedy=close_matches(name, PUBLISHED))
    entry = PUBLISHED[name]
    folder = cache_folder() / "weights"
    where = urlsplit(entry.url)
    file = Path(where.path).name
    if say is not None and not (folder / file).is_file():
        say(f"fetching {file}, about {entry.megabytes} MB, from {where.hostname} into {folder}")
    path = fetch(entry.url, folder, sha256=entry.sha256)
    return EncoderWeights(
        text, entry.encoder, _read_pth(path), entry.normalization, "uint8", entry.licence, (TERMS,)
    )


def _from_bundle(path: Path) -> EncoderWeights:
    network = load_network(path)
    facts = facts_of(network)
    return EncoderWeights(
        str(path),
        network.encoder_name,
        network.encoder.state_dict(),
        network.normalization,
        facts.dtype,
        facts.licence,
    )


def _from_safetensors(path: Path) -> EncoderWeights:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if BUNDLE_KEY in metadata:
                return _from_bundle(path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"cannot be read, it is damaged or incomplete ({error})", file=path, remedy="copy it again"
        ) from error
    if KEY not in metadata:
        return EncoderWeights(str(path), None, _plain_names(tensors))
    try:
        card = _Card.model_validate_json(metadata[KEY])
    except ValidationError as error:
        raise BundleError(
            f"its description is wrong at {error.errors()[0]['loc']}: {error.errors()[0]['msg']}",
            file=path,
            remedy="convert the weights again with this version",
        ) from error
    normalization = Normalization(card.mean, card.std)
    return EncoderWeights(
        str(path), card.encoder, tensors, normalization, card.dtype, card.licence, card.notes
    )


def _read_pth(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of torch.save, by name; nothing in it is executed."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of formats it may not know: what fails is told below
            value = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BundleError(
            "is no file of tensors alone; what else it holds was not executed",
            file=path,
            remedy="ask for the state_dict, or for a .safetensors file",
        ) from error
    except Exception as error:  # a damaged pickle fails in many ways
        raise BundleError(
            f"cannot be read, it is damaged or incomplete ({type(error).__name__})",
            file=path,
            remedy="copy it again",
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    named = isinstance(value, dict) and value and all(isinstance(key, str) for key in value)
    if not named or not all(isinstance(tensor, Tensor) for tensor in value.values()):
        raise BundleError(
            "holds no mapping from names to tensors", file=path, remedy="save network.state_dict() there"
        )
    return _plain_names(value)


def _plain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the `module.` that data-parallel training puts before every name."""
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return dict(tensors)
