"""Which way of transfer learning suits a dataset: the four cells of small or large, similar or different.

The customary advice (small and similar: a new last layer; small and different: re-initialise or train larger parts, and
augment; large and similar: train the last layers; large and different: train most layers) needs two judgements. Size is
counted. Similarity is measured: how much better a linear probe reads the classes off the frozen encoder than off the
same encoder with random weights or off plain colours. The thresholds are ours; they are printed with the numbers.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from pixelwise.data.dataset import Dataset
from pixelwise.data.stats import class_counts, normalization
from pixelwise.errors import OptionError
from pixelwise.models.encoderfiles import read_encoder_weights
from pixelwise.models.network import Network
from pixelwise.models.tasks import build_classifier
from pixelwise.models.weights import put_encoder_weights
from pixelwise.training.probe import (
    ProbeScore,
    color_features,
    draw,
    encoder_features,
    probe,
    settle_norms,
)
from pixelwise.training.start import Say
from pixelwise.training.transfer import encoder_stages
from pixelwise.types import Normalization

Size = Literal["small", "large"]
Likeness = Literal["similar", "different"]
LARGE_IMAGES = 1000  # of a class each
LARGE_WINDOWS = 500  # of WINDOW x WINDOW labelled pixels
WINDOW = 256
SIMILAR = 0.25  # share of the probe's errors that the weights must take away


@dataclass(frozen=True)
class Way:
    """What one cell recommends."""

    rule: str
    strategy: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """The numbers, the cell they fall into, and what to run.

    Attributes:
        images: Of the training split.
        amount: What `size` was judged by: images, or windows of 256 x 256 labelled pixels.
        unit: Of `amount`.
        large_from: Threshold of `amount`.
        pretrained: Probe on the frozen encoder with the weights.
        random: Probe on the same encoder with random weights.
        colors: Probe on plain colours.
        gain: Share of the errors of the better of the two others that the weights take away.
        similar_from: Threshold of `gain`.
        size: First half of the cell.
        likeness: Second half of the cell.
        rule: What is customary there.
        strategy: What `train` takes; None is training from scratch.
        command: To run.
        why: The reasons, a sentence each.
    """

    images: int
    amount: float
    unit: str
    large_from: int
    pretrained: ProbeScore
    random: ProbeScore
    colors: ProbeScore
    gain: float
    similar_from: float
    size: Size
    likeness: Likeness
    rule: str
    strategy: str | None
    command: str
    why: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"why": list(self.why)}


def advise(
    data: Dataset,
    encoder_weights: str,
    *,
    encoder: str | None = None,
    seed: int = 0,
    say: Say | None = None,
    more: Sequence[str] = (),
) -> Advice:
    """Measure how well `encoder_weights` fit `data`, and recommend how to train.

    Args:
        data: A class per pixel or per image.
        encoder_weights: As `read_encoder_weights` takes them.
        encoder: Whose weights they are; needed where the file does not say.
        seed: Of the images and pixels that are looked at, and of the random encoder.
        say: Told about a download.
        more: Words to put into the command: how the dataset was opened.

    Raises:
        BundleError: the weights cannot be read, or are another encoder's.
        OptionError: the encoder is unknown and the weights do not name it.
        DataError: fewer than two images or two classes.
    """
    weights = read_encoder_weights(encoder_weights, say=say)
    name = encoder or weights.encoder
    if name is None:
        raise OptionError(
            f"{encoder_weights} does not say whose weights it holds", remedy="give --encoder NAME"
        )
    own = normalization(data.train)
    brought, reason = weights.normalization_for(data.bands, data.dtype)
    network = _network(name, data, brought or own, seed)
    done = put_encoder_weights(network, weights)
    samples = draw(data, seed=seed)
    pretrained = probe(encoder_features(network, samples), samples, seed=seed)
    untrained = _network(name, data, own, seed)
    settle_norms(untrained, samples)
    random = probe(encoder_features(untrained, samples), samples, seed=seed)
    colors = probe(color_features(samples), samples, seed=seed)
    known = max(random.score, colors.score)
    gain = (pretrained.score - known) / max(1 - known, 1e-3)
    amount, unit, large_from = _amount(data)
    size: Size = "large" if amount >= large_from else "small"
    likeness: Likeness = "similar" if gain >= SIMILAR else "different"
    useless = size == "small" and gain <= 0
    way = _scratch() if useless else ways(len(encoder_stages(network)))[size, likeness]
    why = [
        f"{len(data.train)} training images, {amount:,.0f} {unit}: {size} ({large_from:,} or more are large)",
        f"a linear probe finds a class right in {pretrained.score:.1%} ± {pretrained.error:.1%} with these weights, "
        f"{random.score:.1%} with random ones, {colors.score:.1%} from colours: the weights take {gain:.0%} of the "
        f"errors away, so the data are {likeness} ({SIMILAR:.0%} or more is similar)",
        reason,
        *([done.adapted] if done.adapted else []),
        f"customary for {size} and {likeness}: {way.rule}",
    ]
    strategy = None if useless else way.strategy
    command = _command(data, name, encoder_weights, strategy, way.settings, more)
    return Advice(
        len(data.train),
        amount,
        unit,
        large_from,
        pretrained,
        random,
        colors,
        gain,
        SIMILAR,
        size,
        likeness,
        way.rule,
        strategy,
        command,
        tuple(why),
    )


def ways(stages: int) -> dict[tuple[Size, Likeness], Way]:
    """What each cell recommends for an encoder of so many stages.

    >>> ways(5)["large", "similar"].settings
    ('transfer.layers=2',)
    """
    some, most = min(2, stages), max(1, stages - 2)
    augment = ("augment.color=0.4", "augment.rotation=15")
    return {
        ("small", "similar"): Way("replace the last layer, keep the encoder", "last", ()),
        ("small", "different"): Way(
            "train larger parts along, and augment", "partial", (f"transfer.layers={most}", *augment)
        ),
        ("large", "similar"): Way("train the last layers along", "partial", (f"transfer.layers={some}",)),
        ("large", "different"): Way("train most layers", "full", ()),
    }


def _scratch() -> Way:
    return Way(
        "re-initialise, for these weights say nothing about these images, and augment",
        "full",
        ("augment.color=0.4", "augment.rotation=15"),
    )


def _network(encoder: str, data: Dataset, values: Normalization, seed: int) -> Network:
    torch.manual_seed(seed)
    return build_classifier(
        encoder=encoder, classes=data.classes, bands=data.bands, normalization=values
    ).eval()


def _amount(data: Dataset) -> tuple[float, str, int]:
    if data.task == "classify":
        return float(len(data.train)), "images with a class each", LARGE_IMAGES
    labelled = int(class_counts(data.train).pixels.sum())
    return labelled / WINDOW**2, f"times {WINDOW} x {WINDOW} labelled pixels", LARGE_WINDOWS


def _command(
    data: Dataset,
    encoder: str,
    weights: str,
    strategy: str | None,
    settings: Sequence[str],
    more: Sequence[str],
) -> str:
    words = ["pixelwise", "train", str(data.root), "-o", "RUN", *more, "--encoder", encoder]
    words += ["--task", "classify"] if data.task == "classify" else []
    words += ["--encoder-weights", weights, "--strategy", strategy] if strategy is not None else []
    return shlex.join([*words, *(word for setting in settings for word in ("--set", setting))])
