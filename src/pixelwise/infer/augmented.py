"""One image seen in several ways and by several networks: the mean of their probabilities, and where they disagree.

Every network is run on every view: scaled by each factor, as it is and mirrored from left to right; so the cost is
networks x scales x 2 with flips, the larger scales more than their share. The entropy of the mean says how unsure
all together are; the mutual information is the part of it that comes from their disagreement (Depeweg et al.:
Decomposition of Uncertainty in Bayesian Deep Learning, 2018), which is 0 where all say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.errors import OptionError
from pixelwise.infer.predictor import Precision, Running, check_image
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.resize import resize
from pixelwise.types import Image, Labels

TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Views:
    """In which ways an image is looked at.

    Attributes:
        flips: Also mirrored from left to right.
        scales: Factors by which its edges are multiplied; 1 is the image itself.
    """

    flips: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            raise OptionError(
                f"scales {', '.join(map(str, self.scales)) or 'missing'}",
                remedy="give factors between 0.1 and 10, such as 0.75,1,1.25",
            )

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.scales) * (2 if self.flips else 1)


class Opinion(NamedTuple):
    """What all views say together: probabilities [K, H, W]; entropy and mutual information [H, W] in nats."""

    probabilities: NDArray[np.float32]
    entropy: NDArray[np.float32]
    mutual_information: NDArray[np.float32]

    @property
    def labels(self) -> Labels:
        """The most probable class of every pixel."""
        labels: Labels = self.probabilities.argmax(axis=0).astype(np.uint8)
        return labels


class Averaged:
    """Networks and views as one engine: images [H, W, C] to labels, confidence and uncertainty.

    Every network speaks with its own probabilities, temperatures in its bundle are left out: where the views
    disagree, their mean is less sure than they are, and with temperatures beside it would be too cautious.

    Attributes:
        cost: How often a network is run for one image.
        uncertainty: Whether files of it are wanted.
    """

    def __init__(
        self,
        models: Sequence[Segmenter],
        views: Views | None = None,
        *,
        precision: Precision | None = None,
        uncertainty: bool = False,
    ) -> None:
        """Take one network or several of the same classes, bands and kind of images.

        With `uncertainty`, `predict_files` writes entropy and mutual information too.

        Raises:
            OptionError: none, or networks that do not fit one another.
        """
        self.views, self.uncertainty = views or Views(), uncertainty
        if not models:
            raise OptionError("no network to predict with", remedy="give one at least")
        _check_alike(models)
        self.running = [Running(model, precision) for model in models]
        for running in self.running:
            running.temperatures = None
        self.cost = len(models) * self.views.count

    @property
    def footprint(self) -> float:
        """That of the largest view; the probabilities of all views come on top."""
        return max(1.0, *self.views.scales) ** 2

    def prepare(self, dtype: str) -> None:
        """Nothing: its networks are run by torch."""

    def release(self) -> None:
        """Give back the memory that the networks keep."""
        for running in self.running:
            running.release()

    def __call__(self, image: Image) -> Labels:
        """The most probable class of every pixel."""
        return self.with_confidence(image)[0]

    def with_confidence(self, image: Image) -> tuple[Labels, NDArray[np.float32]]:
        """The same, and its probability in 0..1."""
        opinion = self.opinion(image)
        return opinion.labels, opinion.probabilities.max(axis=0)

    def with_sets(self, image: Image) -> tuple[Labels, NDArray[np.float32], NDArray[np.uint8]]:
        """Never returns, see `refuse_sets`."""
        self.refuse_sets()

    def refuse_sets(self) -> NoReturn:
        """The threshold of label sets was chosen for one look by one network.

        Raises:
            OptionError: always.
        """
        raise OptionError(
            "label sets of several views or models: their threshold was chosen for one look by one model",
            remedy="leave out --label-sets, or --flips, --scales, --ensemble and --uncertainty",
        )

    def opinion(self, image: Image) -> Opinion:
        """Mean probabilities, and how unsure and how divided the views are."""
        total = np.zeros((len(self.running[0].model.classes), *image.shape[:2]), np.float32)
        apart = np.zeros(image.shape[:2], np.float32)
        for shares in self._each(image):
            total += shares
            apart += entropy(shares)
        mean = (total / self.cost).astype(np.float32)
        together = entropy(mean)
        return Opinion(mean, together, np.maximum(together - apart / np.float32(self.cost), 0))

    def _each(self, image: Image) -> Iterator[NDArray[np.float32]]:
        """The probabilities of every view, at the size of the image and the right way round."""
        image = check_image(self.running[0].model, image)
        height, width = image.shape[:2]
        for scale in self.views.scales:
            view = _scaled(image, (max(1, round(height * scale)), max(1, round(width * scale))))
            for running in self.running:
                yield _back(running.probabilities(view), (height, width))
                if self.views.flips:
                    mirrored = running.probabilities(np.ascontiguousarray(view[:, ::-1]))
                    yield _back(mirrored[:, :, ::-1], (height, width))


def predict_augmented(
    model: Segmenter,
    image: Image,
    *,
    flips: bool = True,
    scales: Sequence[float] = (1.0,),
    precision: Precision | None = None,
) -> tuple[Labels, NDArray[np.float32]]:
    """What `predict_with_confidence` returns, from the mean over mirrored and scaled views.

    Args:
        model: As for `predict`.
        image: As for `predict`.
        flips: Also look at the image mirrored from left to right.
        scales: Factors of the size at which it is looked at.
        precision: As for `predict`.

    Raises:
        DataError, OptionError: see `predict`; scales outside 0.1..10.
    """
    return Averaged([model], Views(flips, tuple(scales)), precision=precision).with_confidence(image)


def entropy(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of probabilities [K, ...], in nats.

    >>> entropy(np.array([0.5, 0.5], np.float32)).round(3)  # log 2
    np.float32(0.693)
    """
    total: NDArray[np.float32] = -(shares * np.log(np.maximum(shares, TINY))).sum(axis=0)
    return total


def _scaled(image: Image, size: tuple[int, int]) -> Image:
    """The image [H, W, C] at another size, bilinear, in its own dtype."""
    if size == image.shape[:2]:
        return image
    pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    values: Image = resize(pixels, size)[0].permute(1, 2, 0).numpy()
    return np.rint(values).astype(image.dtype) if image.dtype.kind == "u" else values.astype(image.dtype)


def _back(shares: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if shares.shape[1:] == size:
        return shares
    values: NDArray[np.float32] = resize(torch.from_numpy(shares.copy())[None], size)[0].numpy()
    return values


def _check_alike(models: Sequence[Segmenter]) -> None:
    first = models[0]
    names = [spec.name for spec in first.classes]
    for model in models[1:]:
        theirs = [spec.name for spec in model.classes]
        if theirs != names or model.bands != first.bands:
            raise OptionError(
                f"networks of other classes or bands: {', '.join(names)} from {first.bands} bands, and "
                f"{', '.join(theirs)} from {model.bands}",
                remedy="average networks that were trained on the same classes and bands",
            )
