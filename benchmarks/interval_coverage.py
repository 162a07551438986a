"""How often the intervals of scores hold the true value, and how often equal models are called different.

Counts per image are drawn from models of a test set: eight classes from 30 % of the pixels to 1 %, the rarest in one
image of ten; how well an image is mapped varies by image and by class, large objects are mapped better, and some images
hold claims of a class that is not there. Images are independent, or groups of five that are half alike, or the frames
of one film, each correlated with the one before by 0.6 or 0.8, or the tiles of one scene, correlated with their
neighbours by 0.3 or 0.5 and with others by a power of that. The true scores come from 400 000 images.
Nominal is 95 % for intervals, and 5 % for the difference of two models that are equally good and err independently
in three quarters of the variance.

    python benchmarks/interval_coverage.py --simulations 2000 --out benchmarks/results/interval_coverage.json
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
from machine import store
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from pixelwise.data.groups import Groups
from pixelwise.evaluation.comparison import compare_runs
from pixelwise.evaluation.overlaps import accuracy, frequency_weighted, score_intervals
from pixelwise.evaluation.units import units_of
from pixelwise.metrics import ClassScore, Scores
from pixelwise.metrics.overlap import dice, iou, precision, recall

AREA = np.array([0.30, 0.25, 0.20, 0.10, 0.05, 0.03, 0.02, 0.01])
PRESENT = np.array([1, 1, 1, 0.9, 0.7, 0.4, 0.2, 0.1])
QUALITY = np.array([2.5, 2.2, 3, 1.5, 1, 0.5, 0.3, -0.2])
NAMES = [f"class_{k}" for k in range(8)]
PIXELS = 172_800


class World:
    """Draws test sets: independent images, groups of `group`, a film or a scene with the correlation of neighbours."""

    def __init__(self, seed: int, *, group: int = 1, film: float = 0.0, scene: float = 0.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.group, self.film, self.scene = group, film, scene
        self.mixing: NDArray[np.float64] = np.zeros((0, 0))

    def names(self, images: int) -> Groups:
        """The group of each image."""
        if self.film or self.scene:
            places = tuple((float(x), float(y)) for x, y in tiles(images)) if self.scene else ()
            return Groups(("one",) * images, "given", places)
        return Groups(tuple(f"{k // self.group}" for k in range(images)), "given")

    def draw(self, images: int, *, models: int = 1) -> list[NDArray[np.int64]]:
        """Counts [images, 8, 3] of some models that are equally good on the same images."""
        k = len(NAMES)
        size, present = self.effects(images, k), self.effects(images, k)
        here = ndtr(present) < PRESENT
        truth = AREA / PRESENT * np.exp(0.6 * size - 0.18) * here
        truth = np.rint(truth / truth.sum(1, keepdims=True) * PIXELS)
        shared = 0.5 * self.effects(images, 1) + 0.5 * self.effects(images, k)
        drawn = []
        for _ in range(models):
            own = 0.5 * self.effects(images, 1) + 0.5 * self.effects(images, k)
            quality = shared if models == 1 else 0.5 * shared + np.sqrt(0.75) * own
            logit = QUALITY + quality + 0.4 * size
            balance = 0.15 * self.effects(images, k)
            found = np.rint(truth / (1 + np.exp(-logit - 0.8 - balance)))
            claims = (ndtr(self.effects(images, k)) < 0.2) * ~here * AREA * 3000
            predicted = np.rint(found * (1 + np.exp(-logit - 0.8 + balance)) + claims)
            drawn.append(np.stack([found, truth, predicted], axis=2).astype(np.int64))
        return drawn

    def effects(self, images: int, columns: int) -> NDArray[np.float64]:
        """Standard normal effects [images, columns], alike within groups or along the film."""
        noise = self.rng.standard_normal((images, columns))
        if self.film:
            noise[1:] *= np.sqrt(1 - self.film**2)
            noise = lfilter([1.0], [1.0, -self.film], noise, axis=0)
        if self.scene:
            if len(self.mixing) != images:
                apart = np.hypot(*(tiles(images)[:, None] - tiles(images)[None]).transpose(2, 0, 1))
                self.mixing = np.linalg.cholesky(self.scene**apart + 1e-9 * np.eye(images))
            noise = self.mixing @ noise
        if self.group > 1:
            groups = self.rng.standard_normal((-(-images // self.group), columns))
            noise = np.sqrt(0.5) * (noise + np.repeat(groups, self.group, axis=0)[:images])
        return noise


def tiles(images: int) -> NDArray[np.float64]:
    """The places [images, 2] of the tiles of a scene that is about as wide as high."""
    return np.stack(np.divmod(np.arange(images), math.ceil(math.sqrt(images))), axis=1).astype(float)


def scored(counts: NDArray[np.int64]) -> Scores:
    """The scores of counts [images, 8, 3]; they tell no confusion off the diagonal."""
    sums = counts.sum(0).astype(float)
    rows = zip(NAMES, iou(sums), dice(sums), precision(sums), recall(sums), sums[:, 1], strict=True)
    return Scores(
        mean_iou=float(np.nanmean(iou(sums))),
        pixel_accuracy=float(accuracy(sums)[0]),
        mean_dice=float(np.nanmean(dice(sums))),
        frequency_weighted_iou=float(frequency_weighted(sums)[0]),
        classes=tuple(ClassScore(name, *map(float, shares), int(pixels)) for name, *shares, pixels in rows),
        confusion=np.diag(counts[:, :, 0].sum(0)),
        images=len(counts),
        pixels=int(sums[:, 1].sum()),
        image_counts=counts,
    )


def true_scores() -> Scores:
    """Of 400 000 images."""
    world = World(99)
    total = sum(world.draw(20_000)[0].sum(0) for _ in range(20))
    return scored(np.asarray(total)[None])


def coverage(world: World, images: int, simulations: int, true: Scores) -> dict[str, object]:
    """Share of intervals that hold the true value, of all and of those marked reliable; and their median width."""
    units = units_of(world.names(images))
    held: dict[str, list[tuple[bool, bool, float]]] = {}
    for _ in range(simulations):
        scores = scored(world.draw(images)[0])
        found = score_intervals(scores, units)
        defined = [k for k, one in enumerate(scores.classes) if one.iou == one.iou]
        aims = {
            # A class that no image holds is left out of the mean, and so of what the mean estimates.
            "mean_iou": np.mean([true.classes[k].iou for k in defined]),
            "mean_dice": np.mean([true.classes[k].dice for k in defined]),
            "pixel_accuracy": true.pixel_accuracy,
            "frequency_weighted_iou": true.frequency_weighted_iou,
        }
        rows = [(name, getattr(found, name), aim) for name, aim in aims.items()]
        rows += [(f"iou {NAMES[k]}", found.classes[k].iou, true.classes[k].iou) for k in defined]
        for name, estimate, aim in rows:
            low, high = estimate.interval
            held.setdefault(name, []).append((low <= aim <= high, estimate.reliable, high - low))
    return {
        name: {
            "coverage": round(float(np.mean([row[0] for row in rows])), 4),
            "reliable": round(float(np.mean([row[1] for row in rows])), 3),
            "coverage_reliable": _share([row[0] for row in rows if row[1]]),
            "width": round(float(np.median([row[2] for row in rows])), 4),
        }
        for name, rows in sorted(held.items())
    }


def false_alarms(world: World, images: int, simulations: int) -> dict[str, object]:
    """Share of comparisons of equal models that are called different at 5 %."""
    units = units_of(world.names(images))
    called: dict[str, list[bool]] = {}
    for _ in range(simulations):
        first, second = (scored(counts) for counts in world.draw(images, models=2))
        found = compare_runs([first], [second], units)
        for one in (found.mean_iou, found.pixel_accuracy, *found.classes):
            if one.p == one.p:
                called.setdefault(one.name, []).append(one.p < 0.05)
    return {name: round(float(np.mean(rows)), 4) for name, rows in called.items()}


def _share(values: list[bool]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def main() -> None:
    """Simulate all cases and write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 50, 200])
    cases = ["images", "groups", "film_0.6", "film_0.8", "scene_0.3", "scene_0.5"]
    parser.add_argument("--cases", nargs="+", default=cases)
    parser.add_argument("--parts", nargs="+", default=["coverage", "false_alarms"])
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    worlds = {
        "images": {},
        "groups": {"group": 5},
        "film_0.6": {"film": 0.6},
        "film_0.8": {"film": 0.8},
        "scene_0.3": {"scene": 0.3},
        "scene_0.5": {"scene": 0.5},
    }
    result = {"simulations": given.simulations}
    if given.out is not None and given.out.exists():
        result = json.loads(given.out.read_text()) | result  # cases may be run one after the other
    true = true_scores()
    for case in given.cases:
        for images in given.images:
            began = time.perf_counter()
            count = images * worlds[case].get("group", 1)
            entry = result.setdefault(f"{case}, {images}", {})
            if "coverage" in given.parts:
                found = coverage(World(1, **worlds[case]), count, given.simulations, true)
                entry["coverage"] = found
                print(case, images, json.dumps({name: one["coverage"] for name, one in found.items()}))
            if "false_alarms" in given.parts:
                entry["false_alarms"] = false_alarms(World(2, **worlds[case]), count, given.simulations)
                print(case, images, json.dumps(entry["false_alarms"]))
            print(f"{time.perf_counter() - began:.1f} s", flush=True)
            store(given.out, result)


if __name__ == "__main__":
    main()
