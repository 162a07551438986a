"""Intervals and comparisons, judged by closed forms, by scipy's bootstrap and t tests, and by simulation."""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import toeplitz

from pixelwise.data.groups import Groups
from pixelwise.errors import DataError
from pixelwise.evaluation.comparison import compare_apart, compare_runs, summarise_runs
from pixelwise.evaluation.comparisonreport import verdict
from pixelwise.evaluation.intervals import _stretch, influences
from pixelwise.evaluation.overlaps import accuracy, score_intervals
from pixelwise.evaluation.units import ENOUGH, units_of
from pixelwise.metrics import ScoreCounter, scores_from_confusion
from pixelwise.metrics.overlap import iou

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
simulated = importlib.import_module("interval_coverage")


def scores_of(shares, size=1000):
    """Scores of two classes; of each image's pixels, all of class 0, so many are found."""
    counter = ScoreCounter(["a", "b"])
    for share in shares:
        truth = np.zeros((1, size), np.uint8)
        prediction = (np.arange(size)[None] >= round(share * size)).astype(np.uint8)
        counter.add(truth, prediction)
    return counter.scores()


def singles(count):
    return units_of([f"{k}" for k in range(count)])


def test_counts_per_image_are_those_of_the_images():
    rng = np.random.default_rng(0)
    counter = ScoreCounter(["a", "b", "c"])
    maps = [rng.integers(0, 3, (2, 6, 5), dtype=np.uint8) for _ in range(4)]
    for truth, prediction in maps:
        truth[0, 0] = 255
        counter.add(truth, prediction)
    scores = counter.scores()
    for counts, (truth, prediction) in zip(scores.image_counts, maps, strict=True):
        for k in range(3):
            kept = truth != 255
            expected = [
                ((truth == k) & (prediction == k)).sum(),
                (truth == k).sum(),
                (kept & (prediction == k)).sum(),
            ]
            assert counts[k].tolist() == expected
    assert scores.image_counts.dtype == np.int64


def test_accuracy_of_images_of_one_size_has_the_error_of_a_mean():
    shares = np.array([0.7, 0.8, 0.95, 0.9, 0.6, 0.85, 0.75, 0.9])
    found = score_intervals(scores_of(shares), singles(8)).pixel_accuracy
    mean, error = shares.mean(), shares.std(ddof=1) / math.sqrt(8)
    assert found.deviation == pytest.approx(error)
    kurtosis = 8 * ((shares - mean) ** 4).sum() / ((shares - mean) ** 2).sum() ** 2
    reach = scipy.stats.t.ppf(0.975, min(7, 16 / (kurtosis - 1))) * error / (mean * (1 - mean))
    ends = [1 / (1 + math.exp(-math.log(mean / (1 - mean)) - sign * reach)) for sign in (-1, 1)]
    assert found.interval == pytest.approx(ends)


def test_the_standard_error_of_mean_iou_is_that_of_scipys_bootstrap():
    scores = simulated.scored(simulated.World(5).draw(80)[0])
    parts = np.arange(80)

    def statistic(chosen, axis):
        sums = scores.image_counts[chosen].sum(axis if axis >= 0 else chosen.ndim + axis).astype(float)
        return np.nanmean(iou(sums)[..., :5], axis=-1)

    judge = scipy.stats.bootstrap(
        (parts,), statistic, n_resamples=2000, method="percentile", random_state=np.random.default_rng(0)
    )
    counts = scores.image_counts[:, :5]
    found = influences(counts, iou, singles(80), mean=True)
    assert math.sqrt(found.variance[-1]) == pytest.approx(judge.standard_error, rel=0.08)
    low, high = judge.confidence_interval
    whole = score_intervals(
        replace(scores, image_counts=counts, classes=scores.classes[:5]), singles(80)
    ).mean_iou
    assert whole.interval == pytest.approx((low, high), abs=0.25 * (high - low))


@given(st.integers(0, 10**6), st.integers(3, 12))
@settings(deadline=None, max_examples=25)
def test_laws(seed, images):
    rng = np.random.default_rng(seed)
    counts = simulated.World(seed).draw(images)[0]
    scores = simulated.scored(counts)
    found = score_intervals(scores, singles(images))
    for one in (found.mean_iou, found.pixel_accuracy, found.frequency_weighted_iou, found.classes[0].dice):
        assert 0 <= one.interval[0] <= one.value <= one.interval[1] <= 1
    order = rng.permutation(images)
    turned = score_intervals(replace(scores, image_counts=counts[order]), singles(images))
    assert turned.mean_iou.interval == pytest.approx(found.mean_iou.interval)
    # Every image twice, in a group with its copy, tells as much as once.
    groups = [f"{k}" for k in range(images) for _ in range(2)]
    if images >= ENOUGH:
        twice = score_intervals(replace(scores, image_counts=counts.repeat(2, axis=0)), groups)
        assert twice.mean_iou.interval == pytest.approx(found.mean_iou.interval)


def test_a_score_without_a_failure_is_not_certain():
    found = score_intervals(scores_of([1.0] * 20), singles(20)).pixel_accuracy
    assert found.interval == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    assert scipy.stats.binomtest(20, 20).proportion_ci().low == pytest.approx(found.interval[0])


def test_a_class_in_one_image_is_marked():
    counts = np.tile([[50, 60, 60], [0, 0, 0]], (60, 1, 1)) + np.arange(60)[:, None, None] % 7 * [[1], [0]]
    counts[3, 1] = [5, 9, 8]
    scores = replace(scores_from_confusion(np.array([[9, 1], [1, 9]]), ["road", "boat"]), image_counts=counts)
    found = score_intervals(scores, singles(60))
    assert (found.classes[0].iou.reliable, found.classes[1].iou.reliable) == (True, False)
    assert found.classes[1].iou.effective_units <= 1
    assert any(note.startswith("boat: fewer than 50 independent images") for note in found.notes)


def test_every_interval_of_fewer_than_fifty_independent_images_is_marked():
    counts = simulated.World(1).draw(60)[0]
    for images in (49, 50):
        found = score_intervals(simulated.scored(counts[:images]), singles(images))
        for one in (found.mean_iou, found.pixel_accuracy, found.classes[0].iou):
            assert one.reliable == (images == 50)
    film = simulated.scored(
        simulated.World(3, film=0.8).draw(60)[0]
    )  # each frame says what the one before said
    assert not score_intervals(film, ["film"] * 60).pixel_accuracy.reliable


def test_units_are_images_groups_or_blocks():
    assert units_of(["a", "b", "c"]).origin == "images"
    grouped = units_of([f"p{k % 12}" for k in range(36)])
    assert grouped.count == 12
    film = units_of(["f"] * 57)
    sizes = np.bincount(film.of)
    assert film.count == ENOUGH
    assert (np.diff(film.of) >= 0).all()
    assert sizes.max() - sizes.min() <= 1
    two = units_of(["a"] * 62 + ["b"] * 171)
    assert two.count >= ENOUGH
    assert set(two.of[:62]).isdisjoint(two.of[62:])
    assert "too few" in two.note
    assert units_of(["a", "a", "b"]).count == 3


@given(st.floats(0, 0.95), st.integers(1, 3), st.integers(4, 20))
@settings(deadline=None, max_examples=30)
def test_the_stretch_is_what_the_covariance_says(correlation, chains, length):
    """Of a chain whose neighbours correlate: variance of the sum over the mean of what the blocks show."""
    names = [f"film{k}" for k in range(chains) for _ in range(12 * length)]
    units = units_of(names)
    covariance = np.kron(np.eye(chains), toeplitz(correlation ** np.arange(12 * length)))
    member = np.eye(units.count)[units.of]
    blocks = member.T @ covariance @ member
    count = units.count
    shown = count / (count - 1) * (np.trace(blocks) - blocks.sum() / count)
    stretch = _stretch(np.array([correlation]), units)[0]
    assert stretch == pytest.approx(
        max(1, covariance.sum() / shown), rel=0.06
    )  # blocks differ in length by one


def test_correlation_is_found_along_a_film_only():
    counts = simulated.World(3, film=0.8).draw(400)[0]
    along = influences(counts, accuracy, units_of(["f"] * 400))
    assert along.correlation[0] == pytest.approx(0.75, abs=0.15)
    assert influences(counts, accuracy, singles(400)).correlation[0] == 0
    shuffled = counts[np.random.default_rng(0).permutation(400)]
    assert influences(shuffled, accuracy, units_of(["f"] * 400)).correlation[0] < 0.15


def towns(*shapes):
    """Groups of the tiles of towns of so many rows and columns."""
    named = [
        (f"town{k}", (float(x), float(y)))
        for k, shape in enumerate(shapes)
        for y in range(shape[0])
        for x in range(shape[1])
    ]
    names, places = zip(*named, strict=True)
    return Groups(names, "tiles", places)


def test_few_scenes_are_cut_into_compact_blocks_of_their_tiles():
    found = towns((4, 4), (2, 4))
    units = units_of(found)
    assert (units.count, units.chain) == (ENOUGH, ())
    assert "2 groups" in units.note and "too few" in units.note
    for unit in range(units.count):
        members = np.flatnonzero(units.of == unit)
        assert len({found.names[k] for k in members}) == 1
        sides = np.ptp(np.array(found.places)[members], axis=0) + 1
        assert sides.max() <= 2, "no row of tiles across a town"
    assert units_of(towns(*[(3, 3)] * 10)).count == 10, "with ten scenes each is a unit"
    assert not units_of(towns(*[(3, 3)] * 10)).alike


@given(st.floats(0, 0.9), st.integers(1, 3))
@settings(deadline=None, max_examples=20)
def test_the_stretch_of_blocks_on_the_ground_is_what_the_covariance_says(correlation, scenes):
    groups = towns(*[(12, 10)] * scenes)
    units, places = units_of(groups), np.array(groups.places)
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    same = np.equal.outer(np.array(groups.names), np.array(groups.names))
    covariance = np.where(same, correlation**apart, 0.0)
    member = np.eye(units.count)[units.of]
    blocks = member.T @ covariance @ member
    shown = units.count / (units.count - 1) * (np.trace(blocks) - blocks.sum() / units.count)
    found = _stretch(np.array([correlation]), units)[0]
    assert found == pytest.approx(
        max(1, covariance.sum() / shown), rel=0.03
    )  # distances in eighths of a side
    inflation = units.near.inflation(np.array([correlation]))[0]
    assert inflation == pytest.approx(covariance.sum() / len(places), rel=0.03)


def test_likeness_is_found_between_tiles_that_lie_side_by_side():
    world = simulated.World(3, scene=0.6)
    counts = world.draw(400)[0]
    units = units_of(world.names(400))
    along = influences(counts, accuracy, units)
    assert along.correlation[0] == pytest.approx(0.55, abs=0.15)
    assert along.effective[0] < 100
    shuffled = influences(counts[np.random.default_rng(0).permutation(400)], accuracy, units)
    assert shuffled.correlation[0] < 0.15
    few = score_intervals(simulated.scored(counts[:25]), units_of(towns((5, 5))))
    assert not few.pixel_accuracy.reliable and any(note.startswith("every score") for note in few.notes)


def test_equal_models_do_not_differ():
    scores = simulated.scored(simulated.World(1).draw(40)[0])
    found = compare_runs([scores], [scores], singles(40))
    assert (found.mean_iou.difference, found.mean_iou.p, found.mean_iou.interval) == (0, 1, (0, 0))
    assert not found.mean_iou.clear
    assert verdict(found.mean_iou).startswith("no clear difference")


def test_paired_accuracies_are_judged_by_the_paired_t_test():
    first = [0.70, 0.80, 0.95, 0.90, 0.60, 0.85, 0.75, 0.90]
    second = [share + change for share, change in zip(first, [0.03, 0.01] * 4, strict=True)]
    found = compare_runs([scores_of(first)], [scores_of(second)], singles(8)).pixel_accuracy
    judge = scipy.stats.ttest_rel(second, first)  # two equal steps: no kurtosis, so 7 degrees of freedom
    assert found.p == pytest.approx(judge.pvalue)
    assert found.interval == pytest.approx(tuple(judge.confidence_interval()))
    back = compare_runs([scores_of(second)], [scores_of(first)], singles(8)).pixel_accuracy
    assert back.difference == pytest.approx(-found.difference)
    assert verdict(found) == verdict(back, ("B", "A"))


def test_scores_on_different_images_are_judged_by_welchs_t_test():
    """Of two classes in images of one size that are all of one: the mean IoU is half of the accuracy."""
    rng = np.random.default_rng(2)
    first, second = rng.normal(0.7, 0.02, 60).round(3), rng.normal(0.6, 0.04, 80).round(3)
    alone = [Groups(tuple(f"{k}" for k in range(count)), "given") for count in (60, 80)]
    found = compare_apart(scores_of(first), scores_of(second), (alone[0], alone[1]))
    judge = scipy.stats.ttest_ind(second / 2, first / 2, equal_var=False)
    assert found.difference == pytest.approx((second.mean() - first.mean()) / 2)
    assert found.interval == pytest.approx(
        tuple(judge.confidence_interval()), rel=0.01
    )  # freedom by kurtosis
    assert found.reliable
    few = Groups(tuple(f"film{k // 4}" for k in range(80)), "given")
    assert not compare_apart(scores_of(first), scores_of(second), (alone[0], few)).reliable


def test_runs_on_images_that_are_all_alike_are_judged_by_welchs_t_test():
    first, second = [0.70, 0.74, 0.73], [0.78, 0.80, 0.75, 0.79]
    runs = [[scores_of([share] * 5) for share in shares] for shares in (first, second)]
    found = compare_runs(runs[0], runs[1], singles(5)).pixel_accuracy
    judge = scipy.stats.ttest_ind(second, first, equal_var=False)
    assert found.p == pytest.approx(judge.pvalue)
    assert found.interval == pytest.approx(tuple(judge.confidence_interval()))
    summed = summarise_runs(runs[0], singles(5)).pixel_accuracy
    assert (summed.mean, summed.deviation) == pytest.approx((np.mean(first), np.std(first, ddof=1)))
    reach = scipy.stats.t.ppf(0.975, 2) * np.std(first, ddof=1) / math.sqrt(3)
    low, high = (scipy.special.logit(bound) for bound in summed.interval)
    assert (high - low) / 2 == pytest.approx(reach / (summed.mean * (1 - summed.mean)))


def test_what_cannot_be_compared_is_refused():
    scores = scores_of([0.5, 0.7])
    bare = scores_from_confusion(np.array([[3, 1], [0, 4]]), ["a", "b"])
    with pytest.raises(DataError, match="no counts per image"):
        score_intervals(bare, ["x", "y"])
    with pytest.raises(DataError, match="3 groups for 2 images"):
        score_intervals(scores, ["x", "y", "z"])
    other = replace(scores, classes=tuple(replace(one, name=one.name + "!") for one in scores.classes))
    with pytest.raises(DataError, match="different classes"):
        compare_runs([scores], [other], ["x", "y"])


SIMULATIONS = 300


def test_coverage_and_false_alarms_in_simulation():
    """A quick form of the benchmark; the tolerance is four standard errors of a share of 300."""
    error = math.sqrt(0.95 * 0.05 / SIMULATIONS)
    true = simulated.true_scores()
    found = simulated.coverage(simulated.World(11), 50, SIMULATIONS, true)
    for name in ("mean_iou", "pixel_accuracy", "mean_dice", "frequency_weighted_iou", "iou class_3"):
        assert abs(found[name]["coverage"] - 0.95) < 4 * error, name
    alarms = simulated.false_alarms(simulated.World(12), 50, SIMULATIONS)
    assert alarms["mean IoU"] < 0.05 + 4 * error
    assert alarms["pixel accuracy"] < 0.05 + 4 * error
