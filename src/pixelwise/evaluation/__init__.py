"""Scores of a model on a dataset."""

from pixelwise.evaluation.report import render
from pixelwise.evaluation.scores import evaluate

__all__ = ["evaluate", "render"]
