"""Receptive fields of everything that a network computes, with all its branches and joins.

Each operation says which of its inputs an output reads, the same window at every place but for a step:
output i reads inputs (step i + first) // per to (step i + last) // per. Windows put behind one another, and the
wider of both where branches join, give the first and the last image pixel that any value depends on. Where
outputs do not all see equally much, as after upsampling, they are told apart: the pattern repeats after as many
image pixels as the least common multiple of all strides. Borders are left out, as if the image had no end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from pixelwise.models.graph import IMAGE, Operation, Record, TraceError
from pixelwise.models.windows import Window, window_of


@dataclass(frozen=True)
class Reach:
    """The image pixels that outputs depend on along one axis.

    Attributes:
        period: Image pixels after which the pattern repeats.
        spans: First and last pixel for each of the outputs within one period; negative before the image.
    """

    period: int
    spans: tuple[tuple[int, int], ...]

    def span(self, output: int) -> tuple[int, int]:
        """First and last image pixel that `output` depends on."""
        turns, place = divmod(output, len(self.spans))
        first, last = self.spans[place]
        return first + turns * self.period, last + turns * self.period

    @property
    def size(self) -> int:
        """Pixels from the first to the last, the most of any output."""
        return max(last - first + 1 for first, last in self.spans)

    @property
    def stride(self) -> Fraction:
        """Image pixels from one output to the next."""
        return Fraction(self.period, len(self.spans))


Field = tuple[Reach, Reach]  # along rows (height) and columns (width)


def fields(record: Record) -> list[Field | None]:
    """The receptive field of every operation; None where a value depends on the whole image.

    Raises:
        TraceError: an operation of which nothing is known, or maps of different strides that are joined.
    """
    rows, columns = (_reaches(record.operations, axis) for axis in (0, 1))
    return [
        None if row is None or column is None else (row, column)
        for row, column in zip(rows, columns, strict=True)
    ]


def halo(field: Field, cut: int, *, margin: int = 0) -> tuple[int, int]:
    """Image pixels (before, after) a tile that its outputs depend on, the more of both axes.

    Args:
        field: Of the logits.
        cut: Tiles begin and end at multiples of it, in image pixels.
        margin: Image pixels that the logits lack on every side.
    """
    before = after = 0
    for reach in field:
        for edge in range(0, lcm(reach.period, cut), cut):
            output = edge / reach.stride
            if output.denominator != 1:
                raise TraceError(
                    f"a tile cut at {edge} pixels would split a value of stride {reach.stride}",
                    remedy="cut at multiples of the network's stride",
                )
            before = max(before, edge + margin - reach.span(int(output))[0])
            after = max(after, reach.span(int(output) - 1)[1] - margin - edge + 1)
    return before, after


def paces(operations: Sequence[Operation]) -> Iterator[Fraction | None]:
    """Image pixels from one value to the next, for every operation; None where a map has become one value."""
    found: list[Fraction | None] = []
    for operation in operations:
        window = window_of(operation, 1)
        known = [
            Fraction(1) if source.operation == IMAGE else found[source.operation]
            for source in operation.sources
        ]
        stride = next((stride for stride in known if stride is not None), None)
        if window is None and all(operation.shape[2:] != source.shape[2:] for source in operation.sources):
            stride = None
        found.append(stride * window.pace if stride is not None and window is not None else stride)
        yield found[-1]


def _reaches(operations: Sequence[Operation], axis: int) -> list[Reach | None]:
    windows = [window_of(operation, axis) for operation in operations]
    strides = _strides(operations, windows)
    period = lcm(*(stride.numerator for stride in strides if stride is not None))
    image = Reach(period, tuple((place, place) for place in range(period)))
    reaches: list[Reach | None] = []
    for operation, window, stride in zip(operations, windows, strides, strict=True):
        if window is None or stride is None:
            reaches.append(None)
            continue
        sources = [
            image if source.operation == IMAGE else reaches[source.operation] for source in operation.sources
        ]
        seen = [
            _through(window, [source for source in sources if source is not None], output)
            for output in range(int(period / stride))
        ]
        reaches.append(Reach(period, tuple(seen)))
    return reaches


def _strides(operations: Sequence[Operation], windows: Sequence[Window | None]) -> list[Fraction | None]:
    """Image pixels per value of each operation; None where the values depend on the whole image."""
    strides: list[Fraction | None] = []
    for operation, window in zip(operations, windows, strict=True):
        before = {
            Fraction(1) if source.operation == IMAGE else strides[source.operation]
            for source in operation.sources
        }
        if window is None or None in before:
            strides.append(None)
            continue
        if len(before) > 1:
            found = ", ".join(sorted(str(stride) for stride in before))
            raise TraceError(
                f"{operation.where} joins maps of strides {found}", remedy="bring them to one size first"
            )
        stride = before.pop()
        strides.append(None if stride is None else stride * window.pace)
    return strides


def _through(window: Window, sources: Sequence[Reach], output: int) -> tuple[int, int]:
    first = (window.step * output + window.first) // window.per
    last = (window.step * output + window.last) // window.per
    return min(s.span(first)[0] for s in sources), max(s.span(last)[1] for s in sources)
