"""Parts of masks as examples: what is planted is found by its form alone, and laws of the list."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from pixelwise.review.labels import Evidence, Region, SuspectOptions, suspects_in
from pixelwise.review.parts import LEAST, Part, joined, part_of, parts_in, suspect_parts, weighed
from pixelwise.review.patch import to_runs
from pixelwise.types import IGNORE

SIZE = (48, 96)


def scene(seed: int) -> NDArray[np.uint8]:
    """Ground with upright bars of class 1 and flat ones of class 2, of one area."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SIZE, np.uint8)
    for column in range(6):
        kind = int(rng.integers(1, 3))
        height, width = (24, 5) if kind == 1 else (10, 12)
        top, left = int(rng.integers(2, 20)), column * 16 + 2
        labels[top : top + height, left : left + width] = kind
    return labels


def shares_of(truth: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A network that tells ground from the rest and no more."""
    shares = np.full((3, *truth.shape), 0.05, np.float32)
    shares[0][truth == 0] = 0.9
    shares[1:, truth != 0] = 0.475
    return shares


@pytest.fixture(scope="module")
def dataset() -> tuple[list[str], list[Part], set[tuple[str, tuple[int, int]]], list[Region]]:
    """Forty images; in every fifth the first bar has the label of the other kind."""
    names, parts, planted, regions = [], [], set(), []
    evidence, pairs = Evidence.none(3), []
    for index in range(40):
        truth, name = scene(index), f"im{index:02d}"
        labels = truth.copy()
        if index % 5 == 0:
            wrong = ndimage.label(truth)[0] == 1
            labels[wrong] = 3 - labels[wrong]
            rows, columns = np.nonzero(wrong)
            planted.add((name, (int(rows.min()), int(columns.min()))))
        names.append(name)
        image = np.zeros((*SIZE, 3), np.uint8)
        parts += parts_in(name, image, labels, shares_of(truth), min_area=20)
        evidence = evidence.plus(Evidence.of(labels, shares_of(truth)))
        pairs.append((name, labels, shares_of(truth)))
    for pair in pairs:
        regions += suspects_in(*pair, evidence, SuspectOptions())
    return names, parts, planted, regions


def test_what_pixels_do_not_tell_the_form_does(dataset) -> None:
    names, parts, planted, regions = dataset
    assert not {(region.image, region.box[:2]) for region in regions} & planted
    found = suspect_parts(parts, names, 3)
    first = sorted(found, key=lambda region: -region.score)[: len(planted)]
    assert {(region.image, region.box[:2]) for region in first} == planted
    for region in first:
        tall = region.box[2] - region.box[0] == 24
        assert (region.given, region.suggested) == ((2, 1) if tall else (1, 2))


def test_a_region_that_looks_as_it_is_labelled_loses(dataset) -> None:
    """Two upright bars with one score of the networks, one of them labelled as a flat one."""
    names, parts, _, _ = dataset
    truth = np.zeros(SIZE, np.uint8)
    truth[10:34, 20:25] = 1
    image, box = np.zeros((*SIZE, 3), np.uint8), (10, 20, 34, 25)
    runs = tuple(to_runs(np.ones((24, 5), np.bool_)))
    asked = [
        part_of(Region("im01", box, runs, given, 3 - given, 10.0), image, truth, shares_of(truth))
        for given in (1, 2)
    ]
    right, wrong = weighed(asked, parts, names, 3)
    assert right.score < 5 < wrong.score
    assert weighed(asked, parts[:5], names, 3) == [one.region for one in asked]
    assert weighed([], parts, names, 3) == []


def test_the_list_is_the_same_again_and_draws_from_nobody(dataset) -> None:
    names, parts, _, _ = dataset
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    once = suspect_parts(parts, names, 3)
    assert torch.equal(torch.rand(3), expected)
    assert suspect_parts(parts, names, 3) == once


def test_few_parts_or_one_class_tell_nothing(dataset) -> None:
    names, parts, _, _ = dataset
    assert suspect_parts(parts[: LEAST - 1], names, 3) == []
    assert suspect_parts([part for part in parts if part.region.given == 0] * 10, names, 3) == []
    assert suspect_parts([], names, 3) == []


@given(seed=st.integers(0, 200), least=st.integers(1, 30))
@settings(deadline=None, max_examples=25)
def test_parts_are_the_connected_ones(seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 1, 2, IGNORE], np.uint8), (12, 17), p=[0.5, 0.2, 0.2, 0.1])
    image = rng.integers(0, 256, (12, 17, 2), np.uint8)
    shares = rng.dirichlet(np.ones(3), (12, 17)).transpose(2, 0, 1).astype(np.float32)
    parts = list(parts_in("a", image, labels, shares, min_area=least))
    expected = [
        int(area)
        for index in range(3)
        for area in np.bincount(ndimage.label(labels == index, np.ones((3, 3)))[0].ravel())[1:]
    ]
    assert sorted(part.region.area for part in parts) == sorted(area for area in expected if area >= least)
    for part in parts:
        top, left, bottom, right = part.region.box
        assert (labels[top:bottom, left:right][part.region.shape] == part.region.given).all()
        assert np.isfinite(part.numbers).all()
        assert np.square(part.touched).sum() == pytest.approx(1) or part.region.area == labels.size
    assert len({len(part.numbers) for part in parts}) <= 1


def region(box: tuple[int, int, int, int], score: float, *, image: str = "a", given: int = 1) -> Region:
    shape = np.ones((box[2] - box[0], box[3] - box[1]), np.bool_)
    return Region(image, box, tuple(to_runs(shape)), given, 0, score)


def test_a_part_stands_for_the_regions_that_make_it_up() -> None:
    part = region((0, 0, 10, 10), 2.0)
    most, little = region((0, 0, 8, 10), 3.0), region((0, 0, 2, 10), 9.0)
    others = [
        region((0, 0, 8, 10), 1.0, given=2),
        region((0, 0, 8, 10), 1.0, image="b"),
        region((5, 5, 15, 15), 1.0),
    ]
    found = joined([most, little, *others], [part])
    assert [one.score for one in found] == [9.0, 1.0, 1.0, 1.0, 3.0]
    assert found[-1].box == part.box
    assert joined([most], []) == [most]
