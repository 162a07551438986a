"""pixelwise: from a folder of labelled images to a per-pixel map you can trust.

Names are imported when first used, so that `import pixelwise` stays quick and does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pixelwise import errors
    from pixelwise.data.check import check_dataset
    from pixelwise.data.dataset import Dataset, open_dataset
    from pixelwise.evaluation import evaluate
    from pixelwise.infer import classify, localize, predict, predict_with_confidence, reconstruct
    from pixelwise.metrics import Scores
    from pixelwise.models.autoencoder import AutoencoderOptions
    from pixelwise.models.bundle import load, load_network, save
    from pixelwise.models.classifier import ClassifierOptions
    from pixelwise.models.interfaces import NetworkOptions
    from pixelwise.models.localizer import LocalizerOptions
    from pixelwise.models.segmenter import Segmenter
    from pixelwise.models.tasks import build_autoencoder, build_classifier, build_localizer
    from pixelwise.models.trace import describe
    from pixelwise.models.zoo import build
    from pixelwise.ops.objects import objects
    from pixelwise.training import Run, train
    from pixelwise.training.options import TrainOptions
    from pixelwise.types import ClassSpec, Normalization

_HOMES = {
    "AutoencoderOptions": "pixelwise.models.autoencoder",
    "ClassSpec": "pixelwise.types",
    "ClassifierOptions": "pixelwise.models.classifier",
    "Dataset": "pixelwise.data.dataset",
    "LocalizerOptions": "pixelwise.models.localizer",
    "NetworkOptions": "pixelwise.models.interfaces",
    "Normalization": "pixelwise.types",
    "Run": "pixelwise.training",
    "Scores": "pixelwise.metrics",
    "Segmenter": "pixelwise.models.segmenter",
    "TrainOptions": "pixelwise.training.options",
    "build": "pixelwise.models.zoo",
    "build_autoencoder": "pixelwise.models.tasks",
    "build_classifier": "pixelwise.models.tasks",
    "build_localizer": "pixelwise.models.tasks",
    "check_dataset": "pixelwise.data.check",
    "classify": "pixelwise.infer",
    "describe": "pixelwise.models.trace",
    "evaluate": "pixelwise.evaluation",
    "load": "pixelwise.models.bundle",
    "load_network": "pixelwise.models.bundle",
    "localize": "pixelwise.infer",
    "objects": "pixelwise.ops.objects",
    "open_dataset": "pixelwise.data.dataset",
    "predict": "pixelwise.infer",
    "predict_with_confidence": "pixelwise.infer",
    "reconstruct": "pixelwise.infer",
    "save": "pixelwise.models.bundle",
    "train": "pixelwise.training",
}

__all__ = [
    "AutoencoderOptions",
    "ClassSpec",
    "ClassifierOptions",
    "Dataset",
    "LocalizerOptions",
    "NetworkOptions",
    "Normalization",
    "Run",
    "Scores",
    "Segmenter",
    "TrainOptions",
    "build",
    "build_autoencoder",
    "build_classifier",
    "build_localizer",
    "check_dataset",
    "classify",
    "describe",
    "errors",
    "evaluate",
    "load",
    "load_network",
    "localize",
    "objects",
    "open_dataset",
    "predict",
    "predict_with_confidence",
    "reconstruct",
    "save",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("pixelwise.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'pixelwise' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
