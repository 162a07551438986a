"""One `evaluate` for the networks of all tasks."""

from __future__ import annotations

from pathlib import Path
from typing import overload

from pixelwise.classification import ClassificationScores
from pixelwise.data.dataset import Split
from pixelwise.errors import OptionError
from pixelwise.evaluation.answers import Progress
from pixelwise.evaluation.classification import evaluate_classifier
from pixelwise.evaluation.localization import LocalizationScores, evaluate_localizer
from pixelwise.evaluation.reconstruction import ReconstructionScores, evaluate_autoencoder
from pixelwise.evaluation.scores import evaluate as evaluate_segmenter
from pixelwise.evaluation.terminal import AnyScores
from pixelwise.metrics import Scores
from pixelwise.models.autoencoder import Autoencoder
from pixelwise.models.classifier import Classifier
from pixelwise.models.localizer import Localizer
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter

Place = str | Path | None


@overload
def evaluate(
    model: Segmenter, split: Split, *, out: Place = ..., title: str = ..., progress: Progress | None = ...
) -> Scores: ...
@overload
def evaluate(
    model: Classifier, split: Split, *, out: Place = ..., title: str = ..., progress: Progress | None = ...
) -> ClassificationScores: ...
@overload
def evaluate(
    model: Autoencoder, split: Split, *, out: Place = ..., title: str = ..., progress: Progress | None = ...
) -> ReconstructionScores: ...
@overload
def evaluate(
    model: Localizer, split: Split, *, out: Place = ..., title: str = ..., progress: Progress | None = ...
) -> LocalizationScores: ...
@overload
def evaluate(
    model: Network, split: Split, *, out: Place = ..., title: str = ..., progress: Progress | None = ...
) -> AnyScores: ...
def evaluate(
    model: Network, split: Split, *, out: Place = None, title: str = "", progress: Progress | None = None
) -> AnyScores:
    """Let the model answer for every image of `split` and compare with the truth.

    Args:
        model: Runs on the device it is on, in the precision of its bundle.
        split: Images with labels for a Segmenter and a Localizer, with a class each for a Classifier, and any images
            for an Autoencoder.
        out: Folder for `scores.json`, a `report.html` that opens offline, and tables; without it nothing is written.
        title: Heading of the report.
        progress: Called with the images done and their number.

    Raises:
        LayoutError: the split has another kind of truth than the model is judged by.
        ClassesError: model and dataset have other classes.
        DataError: the split is empty, or an image does not suit the model; the file is named.
        OutputError: `out` is in use, full or read-only.
    """
    if isinstance(model, Segmenter):
        return evaluate_segmenter(model, split, out=out, title=title, progress=progress)
    if isinstance(model, Classifier):
        return evaluate_classifier(model, split, out=out, title=title, progress=progress)
    if isinstance(model, Autoencoder):
        return evaluate_autoencoder(model, split, out=out, title=title, progress=progress)
    if isinstance(model, Localizer):
        return evaluate_localizer(model, split, out=out, title=title, progress=progress)
    raise OptionError(f"a network of type {type(model).__name__}", remedy="give one that pixelwise has built")
