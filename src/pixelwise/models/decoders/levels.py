"""What several decoders ask of an encoder's levels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pixelwise.errors import OptionError
from pixelwise.models.interfaces import Level, NetworkOptions


def by_stride(levels: Sequence[Level]) -> dict[int, int]:
    """Stride to the index of its level, the deepest one where several share it."""
    return {level.stride: index for index, level in enumerate(levels)}


def need_halving(model: str, levels: Sequence[Level], *, maps: int = 1) -> None:
    """Refuse fewer than `maps` levels, and levels that do not shrink one after the other by powers of two.

    Raises:
        OptionError: such as strides 2, 4, 8, 8, 8 of an encoder that dilates, or a single map at full size.
    """
    strides = [level.stride for level in levels]
    shrink = len(levels) >= maps and all(fine < coarse for fine, coarse in pairwise(strides))
    if not shrink or strides[-1] < 2 or any(stride & (stride - 1) for stride in strides):
        raise OptionError(
            f"{model} needs an encoder whose maps halve in size from one to the next, got strides {strides}",
            remedy="choose another encoder, and no output_stride; `pixelwise models` lists encoders",
        )


def need_strides(model: str, levels: Sequence[Level], wanted: Sequence[int]) -> None:
    """Refuse levels that lack one of the `wanted` strides.

    Raises:
        OptionError: with the strides that there are.
    """
    strides = [level.stride for level in levels]
    missing = [stride for stride in wanted if stride not in strides]
    if missing:
        raise OptionError(
            f"{model} needs maps of the encoder at strides {[*wanted]}, got strides {strides}",
            remedy="choose another encoder or another output_stride; `pixelwise models` lists encoders",
        )


def need_widths(options: NetworkOptions, least: int, most: int, meaning: str) -> tuple[int, ...] | None:
    """`decoder_channels` if it is given and has `least` to `most` entries.

    Raises:
        OptionError: too few or too many entries.
    """
    given = options.decoder_channels
    if given is not None and not least <= len(given) <= most:
        count = str(most) if least == most else f"{least} to {most}"
        raise OptionError(
            f"decoder_channels has {len(given)} entries {given}",
            remedy=f"give {count} positive widths: {meaning}",
        )
    return given


def chosen_upsampling(model: str, options: NetworkOptions, *possible: str) -> str:
    """The upsampling of the options if it is among `possible`; the first of these where none is given.

    Raises:
        OptionError: another one.
    """
    mode = options.upsampling or possible[0]
    if mode not in possible:
        raise OptionError(
            f"upsampling is {mode!r}, which {model} cannot do", remedy=f"give {' or '.join(possible)}"
        )
    return mode
