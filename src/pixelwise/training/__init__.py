"""From a dataset to a run: plan, loop, checkpoints, report."""

from pixelwise.training.loop import train
from pixelwise.training.run import Run

__all__ = ["Run", "train"]
