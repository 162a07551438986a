"""MobileNet v1 as TensorFlow.js stores it, turned into weights for our `mobilenet_v1`.

The format: `model.json` lists groups of tensors, each group one file of little-endian float32 values, the tensors one
after the other; kernels are height, width, in, out, and depthwise ones height, width, channel, 1
(https://www.tensorflow.org/js/guide/save_load). `SHA256SUMS` beside it, if there is one, is checked.

Only the part that is an encoder is read: `conv1` to `conv_pw_13`. Where the last pointwise kernel is missing, its
layer is made to pass on what it gets: identity kernel, neutral normalisation, and a ReLU6 that changes nothing
after the ReLU6 before it. The encoder then ends with the depthwise convolution 13, and no random layer hides
its features.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.errors import BundleError
from pixelwise.models.encoderfiles import EncoderWeights
from pixelwise.types import Normalization

ENCODER = "mobilenet_v1"
NORMALIZATION = Normalization((127.5,) * 3, (127.5,) * 3)
LICENCE = "Apache-2.0 (TensorFlow)"
MANIFEST, SUMS = "model.json", "SHA256SUMS"
LAST = "conv_pw_13"
EPSILON = 1e-3  # of the batch norms, in these files and in our encoder
LAYERS = ("conv1", *(f"conv_{kind}_{number}" for number in range(1, 14) for kind in ("dw", "pw")))
NORMS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


@dataclass(frozen=True)
class Group:
    """One file and the tensors in it: their names and shapes, in order."""

    file: str
    tensors: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def bytes(self) -> int:
        """How long the file must be."""
        return 4 * sum(math.prod(shape) for _, shape in self.tensors)


def convert_tfjs_mobilenet(folder: str | Path) -> EncoderWeights:
    """The encoder's weights by the names of our `mobilenet_v1`, what they expect and their licence.

    Raises:
        BundleError: not this network, a group that is missing, has another length or does not match its SHA-256.
    """
    folder = Path(folder)
    sums = _sums(folder)
    groups = _manifest(folder, sums)
    arrays: dict[str, NDArray[np.float32]] = {}
    for group in groups:
        wanted = [name for name, _ in group.tensors if name.partition("/")[0].removesuffix("_bn") in LAYERS]
        passed_over = f"{LAST}/kernel" in wanted and not (folder / group.file).exists()
        if wanted and not passed_over:
            arrays |= _group(folder, group, sums)
    notes = ["converted from TensorFlow.js, trained on ImageNet at 224 x 224"]
    if f"{LAST}/kernel" not in arrays:
        notes.append(
            f"the kernel of {LAST} was not in the source: this layer passes on what it gets, untrained, and the "
            "encoder ends with the depthwise convolution before it"
        )
    tensors = {
        f"features.{name}": tensor for layer in LAYERS for name, tensor in _layer(folder, layer, arrays)
    }
    return EncoderWeights(folder.name, ENCODER, tensors, NORMALIZATION, "uint8", LICENCE, tuple(notes))


def _layer(folder: Path, name: str, arrays: dict[str, NDArray[np.float32]]) -> list[tuple[str, Tensor]]:
    """One convolution with its normalisation, under our names."""
    depthwise = name.startswith("conv_dw_")
    key = f"{name}/{'depthwise_kernel' if depthwise else 'kernel'}"
    norm = {ours: arrays.get(f"{name}_bn/{theirs}") for theirs, ours in NORMS.items()}
    if name == LAST and key not in arrays:
        channels = len(_need(folder, f"{name}_bn/gamma", norm["weight"]))
        kernel = np.eye(channels, dtype=np.float32)[:, :, None, None]
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        # a variance that epsilon fills up to 1 leaves values as they are
        norm = {
            "weight": ones,
            "bias": zeros,
            "running_mean": zeros,
            "running_var": ones - np.float32(EPSILON),
        }
    else:
        stored = _need(folder, key, arrays.get(key))
        kernel = stored.transpose(2, 3, 0, 1) if depthwise else stored.transpose(3, 2, 0, 1)
    pairs = [(f"{name}.weight", torch.from_numpy(np.array(kernel, order="C")))]
    for ours, values in norm.items():
        array = _need(folder, f"{name}_bn/{ours}", values)
        pairs.append((f"{name}_bn.{ours}", torch.from_numpy(array.copy())))
    return [*pairs, (f"{name}_bn.num_batches_tracked", torch.tensor(0))]


def _need(folder: Path, name: str, array: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if array is None:
        raise BundleError(
            f"has no tensor {name}",
            file=folder / MANIFEST,
            remedy="give a MobileNet v1 in TensorFlow.js format",
        )
    return array


def _manifest(folder: Path, sums: dict[str, str]) -> list[Group]:
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
        _check_sum(path, data, sums)
        document = json.loads(data)
        groups = [_parse(entry) for entry in document["weightsManifest"]]
    except OSError as error:
        raise BundleError(
            f"cannot be read: {error.strerror or error}",
            file=path,
            remedy="give the folder of a TensorFlow.js layers model, with its model.json",
        ) from error
    except (UnicodeDecodeError, RecursionError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"lists no weights that can be read ({type(error).__name__}: {error})",
            file=path,
            remedy="give the folder of a TensorFlow.js layers model, with its model.json",
        ) from error
    return groups


def _parse(entry: dict[str, Any]) -> Group:
    (file,) = entry["paths"]
    if not isinstance(file, str) or Path(file).name != file:
        raise ValueError(f"{file!r} is no name of a file beside it")
    tensors = []
    for item in entry["weights"]:
        if item["dtype"] != "float32" or "quantization" in item:
            raise ValueError(f"{item['name']} is not plain float32")
        tensors.append((str(item["name"]), tuple(int(edge) for edge in item["shape"])))
    return Group(file, tuple(tensors))


def _sums(folder: Path) -> dict[str, str]:
    """SHA-256 by file name; empty where none are given."""
    path = folder / SUMS
    if not path.exists():
        return {}
    lines = (line.split(maxsplit=1) for line in path.read_text(errors="replace").splitlines())
    return {parts[1].strip().lstrip("*"): parts[0].lower() for parts in lines if len(parts) == 2}


def _group(folder: Path, group: Group, sums: dict[str, str]) -> dict[str, NDArray[np.float32]]:
    path = folder / group.file
    names = ", ".join(name for name, _ in group.tensors)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"cannot be read ({error.strerror}); it holds {names}", file=path, remedy="copy the folder again"
        ) from error
    if len(data) != group.bytes:
        raise BundleError(
            f"has {len(data)} bytes, {names} are {group.bytes}", file=path, remedy="copy the file again"
        )
    _check_sum(path, data, sums)
    values = np.frombuffer(data, "<f4")
    arrays = {}
    for name, shape in group.tensors:
        count = math.prod(shape)
        arrays[name], values = values[:count].reshape(shape), values[count:]
    return arrays


def _check_sum(path: Path, data: bytes, sums: dict[str, str]) -> None:
    if sums and hashlib.sha256(data).hexdigest() != sums.get(path.name):
        raise BundleError(f"does not match its SHA-256 in {SUMS}", file=path, remedy="copy the file again")
