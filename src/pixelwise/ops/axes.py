"""Options of operations over one, two or three axes: checked, and spread over the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pixelwise.errors import OptionError

Numbers = NDArray[Any]  # whole numbers stay whole, floats keep their precision
Padding = int | tuple[int, int] | Literal["valid", "same", "full"]  # along one axis
Paddings = Padding | tuple[Padding, ...] | list[Padding]  # for all axes, or one entry per axis


def whole(value: object, name: str, *, least: int = 1) -> int:
    """`value` as an int of at least `least`.

    Raises:
        OptionError: it is no whole number, or smaller.

    >>> whole(np.int64(3), "stride")
    3
    """
    remedy = f"give a whole number, {least} or more"
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise OptionError(f"{name} is {value!r}", remedy=remedy)
    if value.__index__() < least:
        raise OptionError(f"{name} is {value}", remedy=remedy)
    return value.__index__()


def per_axis(value: int | Sequence[int], axes: int, name: str, *, least: int = 1) -> tuple[int, ...]:
    """One whole number per axis, from one for all or one each.

    Raises:
        OptionError: another count, or a value that is no whole number of at least `least`.

    >>> per_axis(3, 2, "kernel"), per_axis((3, 5), 2, "kernel")
    ((3, 3), (3, 5))
    """
    if not isinstance(value, Sequence):
        return (whole(value, name, least=least),) * axes
    if len(value) != axes:
        raise OptionError(
            f"{name} is {value!r} for {_axes(axes)}", remedy=f"give one whole number for all, or {axes}"
        )
    return tuple(whole(one, name, least=least) for one in value)


def padding_per_axis(value: Paddings, axes: int) -> tuple[Padding, ...]:
    """One padding per axis, from one for all or one each; `(1, 2)` is 1 on the first axis, 2 on the second.

    Raises:
        OptionError: another count.

    >>> padding_per_axis("same", 2), padding_per_axis(((1, 2), 0), 2)
    (('same', 'same'), ((1, 2), 0))
    """
    if not isinstance(value, tuple | list):
        return (value,) * axes
    if len(value) != axes:
        example = ", ".join(["(before, after)"] * axes) + ("," if axes == 1 else "")
        raise OptionError(
            f"padding is {value!r} for {_axes(axes)}",
            remedy=f"give one whole number for all axes, one entry per axis, or ({example})",
        )
    return tuple(value)


def numbers(values: ArrayLike, name: str) -> Numbers:
    """`values` as an array of numbers that is not empty.

    Raises:
        OptionError: it is ragged, empty or no array of numbers.

    >>> numbers([[1, 2], [3, 4]], "x").shape
    (2, 2)
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise OptionError(f"{name} has rows of different lengths", remedy="give a full array") from None
    if array.dtype.kind not in "biuf":
        raise OptionError(f"{name} holds {array.dtype}", remedy="give whole numbers or floats")
    if array.size == 0:
        raise OptionError(
            f"{name} of shape {array.shape} is empty", remedy="give at least one number per axis"
        )
    return array


def last_axes(x: Numbers, axes: int) -> tuple[int, ...]:
    """The lengths of the last `axes` axes of `x`, the ones that an operation works along.

    Raises:
        OptionError: `axes` is not 1, 2 or 3, or `x` has fewer.

    >>> last_axes(np.zeros((16, 5, 7)), 2)
    (5, 7)
    """
    if whole(axes, "axes") > 3 or x.ndim < axes:
        raise OptionError(
            f"axes is {axes} for an array of shape {x.shape}", remedy=f"give a number in 1..{min(x.ndim, 3)}"
        )
    return x.shape[x.ndim - axes :]


def _axes(count: int) -> str:
    return "1 axis" if count == 1 else f"{count} axes"
