"""Networks that have not seen the images they judge: the labelled images cut into folds, a network for each.

Fold k is judged by a network trained on all the other folds. Images that belong together (frames of one film,
pictures of one place) are never on both sides: a network that has seen the neighbour of an image knows its labels,
wrong ones included.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pixelwise.config import dump
from pixelwise.data.dataset import Dataset, Split
from pixelwise.data.groups import find_groups
from pixelwise.data.items import natural_key
from pixelwise.errors import LayoutError, OptionError, OutputError
from pixelwise.files import write_json, write_text
from pixelwise.losses import LossOptions
from pixelwise.models.bundle import load_network
from pixelwise.models.segmenter import Segmenter
from pixelwise.training import train
from pixelwise.training.options import TrainOptions
from pixelwise.training.run import CHECKPOINT, CONFIG
from pixelwise.training.state import FILE_NAME as STATE

Cutting = Literal["groups", "blocks"]
Say = Callable[[str], None]

PLAN = "folds.json"
TRAINED = "trained"
BLOCKS_PER_FOLD = 4
"""So many stretches of consecutive names make up a fold that is cut by blocks."""

OPTIONS = TrainOptions(loss=LossOptions(overlap_weight=0.0, class_weights="none"))
"""Where nothing else is asked for: cross-entropy alone, whose probabilities mean what they say."""


@dataclass(frozen=True)
class Fold:
    """One fold: the images that its network has not seen, and the run folder of that network."""

    number: int
    unseen: Split
    folder: Path

    def network(self) -> Segmenter:
        """Its network."""
        network = load_network(self.folder)
        if not isinstance(network, Segmenter):
            raise OutputError("holds another kind of network", file=self.folder, remedy="choose another -o")
        return network


def labelled(data: Dataset, split: str = "all") -> Split:
    """All labelled images of a dataset, or those of one split, as one split.

    Raises:
        LayoutError: the dataset has a class per image, or nothing is in the split.
        OptionError: an unknown split.
    """
    named = {one.name: one for one in data.splits}
    if split != "all" and split not in named:
        raise OptionError(f"--split {split!r}", remedy="give all, train, val or test")
    if data.task != "segment":
        raise LayoutError(
            "holds a class per image; label errors are looked for in masks",
            file=data.root,
            remedy="give a folder with images/ and masks/",
        )
    chosen = [one for one in data.splits if split in ("all", one.name)]
    items = tuple(sorted((i for one in chosen for i in one.items), key=lambda item: natural_key(item.name)))
    if len(items) < 2:
        raise LayoutError(f"holds {len(items)} labelled images", file=data.root, remedy="label two or more")
    return replace(data.train, items=items)


def out_of_fold(
    data: Dataset,
    images: Split,
    out: Path,
    *,
    count: int,
    by: Cutting = "groups",
    options: TrainOptions = OPTIONS,
    say: Say = print,
) -> Iterator[Fold]:
    """Train the network of each fold of `images`, unless `out` holds it already, and yield the folds one by one.

    A fold whose training was interrupted goes on where it stopped.

    Args:
        data: The dataset of the images.
        images: From `labelled`.
        out: Folder for folds.json and fold-1/, fold-2/ ...
        count: How many folds, at least 2.
        by: What keeps images together: `groups` as `pixelwise.data.groups` finds them, or `blocks` of consecutive
            names. Blocks serve where there are few groups: a film cut into stretches.
        options: Of each training; the budget is that of one fold.
        say: Told what is decided and done.

    Raises:
        OptionError: fewer groups than folds, or a task other than segmentation.
        OutputError: `out` holds folds of other images or options.
    """
    if options.task != "segment":
        raise OptionError(f"task {options.task}", remedy="leave out task: masks are judged by segmenters")
    if by == "groups":
        found = find_groups(images)
        groups, origin = dict(zip(images.names, found.names, strict=True)), found.origin
    else:
        number = min(len(images), BLOCKS_PER_FOLD * count)
        groups, origin = blocks(images.names, number), f"{number} blocks of consecutive names"
    parts = cut(groups, count)
    plan = {"dataset": data.digest(), "origin": origin, "options": dump(options), "folds": parts}
    _same_plan(out / PLAN, json.loads(json.dumps(plan)))
    say(f"{count} folds of {', '.join(str(len(part)) for part in parts)} images, kept together by {origin}")
    for number, names in enumerate(parts, 1):
        folder, inside = out / f"fold-{number}", set(names)
        if not (folder / TRAINED).exists():
            say(f"fold {number} of {count}")
            seen = tuple(item for item in images.items if item.name not in inside)
            _train(replace(data, train=replace(images, items=seen), **_nothing(data)), folder, options)
        unseen = tuple(item for item in images.items if item.name in inside)
        yield Fold(number, replace(images, items=unseen), folder)


def _nothing(data: Dataset) -> dict[str, Any]:
    # Without a validation split training keeps its last weights, averaged: every image is judged or learnt from.
    return {"val": replace(data.val, items=()), "test": replace(data.test, items=())}


def _train(data: Dataset, folder: Path, options: TrainOptions) -> None:
    begun = (folder / CHECKPOINT / STATE).exists()
    if not begun and (folder / CONFIG).exists():
        shutil.rmtree(folder)  # stopped before there was anything to go on with
    train(data, out=folder, options=options, resume=begun)
    write_text(folder / TRAINED, "")


def _same_plan(path: Path, plan: dict[str, Any]) -> None:
    """Store the plan; refuse a folder that was begun with another one."""
    if not path.exists():
        write_json(path, plan)
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot be read: {error}", file=path, remedy="choose another folder") from error
    if stored != plan:
        changed = [key for key in plan if not isinstance(stored, dict) or stored.get(key) != plan[key]]
        raise OutputError(
            f"was begun with another {' and another '.join(changed)}",
            file=path,
            remedy="give the same data and options to go on, or choose another folder with -o",
        )


def cut(groups: Mapping[str, str], count: int) -> list[tuple[str, ...]]:
    """Cut images into `count` folds of about the same size, no group in two of them.

    Args:
        groups: The group of each image name.
        count: At least 2.

    Raises:
        OptionError: fewer groups than folds.

    >>> cut({"a1": "a", "a2": "a", "b1": "b", "c1": "c"}, 2)
    [('a1', 'a2'), ('b1', 'c1')]
    """
    members: dict[str, list[str]] = {}
    for name in sorted(groups, key=natural_key):
        members.setdefault(groups[name], []).append(name)
    if not 2 <= count <= len(members):
        raise OptionError(
            f"{count} folds of {len(members)} groups of images that belong together",
            remedy=f"give a number of folds from 2 to {len(members)}"
            if len(members) > 1
            else "label images of another place or time too, or cut by blocks of consecutive names",
        )
    folds: list[list[str]] = [[] for _ in range(count)]
    for names in sorted(members.values(), key=len, reverse=True):  # the largest first, always to the emptiest
        min(folds, key=len).extend(names)
    return [tuple(sorted(names, key=natural_key)) for names in folds]


def blocks(names: Sequence[str], count: int) -> dict[str, str]:
    """Groups for names of which nothing else is known: `count` stretches of about the same length in natural order.

    >>> blocks(["t1", "t2", "t10", "t20"], 2)
    {'t1': 'block 1', 't2': 'block 1', 't10': 'block 2', 't20': 'block 2'}
    """
    ordered = sorted(names, key=natural_key)
    return {name: f"block {place * count // len(ordered) + 1}" for place, name in enumerate(ordered)}
