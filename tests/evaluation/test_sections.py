"""Intervals along borders and by size of objects, judged by leaving images out one by one and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from pixelwise.evaluation.intervals import estimates, influences
from pixelwise.evaluation.sections import _average, boundary_intervals, object_intervals
from pixelwise.evaluation.units import Units, units_of
from pixelwise.metrics.boundary import BoundaryCounter
from pixelwise.metrics.boundaryscores import BoundaryScores
from pixelwise.metrics.objects import ObjectCounter

IMAGES, NAMES = 12, ["ground", "house"]


def singles(count: int) -> Units:
    return units_of([f"{k}" for k in range(count)])


def maps() -> list[tuple[np.ndarray, np.ndarray]]:
    """Squares and what was made of them: moved, and too wide by as much as chance will have it; the last has none."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(IMAGES):
        truth, mapped = np.zeros((40, 50), np.uint8), np.zeros((40, 50), np.uint8)
        if number < IMAGES - 1:
            truth[10:30, 10:36] = 1
            top, wide = rng.integers(0, 5, 2)
            mapped[8 + top : 28 + top, 10 : 36 + wide] = 1
        pairs.append((truth, mapped))
    return pairs


def borders(pairs: list[tuple[np.ndarray, np.ndarray]]) -> BoundaryScores:
    counter = BoundaryCounter(NAMES, width=2, tolerance=1.0, pixel_size=0.5, frame=False)
    for truth, mapped in pairs:
        counter.add(truth, mapped)
    return counter.scores()


@pytest.mark.parametrize("name", ["boundary_iou", "boundary_f", "boundary_precision", "image_mean_hd95"])
def test_the_deviation_along_borders_is_that_of_leaving_images_out(name: str) -> None:
    pairs = maps()
    scores = borders(pairs)
    found = boundary_intervals(scores, singles(IMAGES)).classes[1][name]
    assert found.value == pytest.approx(getattr(scores.classes[1], name))
    without = [getattr(borders(pairs[:k] + pairs[k + 1 :]).classes[1], name) for k in range(IMAGES)]
    variance = (IMAGES - 1) * np.var(without)
    assert found.deviation == pytest.approx(math.sqrt(variance))
    assert found.interval[0] < found.value < found.interval[1]


def test_means_along_borders_are_those_of_the_classes() -> None:
    scores = borders(maps())
    found = boundary_intervals(scores, singles(IMAGES))
    assert found.means["mean_boundary_f"].value == pytest.approx(scores.mean_boundary_f)
    section = found.added(scores.as_dict())
    assert section["mean_boundary_iou_interval"][0] < section["mean_boundary_iou"]
    assert section["classes"][0]["name"] == "ground"
    assert "image_mean_assd_interval" in section["classes"][1]
    assert "mean_boundary_iou" in section["intervals_unreliable"]  # 12 images are fewer than 50


def test_objects_that_are_found_or_not_vary_as_the_images_do() -> None:
    rng = np.random.default_rng(1)
    counter, found = ObjectCounter(NAMES, bounds=(4, 9)), rng.random((30, 4)) < 0.7
    for row in found:
        truth = np.zeros((3, 16), np.uint8)
        truth[0, ::4] = 1  # four objects of one pixel
        mapped = truth.copy()
        mapped[0, ::4] *= row.astype(np.uint8)
        counter.add(truth, mapped)
    scores = counter.scores()
    result = object_intervals(scores, singles(30))
    one = result.classes[1][0]["objects_found"]
    assert one.value == pytest.approx(found.mean())
    assert one.deviation == pytest.approx(scipy.stats.sem(found.mean(axis=1)))
    assert math.isnan(result.classes[1][2]["objects_found"].value)  # there is no large one
    section = result.added(scores.as_dict())
    assert section["classes"][1]["sizes"][0]["objects_found_interval"] == list(one.interval)
    assert section["classes"][1]["sizes"][2]["objects_found_interval"] is None


def test_95_of_100_intervals_of_a_mean_distance_hold_it() -> None:
    rng, held, simulations = np.random.default_rng(2), 0, 300
    for _ in range(simulations):
        away = np.exp(0.6 * rng.standard_normal(50))
        there = rng.random(50) < 0.9
        counts = np.stack([away * there, there], axis=-1)[:, None]
        low, high = estimates(influences(counts, _average, singles(50)), length=True)[0].interval
        held += low <= math.exp(0.18) <= high
    assert abs(held / simulations - 0.95) < 4 * math.sqrt(0.95 * 0.05 / simulations)


def test_a_distance_that_is_the_same_everywhere_has_no_interval() -> None:
    counts = np.ones((5, 1, 2))
    assert math.isnan(estimates(influences(counts, _average, singles(5)), length=True)[0].interval[0])
