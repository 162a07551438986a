"""A model's answers to the images of a split, a few images at a time where they are alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from pixelwise.data.dataset import Split
from pixelwise.errors import DataError
from pixelwise.infer.ahead import ahead
from pixelwise.infer.predictor import check_image
from pixelwise.models.network import Network
from pixelwise.types import Image

PIXELS = 1 << 19
"""A batch holds at most as many pixels, or one image: 8 of 256 x 256."""

Progress = Callable[[int, int], None]
Truth = TypeVar("Truth")
Said = TypeVar("Said")


@dataclass(frozen=True, eq=False)
class Answer(Generic[Truth, Said]):
    """Image number `index` of a split, what is true of it and what the model said."""

    index: int
    image: Image
    truth: Truth
    said: Said


def answers(
    model: Network,
    split: Split,
    read: Callable[[int], tuple[Image, Truth]],
    ask: Callable[[Sequence[Image]], Sequence[Said]],
    progress: Progress | None,
) -> Iterator[Answer[Truth, Said]]:
    """All images of `split` in order, each with its truth and with what the model says.

    Args:
        model: Judges which images it takes.
        split: Names the file in errors.
        read: Image and truth number `index`; called ahead, on other threads.
        ask: The answers to images of one size.
        progress: Called with the images done and their number.

    Raises:
        DataError: an image cannot be read or does not suit the model; the file is named.
    """

    def checked(index: int) -> tuple[Image, Truth]:
        image, truth = read(index)
        with _naming(split, index):
            return check_image(model, image), truth

    batch: list[tuple[int, Image, Truth]] = []
    for index, result in ahead(checked, range(len(split))):
        image, truth = result()
        if batch and not _fits(image, [one[1] for one in batch]):
            yield from _answered(batch, split, ask, progress)
            batch = []
        batch.append((index, image, truth))
    if batch:
        yield from _answered(batch, split, ask, progress)


def _fits(image: Image, batch: Sequence[Image]) -> bool:
    pixels = image.shape[0] * image.shape[1] * (len(batch) + 1)
    return image.shape == batch[0].shape and image.dtype == batch[0].dtype and pixels <= PIXELS


def _answered(
    batch: Sequence[tuple[int, Image, Truth]],
    split: Split,
    ask: Callable[[Sequence[Image]], Sequence[Said]],
    progress: Progress | None,
) -> Iterator[Answer[Truth, Said]]:
    with _naming(split, batch[0][0]):
        said = ask([image for _, image, _ in batch])
    for (index, image, truth), one in zip(batch, said, strict=True):
        yield Answer(index, image, truth, one)
        if progress is not None:
            progress(index + 1, len(split))


@contextmanager
def _naming(split: Split, index: int) -> Iterator[None]:
    """Add the file of image number `index` to an error."""
    try:
        yield
    except DataError as error:
        error.file = error.file or split.items[index].image
        raise
