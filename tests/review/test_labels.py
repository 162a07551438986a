"""Label errors on maps where the truth is known, and laws that hold for any map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pixelwise.errors import OptionError, UnreadableError
from pixelwise.review.labels import Evidence, Region, SuspectOptions, ranked, suspects_in
from pixelwise.types import IGNORE

OPTIONS = SuspectOptions(band=2, min_area=20)


def town(height: int = 64, width: int = 80) -> NDArray[np.uint8]:
    """Three classes: ground, a wide strip of 1, a disc of 2."""
    truth = np.zeros((height, width), np.uint8)
    truth[:, 50:] = 1
    rows, columns = np.mgrid[:height, :width]
    truth[(rows - 32) ** 2 + (columns - 25) ** 2 < 144] = 2
    return truth


def sure(truth: NDArray[np.uint8], confidence: float = 0.9, classes: int = 3) -> NDArray[np.float32]:
    """A network that gives the true class `confidence` and the others equal shares."""
    shares = np.full((classes, *truth.shape), (1 - confidence) / (classes - 1), np.float32)
    for index in range(classes):
        shares[index][truth == index] = confidence
    return shares


def found(
    pairs: list[tuple[NDArray[np.uint8], NDArray[np.float32]]], options: SuspectOptions = OPTIONS
) -> list[Region]:
    evidence = Evidence.none(len(pairs[0][1]))
    for labels, shares in pairs:
        evidence = evidence.plus(Evidence.of(labels, shares))
    return ranked(
        [
            region
            for index, (labels, shares) in enumerate(pairs)
            for region in suspects_in(f"im{index}", labels, shares, evidence, options)
        ],
        [f"im{index}" for index in range(len(pairs))],
    )


def pixels(region: Region, size: tuple[int, int]) -> NDArray[np.bool_]:
    whole = np.zeros(size, np.bool_)
    top, left, bottom, right = region.box
    whole[top:bottom, left:right] = region.shape
    return whole


def test_a_planted_region_is_found_as_it_is() -> None:
    truth = town()
    labels = truth.copy()
    labels[40:50, 60:75] = 2  # of class 1
    clean = (truth, sure(truth))
    regions = found([clean, (labels, sure(truth)), clean])
    assert [(one.image, one.box, one.area) for one in regions] == [("im1", (40, 60, 50, 75), 150)]
    assert (regions[0].given, regions[0].suggested) == (2, 1)
    assert np.array_equal(pixels(regions[0], labels.shape), labels != truth)


def test_a_network_that_agrees_lists_nothing() -> None:
    truth = town()
    assert found([(truth, sure(truth, confidence)) for confidence in (1.0, 0.9, 0.5)]) == []


@pytest.mark.parametrize("shift", [(2, 0), (0, -2), (2, 2)])
def test_shifted_boundaries_are_no_errors(shift: tuple[int, int]) -> None:
    truth = town()
    labels = np.pad(truth, 2, mode="edge")[2 + shift[0] : 66 + shift[0], 2 + shift[1] : 82 + shift[1]]
    assert (labels != truth).sum() > 50
    assert found([(labels, sure(truth))] * 3) == []
    assert found([(labels, sure(truth))] * 3, SuspectOptions(band=0, min_area=5)) != []


def test_ignored_pixels_are_never_listed() -> None:
    truth = town()
    labels = truth.copy()
    labels[40:50, 60:75] = 2
    labels[44:46] = IGNORE  # cuts the wrong region in two
    regions = found([(truth, sure(truth)), (labels, sure(truth)), (np.full_like(truth, IGNORE), sure(truth))])
    assert {one.box for one in regions} == {(40, 60, 44, 75), (46, 60, 50, 75)}


def test_what_the_network_always_confuses_comes_last() -> None:
    """It takes every 2 for a 0, so a 2 that looks like a 0 says less than a 1 that does."""
    truth = town()
    shares = sure(np.where(truth == 2, 0, truth).astype(np.uint8))
    labels = truth.copy()
    labels[5:25, 5:15] = 1  # of class 0; half as large as the disc
    regions = found([(truth, shares), (labels, shares)] + [(truth, shares)] * 3)
    assert (regions[0].image, regions[0].box, regions[0].given) == ("im1", (5, 5, 25, 15), 1)
    assert all(one.score < regions[0].score / 4 for one in regions[1:])


def test_larger_regions_come_first_where_all_else_is_equal() -> None:
    truth = town()
    labels = truth.copy()
    labels[2:14, 54:64] = 2
    labels[30:60, 54:76] = 2
    regions = found([(truth, sure(truth))] * 4 + [(labels, sure(truth))])
    assert [one.area for one in regions] == [660, 120]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(0, 3), st.integers(1, 30))
def test_laws_of_any_map(seed: int, classes: int, band: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes + 1, (5, 6))
    labels = np.kron(coarse, np.ones((6, 6))).astype(np.uint8)
    labels[labels == classes] = IGNORE
    raw = np.kron(rng.normal(size=(classes, 6, 4)), np.ones((1, 5, 9)))
    shares = (np.exp(2 * raw) / np.exp(2 * raw).sum(axis=0)).astype(np.float32)
    regions = found([(labels, shares)], SuspectOptions(band, least))
    taken = np.zeros(labels.shape, int)
    for one in regions:
        where = pixels(one, labels.shape)
        taken += where
        assert (labels[where] == one.given).all()
        assert one.suggested not in (one.given, IGNORE)
        assert one.area == where.sum() >= least
        assert one.score > 0
        own = shares[one.given][where] / shares[one.given][labels == one.given].mean()  # of its threshold
        assert all(  # another class is as far above its own everywhere
            max(
                shares[k][where][n] / shares[k][labels == k].mean()
                for k in set(labels.flat) - {IGNORE, one.given}
            )
            >= max(1 - 1e-5, own[n] - 1e-5)
            for n in range(0, own.size, 7)
        )
    assert taken.max(initial=0) <= 1
    assert [one.score for one in regions] == sorted((one.score for one in regions), reverse=True)


def test_what_is_contradicted_in_the_images_around_too_comes_later() -> None:
    """Equal regions in five images, one of them alone and four in a row; those between others most."""
    one = Region("", (0, 0, 1, 4), (0, 4), 0, 1, 10.0)
    names = [f"im{index:02d}" for index in range(20)]
    regions = [replace(one, image=names[index]) for index in (2, 10, 11, 12, 13)]
    other = replace(one, image=names[9], suggested=2)  # of another kind: no neighbour of theirs
    scores = {region.image: region.score for region in ranked([*regions, other], names, reach=2)}
    assert scores[names[2]] == scores[names[9]] == 10.0
    assert scores[names[10]] == scores[names[13]] == pytest.approx(10 / (1 + 2 * 2 / 4))
    assert scores[names[11]] == scores[names[12]] == pytest.approx(10 / (1 + 2 * 3 / 4))


def test_evidence_is_what_a_loop_over_pixels_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    total, weights, answers = Evidence.none(4), np.zeros(4), np.zeros((4, 4))
    for _ in range(3):
        labels = rng.choice([0, 1, 2, IGNORE], (7, 5)).astype(np.uint8)
        shares = rng.dirichlet(np.ones(4), (7, 5)).transpose(2, 0, 1).astype(np.float32)
        total = total.plus(Evidence.of(labels, shares))
        for k in range(3):
            inside = [shares[:, r, c] for r in range(7) for c in range(5) if labels[r, c] == k]
            if inside:
                weights[k] += len(inside) ** 0.5
                answers[k] += len(inside) ** 0.5 * np.mean(inside, axis=0)
    assert np.allclose(total.weights, weights)
    assert np.allclose(total.expected[:3], answers[:3] / weights[:3, None], atol=1e-6)
    assert np.allclose(total.expected[:3].sum(axis=1), 1, atol=1e-6)
    assert total.thresholds[3] == np.inf  # no label of it: never suggested
    total.write(tmp_path / "evidence.npz")
    again = Evidence.read(tmp_path / "evidence.npz")
    assert np.array_equal(again.answers, total.answers)
    whole = (tmp_path / "evidence.npz").read_bytes()
    for torn in (b"", b"torn", whole[: len(whole) // 2]):
        (tmp_path / "evidence.npz").write_bytes(torn)
        with pytest.raises(UnreadableError, match="remove it"):
            Evidence.read(tmp_path / "evidence.npz")


@pytest.mark.parametrize("options", [{"band": -1}, {"band": 65}, {"min_area": 0}])
def test_options_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="give"):
        SuspectOptions(**options)
