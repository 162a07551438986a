"""Scores of a model on a dataset."""

from pixelwise.evaluation.tasks import evaluate
from pixelwise.evaluation.terminal import render

__all__ = ["evaluate", "render"]
