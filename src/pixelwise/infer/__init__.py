"""Models applied to images."""

from pixelwise.infer.augmented import Averaged, Views, predict_augmented
from pixelwise.infer.engine import EngineChoice, open_engine
from pixelwise.infer.files import predict_files
from pixelwise.infer.images import classify, localize, reconstruct
from pixelwise.infer.maps import ObjectOptions
from pixelwise.infer.predictor import predict, predict_with_confidence

__all__ = [
    "Averaged",
    "EngineChoice",
    "ObjectOptions",
    "Views",
    "classify",
    "localize",
    "open_engine",
    "predict",
    "predict_augmented",
    "predict_files",
    "predict_with_confidence",
    "reconstruct",
]
