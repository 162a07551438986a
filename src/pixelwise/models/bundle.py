"""One `.safetensors` file per model: weights, and one JSON document with all that is needed to use them.

The document has a closed, versioned schema and a SHA-256 over itself and every tensor. Loading builds the
network from the table of names; nothing in a file is ever executed or imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from pixelwise.config import fill
from pixelwise.errors import BundleError, OptionError
from pixelwise.files import write_bytes
from pixelwise.models.calibration import Calibration
from pixelwise.models.fingerprint import Fingerprint
from pixelwise.models.network import Network, TaskName
from pixelwise.models.quantization import Quantization
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.tasks import TASKS, build_task
from pixelwise.ops.cards import pick_device
from pixelwise.types import ClassSpec, Normalization

KEY = "pixelwise"
VERSION = 1
_REMEDY = "save the model again with pixelwise; a bundle is not edited by hand"
FILE_NAME = "model.safetensors"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingSummary(_Closed):
    """How the weights came about: enough to judge them, not to continue."""

    dataset: str
    dataset_sha256: str
    images: int
    steps: int
    seconds: float
    seed: int
    options: dict[str, Any]
    validation: dict[str, Any]


class BundleFacts(_Closed):
    """What a bundle says beyond the network itself.

    Attributes:
        split: Names of the images per split, when the split had to be made.
        precision: Arithmetic the reported scores were measured with.
        dtype: Type of the image files: uint8, uint16 or float32.
        table: How mask values map to classes, for `ClassTable.from_dict`.
        pixel_size, tile_plan: Always None: places in the format that nothing fills.
        calibration: Temperatures that make its probabilities say how often it is right.
        quantization: Which convolutions may compute in 8-bit integers, where an engine can.
        fingerprint: What the training images looked like, for the shift alarm.
        training: Summary of the training run.
        licence: Licence of the weights, as their maker states it.
    """

    split: dict[str, list[str]] = {}
    precision: Literal["float32", "bfloat16"] = "float32"
    dtype: str | None = None
    table: dict[str, Any] | None = None
    pixel_size: float | None = None
    tile_plan: None = None
    calibration: Calibration | None = None
    quantization: Quantization | None = None
    fingerprint: Fingerprint | None = None
    training: TrainingSummary | None = None
    licence: str = "unstated"


class _Class(_Closed):
    name: str
    color: str


class _Network(_Closed):
    name: str
    encoder: str
    options: dict[str, Any]


class _Normalization(_Closed):
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _Document(_Closed):
    version: int
    library: str
    task: TaskName
    network: _Network
    classes: list[_Class]
    bands: int
    normalization: _Normalization
    facts: BundleFacts
    sha256: str


def facts_of(network: Network) -> BundleFacts:
    """What the bundle of a network says beyond it; the defaults for one that was not loaded from a bundle."""
    return network.facts if isinstance(network.facts, BundleFacts) else BundleFacts()


def save(model: Network, path: str | Path, *, facts: BundleFacts | None = None) -> Path:
    """Write `model` as one bundle file; the previous file survives a failure.

    Raises:
        OutputError: the disk is full or the place cannot be written to.

    >>> import tempfile
    >>> from pixelwise.models.zoo import build
    >>> net = build("unet", classes=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(save(net, f"{folder}/net.safetensors")).classes[2].name
    'class_2'
    """
    from pixelwise import __version__

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    facts = facts_of(model) if facts is None else facts
    body: dict[str, Any] = {
        "version": VERSION,
        "library": __version__,
        "task": model.task,
        "network": {
            "name": model.name,
            "encoder": model.encoder_name,
            "options": dataclasses.asdict(model.options),
        },
        "classes": [dataclasses.asdict(spec) for spec in model.classes],
        "bands": model.bands,
        "normalization": dataclasses.asdict(model.normalization),
        # without the key where there are none, as versions know it that have no integers
        "facts": facts.model_dump(mode="json", exclude=None if facts.quantization else {"quantization"}),
    }
    body = json.loads(json.dumps(body))  # tuples become lists here, as they will when read
    body["sha256"] = _digest(body, tensors)
    # Names of images may be no UTF-8: what JSON reads back of them is \udcff.
    text = json.dumps(body, ensure_ascii=False).encode(errors="backslashreplace").decode()
    write_bytes(path, serialize(tensors, metadata={KEY: text}))
    return Path(path)


def load(path: str | Path, device: str = "cpu") -> Segmenter:
    """Read a bundle file, or the `model.safetensors` of a run folder, as a network in evaluation mode.

    Args:
        path: Of the file or folder.
        device: Where it is put: `auto` (a CUDA card if there is one), `cpu`, `cuda` or `cuda:1`.

    Raises:
        OptionError: there is no such device.
        BundleError: missing, damaged, not a bundle, made by a newer version, with wrong weights, or of a network
            that does not segment.
    """
    network = load_network(path, device)
    if not isinstance(network, Segmenter):
        raise BundleError(
            f"holds a network that can {network.task}, not one that can segment",
            file=Path(path),
            remedy="give a model trained with --task segment",
        )
    return network


def load_network(path: str | Path, device: str = "cpu") -> Network:
    """`load` for a bundle of any task.

    Raises:
        BundleError, OptionError: see `load`.
    """
    place = pick_device(device)
    path = _bundle_path(Path(path))
    text, tensors = _read(path)
    document = _parse(path, text, tensors)
    try:
        options = fill(TASKS[document.task].options(), document.network.options)
        model = build_task(
            document.task,
            name=document.network.name,
            encoder=document.network.encoder,
            classes=[ClassSpec(item.name, item.color) for item in document.classes],
            bands=document.bands,
            normalization=Normalization(document.normalization.mean, document.normalization.std),
            options=options,
        )
    except OptionError as error:
        raise BundleError(
            f"describes a network that cannot be built: {error.found}", file=path, remedy=_REMEDY
        ) from error
    _fill_weights(path, model, tensors)
    fitted = document.facts.calibration
    if fitted is not None and len(fitted.each(len(model.classes))) != len(model.classes):
        raise BundleError(
            f"has {len(fitted.temperatures)} temperatures for {len(model.classes)} classes",
            file=path,
            remedy=_REMEDY,
        )
    convolutions = {
        name for name, part in model.named_modules() if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))
    }
    strange = set(document.facts.quantization.ranges if document.facts.quantization else ()) - convolutions
    if strange:
        raise BundleError(
            f"has a range for {min(strange)!r}, which is no convolution of the network",
            file=path,
            remedy=_REMEDY,
        )
    model.facts, model.digest = document.facts, document.sha256
    return model.to(place).eval()


def weights_digest(network: Network) -> str:
    """SHA-256 of the weights alone: a copy of a model has the same, calibrated or under another name."""
    return _digest({}, network.state_dict())


def _bundle_path(path: Path) -> Path:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        what = f"the folder holds no {FILE_NAME}" if path.is_dir() else "no such file"
        raise BundleError(what, file=path, remedy="give a .safetensors file or a run folder that has trained")
    return file


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
        # A safetensors file begins with the length of its header, which may look like a pickle's first bytes.
        if start[8:9] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
            raise BundleError(
                "is a pickle or zip archive under the name of a bundle; it was not opened, for loading one can "
                "run code",
                file=path,
                remedy="ask for a .safetensors file, or train again with pixelwise",
            )
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"cannot be read, it is damaged or incomplete ({error})", file=path, remedy="copy it again"
        ) from error
    if KEY not in metadata:
        raise BundleError(
            "is a safetensors file, but not a bundle of pixelwise",
            file=path,
            remedy="give a file made by pixelwise",
        )
    return metadata[KEY], tensors


def _parse(path: Path, text: str, tensors: dict[str, Tensor]) -> _Document:
    damaged = BundleError(
        "does not match its own digest: some bytes have changed",
        file=path,
        remedy="copy or download it again",
    )
    try:
        body = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise damaged from error
    if not isinstance(body, dict):
        raise damaged
    version = body.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BundleError(
            f"has format {version}, this pixelwise reads up to {VERSION}",
            file=path,
            remedy="update pixelwise",
        )
    if body.get("sha256") != _digest({k: v for k, v in body.items() if k != "sha256"}, tensors):
        raise damaged
    try:
        return _Document.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"its description is wrong at {place}: {first['msg']}",
            file=path,
            remedy=_REMEDY,
        ) from error


def _fill_weights(path: Path, model: Network, tensors: dict[str, Tensor]) -> None:
    own = model.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape]
    for what, names in (("lacks", missing), ("has unknown", extra), ("has misshapen", shapes)):
        if names:
            listed = ", ".join(sorted(names)[:5])
            raise BundleError(
                f"{what} {len(names)} of the tensors of {model.name} on {model.encoder_name}: {listed}",
                file=path,
                remedy="save the model again with pixelwise",
            )
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]
    if broken:
        raise BundleError(f"holds values that are not finite in {broken[0]}", file=path, remedy="train again")
    model.load_state_dict(tensors)


def _digest(body: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """SHA-256 over the document (without the digest) and each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
