"""Counts of (truth, prediction): the one matrix every score is made from."""

from __future__ import annotations

import numpy as np

from pixelwise.errors import DataError, MaskError, OptionError
from pixelwise.ops import native
from pixelwise.types import IGNORE, MAX_CLASSES, Confusion, Labels

_CHUNK = 1 << 18  # pixels counted at a time: the 8-byte copy that bincount makes stays in the cache
_WORTH_LOADING = 1 << 22  # pixels from which numba is loaded, which takes up to a second
_WORTH_CALLING = 1 << 16  # pixels from which it is the quicker way once it is there
_PIECE = 1 << 30  # pixels in one table of 32-bit counters at most


def confusion(truth: Labels, prediction: Labels, classes: int, ignore: int = IGNORE) -> Confusion:
    """Count the pixels of each class in `truth` that `prediction` gives to each class.

    Pixels where `truth` is `ignore` count nowhere. Counts of parts add up to the counts of the whole.

    Args:
        truth: uint8, any shape, class indices below `classes`, or `ignore`.
        prediction: uint8, the same shape, class indices below `classes`.
        classes: the number of classes K, in 1..255.
        ignore: the value of `truth` that counts nowhere, in 0..255.

    Returns:
        int64 [K, K], rows truth, columns prediction.

    Raises:
        MaskError: `truth` holds a value that is neither a class nor `ignore`.
        DataError: another dtype, two shapes, or a prediction that is no class.
        OptionError: `classes` or `ignore` is out of range.

    >>> confusion(np.array([0, 1, 1, 255], np.uint8), np.array([0, 0, 1, 1], np.uint8), 2)
    array([[1, 0],
           [1, 1]])
    """
    _check(truth, prediction, classes, ignore)
    # Counting all 256 x 256 pairs first makes the check of the values free.
    table = _pairs(truth.reshape(-1), prediction.reshape(-1)).reshape(256, 256)
    if table[:, classes:].any():
        raise _bad_prediction(prediction, table.sum(axis=0), classes)
    table[ignore] = 0
    if table[classes:].any():
        raise _bad_truth(truth, table.sum(axis=1), classes, ignore)
    return table[:classes, :classes].copy()


def _pairs(truth: Labels, prediction: Labels) -> Confusion:
    """How often each pair 256 truth + prediction occurs, int64 [65536]."""
    worth = _WORTH_CALLING if native.loaded("confusion_kernels") else _WORTH_LOADING
    kernels = native.load("confusion_kernels") if truth.size >= worth else None
    if kernels is None:
        return _pairs_plain(truth, prediction)
    pieces = max(native.threads(), -(-truth.size // _PIECE))
    bounds = [truth.size * piece // pieces for piece in range(pieces + 1)]
    tables = np.zeros((pieces, kernels.TABLES, kernels.TABLE), np.uint32)

    def work(piece: int) -> None:
        part = slice(bounds[piece], bounds[piece + 1])
        kernels.count(truth[part], prediction[part], tables[piece].reshape(-1))

    native.share(work, pieces)
    counts: Confusion = tables[:, :, : kernels.PAIRS].sum(axis=(0, 1), dtype=np.int64)
    return counts


def _pairs_plain(truth: Labels, prediction: Labels) -> Confusion:
    counts = np.zeros(256 * 256, np.int64)
    for start in range(0, truth.size, _CHUNK):
        pair = truth[start : start + _CHUNK].astype(np.uint16)
        pair <<= 8
        pair |= prediction[start : start + _CHUNK]
        counts += np.bincount(pair, minlength=counts.size)
    return counts


def _check(truth: Labels, prediction: Labels, classes: int, ignore: int) -> None:
    if not 1 <= classes <= MAX_CLASSES:
        raise OptionError(f"{classes} classes", remedy=f"use 1 to {MAX_CLASSES} classes")
    if not 0 <= ignore <= 255:
        raise OptionError(f"the ignore value is {ignore}", remedy="use a value in 0..255")
    for name, array in (("truth", truth), ("prediction", prediction)):
        if array.dtype != np.uint8:
            raise DataError(
                f"the {name} is {array.dtype}; labels are uint8", remedy=f"{name} = {name}.astype(np.uint8)"
            )
    if truth.shape != prediction.shape:
        raise DataError(
            f"the truth is {_size(truth)} and the prediction {_size(prediction)}",
            remedy="compare a prediction with the labels of the same image, at the same size",
        )


def _bad_truth(truth: Labels, counts: Confusion, classes: int, ignore: int) -> MaskError:
    value = int(np.flatnonzero(counts[classes:])[0]) + classes
    return MaskError(
        f"the labels hold value {value} in {counts[value]} pixels, first at {_first(truth, value)};"
        f" allowed are 0..{classes - 1}, and {ignore} for ignore",
        remedy=f"give {value} a class, or list it in classes.yaml under ignore: [{value}]",
    )


def _bad_prediction(prediction: Labels, counts: Confusion, classes: int) -> DataError:
    value = int(np.flatnonzero(counts[classes:])[0]) + classes
    return DataError(
        f"the prediction holds value {value} in {counts[value]} pixels, first at {_first(prediction, value)};"
        f" allowed are 0..{classes - 1}",
        remedy="compare with a model of the same classes; a prediction gives every pixel a class",
    )


def _first(array: Labels, value: int) -> str:
    position = np.unravel_index(int(np.argmax(array == value)), array.shape)
    if array.ndim == 2:
        return f"row {position[0]}, column {position[1]}"
    return f"index {tuple(int(index) for index in position)}"


def _size(array: Labels) -> str:
    return " x ".join(str(length) for length in array.shape)
