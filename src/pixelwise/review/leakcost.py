"""How much a score gains when images of the same place, film or patient are in training: measured by trainings.

What a split by chance says and what one by groups says are two scores, each on its own test images. Those two sets
differ, and one may be harder than the other. So two networks are also scored on the same images: one half of the test
groups. What differs is what the networks learnt from: in one training some images are exchanged for the other half of
the test groups, as a split by chance would have it. Three trainings of one budget answer both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwise.data.dataset import Dataset
from pixelwise.data.groups import find_groups
from pixelwise.data.splits import seeded_split
from pixelwise.errors import DataError
from pixelwise.evaluation.comparison import compare_apart, compare_runs
from pixelwise.evaluation.intervals import NOTE
from pixelwise.evaluation.scores import evaluate
from pixelwise.files import write_json
from pixelwise.models.bundle import load
from pixelwise.training import train
from pixelwise.training.options import TrainOptions

FILE = "leakcost.json"


@dataclass(frozen=True)
class LeakCost:
    """Scores on the same test images with and without their neighbours in training.

    Attributes:
        images: Names of the test images.
        trained: How many images each network learnt from.
        exchanged: How many of them are neighbours of the test images, in one of the two trainings.
        mixed: Mean IoU with neighbours in training.
        apart: Mean IoU without.
        interval: 95 % interval of the gain over groups of test images; see `evaluation.comparison`.
        reliable: Whether there are images enough for that interval to be relied on.
        by_chance: Mean IoU that a split by chance reports, on its own test images.
        by_groups: Mean IoU that the split by groups reports, on all of its test images.
        flattery_interval: 95 % interval of the difference of these two, over groups of images of both test sets.
        flattery_reliable: Whether there are images enough for that one.
        steps: Of the trainings mixed, apart and chance.
        units: What the first interval is over, in one phrase.
    """

    images: tuple[str, ...]
    trained: int
    exchanged: int
    mixed: float
    apart: float
    interval: tuple[float, float]
    reliable: bool
    by_chance: float
    by_groups: float
    flattery_interval: tuple[float, float]
    flattery_reliable: bool
    steps: tuple[int, int, int]
    units: str

    @property
    def gain(self) -> float:
        """By how much neighbours in training raise the score."""
        return self.mixed - self.apart

    @property
    def flattery(self) -> float:
        """By how much the split by chance says more than the split by groups."""
        return self.by_chance - self.by_groups

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the intervals should know, in full sentences."""
        marked = {"neighbours": self.reliable, "split by chance": self.flattery_reliable}
        unsure = [name for name, reliable in marked.items() if not reliable]
        return (f"{', '.join(unsure)}: {NOTE}",) if unsure else ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "images": list(self.images),
            "trained": self.trained,
            "exchanged": self.exchanged,
            "mixed": self.mixed,
            "apart": self.apart,
            "gain": self.gain,
            "interval": list(self.interval),
            "interval_reliable": self.reliable,
            "interval_units_origin": self.units,
            "by_chance": self.by_chance,
            "by_groups": self.by_groups,
            "flattery": self.flattery,
            "flattery_interval": list(self.flattery_interval),
            "flattery_interval_reliable": self.flattery_reliable,
            "steps": list(self.steps),
            "interval_notes": list(self.notes),
        }


def leak_cost(
    data: Dataset, *, out: str | Path, options: TrainOptions, say: Callable[[str], None] | None = None
) -> LeakCost:
    """Train three times: with neighbours of the test images, without, and by a split by chance.

    Args:
        data: With a split that keeps groups together, such as the one that `find_leaks` proposes.
        out: Folder for the runs `mixed`, `apart` and `chance` and for `leakcost.json`.
        options: Of all trainings.
        say: Told what goes on.

    Raises:
        DataError: fewer than 2 test images, or fewer training images than are exchanged.
    """
    both, by_chance = arranged(data), scattered(data, options.seed)
    runs, scores = {}, {}
    for name, arm in (both | {"chance": by_chance}).items():
        if say is not None:
            say(f"{name}: {len(arm.train)} images to train, {len(arm.test)} to score")
        runs[name] = train(arm, out=Path(out) / name, options=options)
        scores[name] = evaluate(load(runs[name].model), arm.test)
    grouped = evaluate(load(runs["apart"].model), data.test)
    gain = compare_runs([scores["apart"]], [scores["mixed"]], find_groups(both["apart"].test))
    flattery = compare_apart(grouped, scores["chance"], (find_groups(data.test), find_groups(by_chance.test)))
    cost = LeakCost(
        images=both["apart"].test.names,
        trained=len(both["apart"].train),
        exchanged=len(set(both["mixed"].train.names) - set(both["apart"].train.names)),
        mixed=scores["mixed"].mean_iou,
        apart=scores["apart"].mean_iou,
        interval=gain.mean_iou.interval,
        reliable=gain.mean_iou.reliable,
        by_chance=scores["chance"].mean_iou,
        by_groups=grouped.mean_iou,
        flattery_interval=flattery.interval,
        flattery_reliable=flattery.reliable,
        steps=(runs["mixed"].steps, runs["apart"].steps, runs["chance"].steps),
        units=gain.units.origin,
    )
    write_json(Path(out) / FILE, cost.as_dict())
    return cost


def arranged(data: Dataset) -> dict[str, Dataset]:
    """The data of both trainings: as many images each, the same to validate and to score.

    Raises:
        DataError: see `leak_cost`.
    """
    scored, shared = data.test.items[1::2], data.test.items[::2]
    kept = len(data.train) - len(shared)
    if not scored or kept < 1:
        raise DataError(
            f"{len(data.train)} images to train and {len(data.test)} to test are too few to exchange some",
            file=data.root,
            remedy="give a split with at least 2 test images and more to train",
        )
    test = replace(data.test, items=scored)
    mixed = replace(data.train, items=(*data.train.evenly(kept).items, *shared))
    return {"mixed": replace(data, train=mixed, test=test), "apart": replace(data, test=test)}


def scattered(data: Dataset, seed: int) -> Dataset:
    """The same images in splits of the same sizes, made by chance."""
    items = {item.name: item for split in data.splits for item in split.items}
    sizes: dict[str, float] = {split.name: len(split) / len(items) for split in data.splits}
    names = seeded_split(items, seed=seed, shares=sizes)
    parts = {
        split.name: replace(split, items=tuple(items[name] for name in names[split.name]))
        for split in data.splits
    }
    return replace(data, train=parts["train"], val=parts["val"], test=parts["test"])
