"""A network in large: runs of layers at one resolution, and what connects them.

The encoder's stages are its maps. A decoder is cut wherever its resolution changes; side branches that only meet
the main path again, such as the scores of an FCN, belong to the stage that they meet it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from pixelwise.models.fields import paces
from pixelwise.models.graph import IMAGE, Operation, Record

JOINS = {
    "cat": "concatenate",
    "add": "add",
    "mul": "multiply",
    "max_unpool2d": "switches",
}


@dataclass(frozen=True)
class Link:
    """Where a stage takes a map from.

    Attributes:
        stage: Index of the stage it comes from, `IMAGE` for the image.
        join: How it meets the main path: `concatenate`, `add`, `multiply`, `switches`; empty on the main path.
    """

    stage: int
    join: str


@dataclass(frozen=True)
class Stage:
    """Layers at one resolution.

    Attributes:
        part: `encoder`; everything else is the `decoder`, or the `head` of a network that has none.
        stride: Image pixels per pixel of its map; None where a map has become one vector.
        output: Channels, height and width of what comes out, before a last convolution to classes.
        convolutions: How many it has.
        links: Where its maps come from; the main path first.
    """

    part: str
    stride: Fraction | None
    output: tuple[int, int, int]
    convolutions: int
    links: tuple[Link, ...]


def stages(traced: Record) -> tuple[Stage, ...]:
    """The stages of a recorded network, in the order of computation."""
    operations = traced.operations
    strides = _strides(operations)
    owner = _runs(traced, strides)
    owner = _merged(operations, strides, owner)
    order = {stage: place for place, stage in enumerate(sorted(set(owner), key=lambda s: _last(owner, s)))}
    owner = [order[stage] for stage in owner]
    members: list[list[int]] = [[] for _ in order]
    for place, stage in enumerate(owner):
        members[stage].append(place)
    return tuple(_stage(operations, strides, owner, places) for places in members)


def _stage(
    operations: Sequence[Operation],
    strides: Sequence[Fraction | None],
    owner: Sequence[int],
    places: Sequence[int],
) -> Stage:
    maps = [p for p in places if len(operations[p].shape) == 4 and strides[p] is not None]
    last = maps[-1] if maps else places[-1]
    shape = operations[last].shape
    if last == len(operations) - 1 and operations[last].name == "convolution":
        shape = operations[last].sources[0].shape  # the head's outputs are classes and no width of the stage
    channels, height, width = (*shape[1:], 1, 1)[:3]
    links: dict[int, str] = {}
    for place in places:
        for source in operations[place].sources:
            before = IMAGE if source.operation == IMAGE else owner[source.operation]
            if before != owner[last]:
                links.setdefault(before, _join(operations, owner, place))
    latest = max(links)
    ordered = [Link(latest, ""), *(Link(s, join) for s, join in sorted(links.items()) if s != latest)]
    decodes = any(operation.module.startswith("decoder") for operation in operations)
    part = _part(operations[last])
    return Stage(
        part=part if part == "encoder" or decodes else "head",
        stride=strides[last],
        output=(channels, height, width),
        convolutions=sum(operations[place].name == "convolution" for place in places),
        links=tuple(ordered),
    )


def _part(operation: Operation) -> str:
    return "encoder" if operation.module.partition(".")[0] == "encoder" else "decoder"


def _strides(operations: Sequence[Operation]) -> list[Fraction | None]:
    """The pace of each operation; that of maximum searches for unpooling is the unpooled map's."""
    strides = list(paces(operations))
    for place, uses in enumerate(_consumers(operations)):
        if uses and all(argument == "indices" for _, argument in uses):
            strides[place] = strides[uses[0][0]]
    return strides


def _consumers(operations: Sequence[Operation]) -> list[list[tuple[int, str]]]:
    """For each operation, the operations that take its result, and under which name."""
    found: list[list[tuple[int, str]]] = [[] for _ in operations]
    for place, operation in enumerate(operations):
        for source in operation.sources:
            if source.operation != IMAGE:
                found[source.operation].append((place, source.argument))
    return found


def _runs(traced: Record, strides: list[Fraction | None]) -> list[int]:
    """A number per operation: the encoder's by the map they lead to, others by unbroken runs at one stride.

    What has become a vector, as in squeeze-and-excitation, belongs to the run it happens in.
    """
    operations = traced.operations
    levels = {p for p in traced.results if p != IMAGE and _part(operations[p]) == "encoder"}
    current: tuple[object, ...] = ()
    numbers: dict[tuple[object, ...], int] = {}
    owner = []
    run = 0
    for place, operation in enumerate(operations):
        part, stride = _part(operation), strides[place]
        if stride is None and current[:1] == (part,):
            stride = current[1]  # type: ignore[assignment]
        if part == "encoder":
            key: tuple[object, ...] = (part, sum(level < place for level in levels))
        else:
            run += current[:2] != (part, stride)
            key = (part, stride, f"run {run}")
        current = key
        owner.append(numbers.setdefault(key, len(numbers)))
    return owner


def _merged(
    operations: Sequence[Operation], strides: Sequence[Fraction | None], owner: list[int]
) -> list[int]:
    """Side branches put into the stage where they end, and neighbours that this makes of one stride into one."""
    owner = list(owner)
    consumers = _consumers(operations)
    for stage in sorted(set(owner)):
        places = [place for place, own in enumerate(owner) if own == stage]
        if _part(operations[places[0]]) == "encoder":
            continue
        ends = {owner[use] for place in places for use, _ in consumers[place]} - {stage}
        if len(ends) == 1 and _is_side(operations, strides, owner, stage, end := ends.pop()):
            for place in places:
                owner[place] = end
    order = sorted(range(len(owner)), key=lambda place: (_last(owner, owner[place]), place))
    joined = list(owner)
    for _, group in groupby(order, key=lambda place: (_part(operations[place]), strides[place])):
        members = [*group]
        if _part(operations[members[0]]) != "encoder":
            for place in members:
                joined[place] = owner[members[-1]]
    return joined


def _last(owner: Sequence[int], stage: int) -> int:
    return max(place for place, own in enumerate(owner) if own == stage)


def _is_side(
    operations: Sequence[Operation],
    strides: Sequence[Fraction | None],
    owner: Sequence[int],
    stage: int,
    end: int,
) -> bool:
    """Whether a stage only prepares a map of its own stride for `end`, which others feed too."""
    places = [place for place, own in enumerate(owner) if own == stage]
    ends = [place for place, own in enumerate(owner) if own == end]
    first, goal = operations[places[0]], operations[ends[-1]]
    if _part(first) != _part(goal) or strides[places[-1]] != strides[ends[-1]]:
        return False
    for source in _sources(operations, owner, places):
        if _part(operations[source]) == _part(first) and strides[source] != strides[places[0]]:
            return False
    return any(owner[source] != stage for source in _sources(operations, owner, ends))


def _sources(operations: Sequence[Operation], owner: Sequence[int], places: Sequence[int]) -> Iterator[int]:
    """Operations outside a stage that its operations take from."""
    for place in places:
        for source in operations[place].sources:
            if source.operation != IMAGE and owner[source.operation] != owner[place]:
                yield source.operation


def _join(operations: Sequence[Operation], owner: Sequence[int], place: int) -> str:
    """How a map that enters a stage at an operation meets the stage's main path."""
    consumers = _consumers(operations)
    waiting = [place]
    while waiting:
        place = waiting.pop(0)
        if len(operations[place].sources) > 1 and operations[place].name in JOINS:
            return JOINS[operations[place].name]
        waiting += [use for use, _ in consumers[place] if owner[use] == owner[place]]
    return ""
