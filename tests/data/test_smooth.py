"""Masks whose values were mixed at borders; real thin objects are no such thing."""

from __future__ import annotations

from pathlib import Path

import faulty_masks as m
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pixelwise.data.read import read_mask
from pixelwise.data.smooth import Smooth, find_smooth, smooth_error

Mask = NDArray[np.uint8]


def spoilt(array: Mask) -> Mask:
    return np.asarray(m.halved_and_back(Image.fromarray(array)))


def poles(array: Mask, value: int, every: int) -> Mask:
    """Thin objects of one class over everything."""
    result = array.copy()
    for column in range(5, array.shape[1], every):
        result[:, column : column + 2] = value
    return result


@pytest.mark.parametrize("name", list("abcdefgh"))
def test_mixing_is_found_and_its_absence_too(name: str) -> None:
    array = m.patches(name, 6)
    assert find_smooth(array) is None
    found = find_smooth(spoilt(array))
    assert found is not None and found.share > 0.9
    column, row = found.first
    mixed = spoilt(array)[row, column - 1 : column + 4].astype(int)
    assert mixed[0] != mixed[1] and array[row, column - 1 : column + 4].tolist() != mixed.tolist()
    assert find_smooth(np.asarray(m.through_jpeg(Image.fromarray(array))).clip(0, 5)) is not None
    assert find_smooth(spoilt(array).astype(np.uint16)) == found


@pytest.mark.parametrize("value", range(1, 5))
def test_thin_objects_are_no_mixing(value: int) -> None:
    """Poles as CamVid has them, at every place of the order of classes."""
    assert find_smooth(poles(m.patches("a", 6, 320), value, 40)) is None


def test_a_strip_between_two_classes_is_no_mixing() -> None:
    """A path of two pixels between all houses and the road, but not between other classes."""
    array = m.patches("c", 5, 320)
    array[array == 1] = 0
    house, road = array == 0, array == 2
    array[house & (np.roll(road, 2, 1) | np.roll(road, -2, 1))] = 1
    assert find_smooth(array) is None


@pytest.mark.parametrize("classes", [4, 5, 8, 20])
@pytest.mark.parametrize("width", [2, 4, 6, 8, 12, 20])
def test_steps_of_a_quantity_are_no_mixing(classes: int, width: int) -> None:
    """Between heights 1 and 4 there are always 2 and 3."""
    field = ndimage.gaussian_filter(np.random.default_rng(width).normal(size=(256, 256)), width)
    steps = np.digitize(field, np.quantile(field, np.arange(1, classes) / classes))
    assert find_smooth(steps) is None


def test_a_class_of_outlines_is_no_mixing() -> None:
    """Cells of class 2 with an outline of class 1 on ground 0, as nuclei are labelled."""
    array = m.patches("d", 2, 320) * np.uint8(2)
    inner = array == 2
    edge = inner & ~(
        np.roll(inner, 1, 1) & np.roll(inner, -1, 1) & np.roll(inner, 1, 0) & np.roll(inner, -1, 0)
    )
    array[edge] = 1
    assert find_smooth(array) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_small_masks(shape: tuple[int, int]) -> None:
    find_smooth(np.arange(shape[0] * shape[1]).reshape(shape) % 5)
    assert find_smooth(np.zeros(shape, np.int32)) is None


def test_one_finding_speaks_of_all() -> None:
    masks = [(Path("a.png"), Smooth(0.5, (3, 4))), (Path("b.png"), Smooth(0.9, (5, 6)))]
    error = smooth_error(masks)
    assert (
        error.file == Path("b.png") and error.value == 0.9 and error.position == (5, 6) and error.count == 2
    )
    assert (
        "1 other" in error.found
        and "row 6, column 5" in error.found
        and "other" not in smooth_error(masks[:1]).found
    )


@pytest.mark.parametrize("name", ["camvid", "aerial"])
def test_published_masks(shared_data: object, name: str) -> None:
    masks = sorted((shared_data(name) / "masks").rglob("*.png"))[::30]  # type: ignore[operator]
    assert not [mask.name for mask in masks if find_smooth(read_mask(mask).values) is not None]
