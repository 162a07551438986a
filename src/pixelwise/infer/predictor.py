"""One image in, its class map out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pixelwise.backends.interfaces import Backend, out_of_memory
from pixelwise.errors import DataError, OptionError
from pixelwise.models.bundle import facts_of
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.head import confident_labels_from_low, labels_from_low
from pixelwise.ops.labelsets import set_sizes
from pixelwise.ops.native import alone
from pixelwise.ops.resize import resize
from pixelwise.ops.temperature import tempered
from pixelwise.types import Image, Labels

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
DTYPES = ("uint8", "uint16", "float32")

Result = TypeVar("Result")


def predict(model: Segmenter, image: Image, *, precision: Precision | None = None) -> Labels:
    """The most probable class of every pixel.

    Args:
        model: A network with its classes and its preprocessing; it runs on the device it is on.
        image: [H, W, C], or [H, W] for one band; uint8, uint16 or float32, values as in the image files.
        precision: `float32` or `bfloat16`; by default what the bundle was checked with, else `float32`.

    Returns:
        uint8 [H, W], indices into `model.classes`, the size of `image`.

    Raises:
        DataError: another number of bands or another dtype than the model was trained on, an empty image,
            values that are not finite, or an image too large for the memory.
        OptionError: an unknown precision.
    """
    return Running(model, precision)(image)


def predict_with_confidence(
    model: Segmenter, image: Image, *, precision: Precision | None = None
) -> tuple[Labels, NDArray[np.float32]]:
    """The most probable class of every pixel, and its probability: takes and raises what `predict` does.

    Returns:
        uint8 [H, W] and float32 [H, W] in 0..1. The probability is calibrated where the bundle holds
        temperatures (`pixelwise calibrate`), else the network's own; the labels are the same in both cases.
    """
    return Running(model, precision).with_confidence(image)


class Running:
    """A model and the backend that computes its logits, the network itself where there is none.

    Attributes:
        temperatures: By which confidence is calibrated, one for every class; None leaves it as the network has it.
    """

    def __init__(
        self, model: Segmenter, precision: Precision | None = None, backend: Backend | None = None
    ) -> None:
        self.model, self.backend = model, backend
        self.precision = _precision(model, precision)
        self.temperatures = temperatures_of(model)

    @property
    def footprint(self) -> float:
        """Memory of the activations, as a share of what torch holds in float32; eager bfloat16 holds both at times."""
        return 1.0 if self.backend is None else self.backend.footprint

    @property
    def name(self) -> str:
        """As `--engine` has it."""
        return "eager" if self.backend is None else self.backend.name

    def prepare(self, dtype: str) -> None:
        """Do what the first image of a type would wait for, whatever its size."""
        if self.backend is not None:
            self.backend.prepare(dtype)

    def release(self) -> None:
        """Give back the memory that the backend keeps from one image to the next."""
        if self.backend is not None:
            self.backend.release()

    def __call__(self, image: Image) -> Labels:
        """The most probable class of every pixel."""
        labels: Labels = self.batch([image])[0]
        return labels

    def batch(self, images: Sequence[Image]) -> Labels:
        """The same for images of one size, together: labels [N, H, W]."""
        with self._computed(images) as (logits, size, span), self._threads():
            return as_array(labels_from_low(logits, size, span=span))

    def with_confidence(self, image: Image) -> tuple[Labels, NDArray[np.float32]]:
        """The most probable class of every pixel, and its probability in 0..1."""
        with self._computed([image]) as (logits, size, span):
            with self._threads():
                labels, confidence = confident_labels_from_low(
                    logits, size, span=span, temperatures=self.temperatures
                )
            return as_array(labels[0]), as_array(confidence[0])

    def with_sets(self, image: Image) -> tuple[Labels, NDArray[np.float32], NDArray[np.uint8]]:
        """Class and probability of every pixel, and how many classes are in its label set.

        Raises:
            OptionError: the bundle holds no threshold of label sets.
        """
        threshold = set_threshold_of(self.model)
        with (
            self._computed([image]) as (logits, size, span),
            self._threads(),
        ):
            labels, sure = confident_labels_from_low(logits, size, span=span, temperatures=self.temperatures)
            sizes = set_sizes(logits, labels, sure, threshold, span=span, temperatures=self.temperatures)
            return as_array(labels[0]), as_array(sure[0]), as_array(sizes[0])

    def probabilities(self, image: Image) -> NDArray[np.float32]:
        """The probability of every class: float32 [K, H, W]."""
        with (
            self._computed([image]) as (logits, size, span),
            self._threads(),
        ):
            full = resize(logits.float(), span)[..., : size[0], : size[1]]
            return as_array(tempered(full, self.temperatures)[0])

    def shifted(self, image: Image, shifts: Sequence[Tensor]) -> list[Labels]:
        """The labels [H, W] that come of adding each of some constants per class [K] to the logits."""
        with (
            self._computed([image]) as (logits, size, span),
            self._threads(),
        ):
            moved = (logits.float() + shift.to(logits.device)[:, None, None] for shift in shifts)
            return [as_array(labels_from_low(one, size, span=span)[0]) for one in moved]

    def logits_at(
        self, image: Image, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The logits of some pixels [n]: float32 [n, K], as they are without temperatures."""
        with self._computed([image]) as (logits, _, span):
            places = np.stack([(2 * columns + 1) / span[1] - 1, (2 * rows + 1) / span[0] - 1], axis=-1)
            grid = torch.from_numpy(places).to(logits.device, torch.float32)[None, None]
            picked = F.grid_sample(logits.float(), grid, padding_mode="border", align_corners=False)
            return as_array(picked[0, :, 0].T.contiguous())

    def _computed(
        self, images: Sequence[Image]
    ) -> AbstractContextManager[tuple[Tensor, tuple[int, int], tuple[int, int]]]:
        """What `_low` returns; backends are given pixels where they are, and have a precision of their own."""
        if self.backend is None:
            return computed(self.model, images, self.precision, self._low)
        return computed(self.model, images, "float32", self._low, device=torch.device("cpu"))

    def _threads(self) -> AbstractContextManager[None]:
        return nullcontext() if self.backend is None else alone()

    def _low(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
        """Logits at the decoder's stride, the size of the image, and the size that they span."""
        frame, size = self.model.frame, (pixels.shape[-2], pixels.shape[-1])
        if self.backend is None:
            logits = self.model.judged(frame.framed(self.model.prepare(pixels)))
        else:
            logits = self.backend(frame.framed_pixels(pixels.permute(0, 2, 3, 1).numpy()))
        return logits, size, frame.spanned(pixels)


def check_image(model: Network, image: Image) -> Image:
    """The image as [H, W, C] in a dtype that the model takes.

    Raises:
        DataError: see `predict`.
    """
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.size == 0:
        raise DataError(f"an array of shape {image.shape}", remedy="pass an image [H, W, C] or [H, W]")
    if image.dtype == np.float64:
        image = image.astype(np.float32)
    if image.shape[2] != model.bands:
        raise DataError(
            f"the image has {_bands(image.shape[2])}, the model takes {model.bands}",
            remedy=f"give it images with {_bands(model.bands)} in the order of the training images",
        )
    _check_values(model, image)
    return image


def precision_of(model: Network) -> Precision:
    """The precision that the bundle of the model was checked with, else `float32`."""
    return facts_of(model).precision


def temperatures_of(model: Network) -> tuple[float, ...] | None:
    """The temperatures of every class that the bundle of the model holds, if it was calibrated."""
    calibration = facts_of(model).calibration
    return None if calibration is None else calibration.each(len(model.classes))


def set_threshold_of(model: Network) -> float:
    """The probability from which a class is in the label sets of the model.

    Raises:
        OptionError: the bundle holds none.
    """
    calibration = facts_of(model).calibration
    if calibration is None or calibration.set_threshold is None:
        raise OptionError(
            "the model has no threshold for label sets",
            remedy="choose one on labelled images that it did not learn from, nine or more: "
            "pixelwise calibrate MODEL DATA -o NEW.safetensors",
        )
    return calibration.set_threshold


@contextmanager
def evaluating(model: Network) -> Iterator[None]:
    """Put the model in evaluation mode without gradients, and every part back as it was afterwards."""
    trained = [part for part in model.modules() if part.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part in trained:
            part.training = True


@contextmanager
def computed(
    model: Network,
    images: Sequence[Image],
    precision: Precision | None,
    compute: Callable[[Tensor], Result],
    *,
    device: torch.device | None = None,
) -> Iterator[Result]:
    """Yield what `compute` makes of images of one size, given as [N, C, H, W] with the values of their files.

    The model is in evaluation mode and in its precision, the images on its device unless another is given, and memory
    that runs out is a DataError; that holds for the body of the `with` too, except for the precision.

    Raises:
        DataError, OptionError: see `predict`.
    """
    precision = _precision(model, precision)
    pixels = torch.from_numpy(_together(images, [check_image(model, image) for image in images]))
    pixels = pixels.permute(0, 3, 1, 2)
    device = device or next(model.parameters()).device
    with evaluating(model), _memory(images[0]):
        lower = torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
        with lower:
            result = compute(pixels.to(device))
        yield result


@contextmanager
def _memory(image: Image) -> Iterator[None]:
    """Turn the allocators' several ways to give up into one error."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise DataError(
            f"an image of {image.shape[0]} x {image.shape[1]} pixels does not fit in memory",
            remedy="cut the image into smaller ones, or use a machine with more memory",
        ) from error


def _precision(model: Network, precision: Precision | None) -> Precision:
    chosen = precision or precision_of(model)
    if chosen not in PRECISIONS:
        raise OptionError(f"precision {chosen!r}", remedy=f"use one of {', '.join(PRECISIONS)}")
    return chosen


def _check_values(model: Network, image: Image) -> None:
    given, trained = image.dtype.name, facts_of(model).dtype
    if given not in DTYPES:
        raise DataError(f"the image is {given}", remedy=f"pass an image of {', '.join(DTYPES)}")
    if trained is not None and given != trained:
        raise DataError(
            f"the image is {given}, the model was trained on {trained}: their values mean different things",
            remedy=f"convert the image to {trained} the way the training images were made",
        )
    if image.dtype == np.float32 and not np.isfinite(image).all():
        bad = ~np.isfinite(image).all(axis=2)
        row, column = np.unravel_index(int(np.argmax(bad)), bad.shape)
        raise DataError(
            f"{int(bad.sum())} pixels are not finite, first at row {row}, column {column}",
            remedy="fill them with a value: image = np.nan_to_num(image)",
        )


def _together(given: Sequence[Image], images: Sequence[Image]) -> NDArray[Any]:
    """Images as one array [N, H, W, C]: a copy, unless they were given as one that torch takes as it is."""
    if not images:
        raise DataError("no image", remedy="give one or more")
    whole = images[0][None] if len(images) == 1 else given
    if not isinstance(whole, np.ndarray) or whole.ndim != 4 or whole.dtype != images[0].dtype:
        return np.stack(images)
    # torch takes none that is read-only, flipped or of another byte order
    forward = all(step > 0 for step, count in zip(whole.strides, whole.shape, strict=True) if count > 1)
    fits = whole.flags.writeable and whole.dtype.isnative and forward
    return whole if fits else np.stack(images)


def as_array(tensor: Tensor) -> NDArray[Any]:
    """A tensor of any device as an array."""
    array: NDArray[Any] = tensor.cpu().numpy()
    return array


def _bands(count: int) -> str:
    return "1 band" if count == 1 else f"{count} bands"
