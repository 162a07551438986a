"""A model made ready for 8-bit integers: ranges measured on images, and what integers do to its labels.

Ranges are taken of the input of every convolution but the first, which sees the image, the last one, which says the
class, and those of maps of one pixel, which cost nothing. They are the medians over images of the lowest and of the
highest value, so that odd images do not make the steps coarse for all; what lies beyond is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.backends.openvino import OpenVino, load_runtime
from pixelwise.backends.quantized import Range, quantizable
from pixelwise.data.dataset import Split
from pixelwise.data.groups import find_groups
from pixelwise.errors import DataError, OptionError
from pixelwise.evaluation.answers import Progress, answers
from pixelwise.evaluation.checks import check_split
from pixelwise.evaluation.comparison import Comparison, compare_runs
from pixelwise.infer.predictor import Running
from pixelwise.metrics import ScoreCounter
from pixelwise.models.bundle import facts_of
from pixelwise.models.quantization import Quantization
from pixelwise.models.segmenter import Segmenter
from pixelwise.types import Image, Labels

IMAGES = 64  # that ranges are measured on


class Quantized(NamedTuple):
    """What goes into a bundle, and the scores without integers (first) and with them (second)."""

    quantization: Quantization
    comparison: Comparison


def quantized(
    model: Segmenter,
    measured: Split,
    judged: Split,
    *,
    images: int = IMAGES,
    progress: Progress | None = None,
) -> Quantized:
    """Measure ranges on one split, and what integers do to the labels of another.

    Args:
        model: Stays as it is.
        measured: Images like those to come; those it learnt from will do.
        judged: Images with labels, which it did not learn from.
        images: How many to measure ranges on, at most; evenly spaced.
        progress: Called with the images done and their number.

    Raises:
        LayoutError, ClassesError, DataError: a split does not suit the model, is empty or has no labels.
        MissingExtraError: OpenVINO is not installed.
        OptionError: no convolution is suited, or OpenVINO cannot run the network.
    """
    load_runtime()  # before the work
    if not len(measured):
        raise DataError(
            f"the {measured.name} split, which ranges are measured on, holds no image",
            remedy="give data with images of training: any that are like those to come",
        )
    check_split(model, measured)
    check_split(model, judged)
    chosen = measured.evenly(images)

    def after(images: int) -> Progress | None:
        return progress and (lambda done, _: progress(images + done, len(chosen) + len(judged)))

    ranges = input_ranges(model, chosen, progress=after(0))
    told = {"ranges": ranges, "split": measured.name, "images": len(chosen)}
    told |= {"judged_split": judged.name, "judged_images": len(judged)}
    plain = Running(model)
    with _knowing(model, Quantization.model_validate(told | {"agreement": 0, "mean_iou": (0, 0)})):
        engine = Running(model, plain.precision, OpenVino(model, plain.precision))

    def ask(group: Sequence[Image]) -> Sequence[tuple[Labels, Labels]]:
        return list(zip(plain.batch(group), engine.batch(group), strict=True))

    names = [spec.name for spec in model.classes]
    counters = ScoreCounter(names), ScoreCounter(names)
    same = pixels = 0
    for answer in answers(model, judged, lambda index: _pair(judged, index), ask, after(len(chosen))):
        for counter, labels in zip(counters, answer.said, strict=True):
            counter.add(answer.truth, labels)
        same += int((answer.said[0] == answer.said[1]).sum())
        pixels += answer.truth.size
    scores = [counter.scores() for counter in counters]
    if not scores[0].pixels:
        raise DataError(
            f"no pixel of the {judged.name} split has a class, so nothing can be compared",
            remedy="give labelled images, or choose another split",
        )
    comparison = compare_runs(scores[:1], scores[1:], find_groups(judged))
    iou = comparison.mean_iou.first, comparison.mean_iou.second
    found = Quantization.model_validate(told | {"agreement": same / pixels, "mean_iou": iou})
    return Quantized(found, comparison)


def input_ranges(model: Segmenter, split: Split, *, progress: Progress | None = None) -> dict[str, Range]:
    """The range of what each convolution takes, over the images of a split, by the convolution's name.

    Raises:
        DataError: an image does not suit the model.
        OptionError: no convolution is suited.
    """
    if model.decoder.window is not None:  # it sees windows, and thousands of them in an image
        raise OptionError(f"{model.name} slides over the image", remedy="use the model as it is")
    running = Running(model, "float32")

    def ask(group: Sequence[Image]) -> Sequence[Labels]:
        return list(running.batch(group))

    with ranges_measured(model) as found:
        for _ in answers(model, split, lambda index: _pair(split, index), ask, progress):
            pass
    if not found:
        raise OptionError(
            f"{model.name} on {model.encoder_name} has no convolution that integers suit",
            remedy="use the model as it is",
        )
    return found


@contextmanager
def ranges_measured(model: Segmenter) -> Iterator[dict[str, Range]]:
    """The ranges over all images that the model is shown meanwhile; there once the `with` is left."""
    seen: dict[str, list[Range]] = {}  # in the order of computation

    def watcher(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def watch(part: nn.Module, given: tuple[Tensor, ...]) -> None:
            noted = seen.setdefault(name, [])
            if given[0].shape[-2:].numel() > 1:
                low, high = torch.aminmax(given[0].flatten(1), dim=1)
                noted += zip(low.tolist(), high.tolist(), strict=True)

        return watch

    parts = quantizable(model, without=[model.head])
    handles = [part.register_forward_pre_hook(watcher(name)) for name, part in parts.items()]
    found: dict[str, Range] = {}
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    _first, *others = seen or [""]
    found |= {name: _median(name, seen[name]) for name in others if seen[name]}


def _pair(split: Split, index: int) -> tuple[Image, Labels]:
    sample = split[index]
    return sample.image, sample.labels


def _median(name: str, ranges: Sequence[Range]) -> Range:
    low, high = np.median(np.array(ranges, np.float64), axis=0).tolist()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(
            f"what the layer {name} takes is not finite", remedy="look for odd values in the images"
        )
    return low, high


@contextmanager
def _knowing(model: Segmenter, found: Quantization) -> Iterator[None]:
    """Let the model have ranges for as long as an engine is made of it."""
    before = model.facts
    model.facts = facts_of(model).model_copy(update={"quantization": found})
    try:
        yield
    finally:
        model.facts = before
