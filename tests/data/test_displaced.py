"""Masks that were moved are found by where they fit their images, and sets that do not follow edges are left alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.alignment import Outlines
from pixelwise.data.check import CheckReport, check_dataset
from pixelwise.data.displaced import Peak, find_displaced, find_peak

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("shift", [(0, 0), (7, -11), (-18, 3)])
def test_peak_lies_where_plain_counting_finds_it(shift: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    borders = rng.random((40, 60)) < 0.1
    edges = np.roll(borders, shift, (0, 1)) * 0.5 + rng.random((40, 60)) * 0.5
    peak = find_peak(Outlines(edges.astype(np.float32), borders, step=3))
    means = {
        (row, column): edges[np.roll(borders, (row, column), (0, 1))].mean()
        for row in range(-19, 20)
        for column in range(-29, 30)
    }
    best = max(means, key=lambda where: means[where])
    assert peak is not None and (peak.rows, peak.columns) == (best[0] * 3, best[1] * 3) == (
        shift[0] * 3,
        shift[1] * 3,
    )
    assert peak.right == (shift == (0, 0)) and peak.elsewhere != peak.right


def test_labels_without_borders_have_no_peak() -> None:
    ranks = np.random.default_rng(0).random((40, 60)).astype(np.float32)
    assert find_peak(Outlines(ranks, np.zeros((40, 60), bool), 1)) is None
    assert find_peak(Outlines(ranks * 0, np.random.default_rng(1).random((40, 60)) < 0.1, 1)) is None


def test_sets_that_do_not_follow_edges_are_left_alone() -> None:
    good, moved, unsure = Peak(0, 0, 9.0, 9.0), Peak(8, 0, 9.0, 1.0), Peak(8, 0, 4.0, 1.0)
    assert find_displaced([(Path("a"), good)] * 19 + [(Path("b"), moved)]) == [(Path("b"), moved)]
    assert not find_displaced([(Path("a"), good)] * 18 + [(Path("b"), moved)])  # too few to know
    assert not find_displaced([(Path("a"), good)] * 20 + [(Path("b"), moved)] * 4)
    assert not find_displaced([(Path("a"), good)] * 20 + [(Path("b"), unsure)] * 2)


def check(root: Path, name: str) -> CheckReport:
    return check_dataset(root, classes=RECIPES / name / "classes.yaml")


def moved(report: CheckReport) -> dict[str, tuple[int, ...]]:
    return {
        problem.file.stem: tuple(int(part) for part in str(problem.value).split())
        for problem in (finding.problem for finding in report.findings)
        if problem.code == "mask-moved" and problem.file is not None
    }


def test_planted_shifts_are_found_and_measured(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    root = shared_data("camvid")
    planted = {3: (0, 40), 11: (-24, 12), 20: (16, -60), 33: (-40, -30)}
    expected = {}
    for index, image in enumerate(sorted((root / "images/val").iterdir())[::2][:50]):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
        shutil.copyfile(image, tmp_path / "images" / image.name)
        labels = np.array(Image.open(root / "masks/val" / f"{image.stem}.png"))
        if index in planted:
            # What moves in at one side was never labelled.
            down, right = planted[index]
            labels = np.roll(labels, (down, right), (0, 1))
            labels[: max(down, 0)], labels[labels.shape[0] + min(down, 0) :] = 11, 11
            labels[:, : max(right, 0)], labels[:, labels.shape[1] + min(right, 0) :] = 11, 11
            expected[image.stem] = (-down, -right)
        Image.fromarray(labels).save(tmp_path / "masks" / f"{image.stem}.png")
    found = moved(check(tmp_path, "camvid"))
    assert found.keys() == expected.keys()
    for name, shift in expected.items():
        assert np.abs(np.subtract(found[name], shift)).max() <= 4, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"), [("camvid", {"Seq05VD_f02610": (0, 88)}), ("aerial", {}), ("membrane", {})]
)
def test_published_sets(
    shared_data: Callable[[str], Path], name: str, expected: dict[str, tuple[int, int]]
) -> None:
    assert moved(check(shared_data(name), name)) == expected
