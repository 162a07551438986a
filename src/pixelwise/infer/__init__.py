"""Models applied to images."""

from pixelwise.infer.files import predict_files
from pixelwise.infer.predictor import predict, predict_with_confidence

__all__ = ["predict", "predict_files", "predict_with_confidence"]
