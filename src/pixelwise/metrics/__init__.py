"""Scores of label maps; `overlap` has those that a confusion matrix gives."""

from pixelwise.metrics.overlap import ClassScore, ScoreCounter, Scores, scores_from_confusion

__all__ = ["ClassScore", "ScoreCounter", "Scores", "scores_from_confusion"]
