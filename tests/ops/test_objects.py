"""Objects of class maps: judged by a flood fill, by filling the outlines back, and by closed forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.ndimage  # noqa: F401  loaded when first used, which no example should be timed with
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from pixelwise.errors import DataError, OptionError
from pixelwise.ops.boxes import box_iou, to_corners, to_fractions
from pixelwise.ops.objects import Object, Polygon, Ring, main_object, objects

SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))

maps = arrays.arrays(
    np.uint8,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0, 1, 2, 255]),
)


def flooded(labels: NDArray[np.uint8], connectivity: int) -> list[tuple[int, frozenset[tuple[int, int]]]]:
    """Connected pixels of one class by spreading from pixel to pixel."""
    steps = SIDES if connectivity == 4 else SIDES + CORNERS
    left = {(r, c) for r, c in np.ndindex(*labels.shape) if labels[r, c] != 255}
    found = []
    while left:
        edge = {left.pop()}
        index, seen = int(labels[next(iter(edge))]), set(edge)
        while edge:
            near = {(r + down, c + right) for r, c in edge for down, right in steps}
            edge = {place for place in near & left if labels[place] == index}
            seen |= edge
            left -= edge
        found.append((index, frozenset(seen)))
    return found


def filled(outline: tuple[Polygon, ...], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels inside, by the even-odd rule: each vertical side flips all pixels to its right."""
    inside = np.zeros(shape, bool)
    for polygon in outline:
        for ring in polygon:
            for (row, column), (next_row, next_column) in pairwise(ring):
                assert (row == next_row) != (column == next_column)
                if column == next_column:
                    inside[min(row, next_row) : max(row, next_row), column:] ^= True
    return inside


def signed_area(ring: Ring) -> float:
    return sum(x * next_y - next_x * y for (y, x), (next_y, next_x) in pairwise(ring)) / 2


def pixels_of(one: Object, shape: tuple[int, ...]) -> frozenset[tuple[int, int]]:
    return frozenset((int(r), int(c)) for r, c in np.argwhere(filled(one.outline, shape)))


@given(maps, st.sampled_from([4, 8]))
def test_objects_are_what_a_flood_fill_finds(labels: NDArray[np.uint8], connectivity: int) -> None:
    found = objects(labels, connectivity=connectivity)
    expected = flooded(labels, connectivity)
    assert {(one.class_index, pixels_of(one, labels.shape)) for one in found} == set(expected)
    assert len(found) == len(expected)
    assert sum(one.area for one in found) == (labels != 255).sum()
    assert [one.class_index for one in found] == sorted(one.class_index for one in found)


@given(maps, st.sampled_from([4, 8]))
def test_numbers_are_those_of_the_filled_outline(labels: NDArray[np.uint8], connectivity: int) -> None:
    for one in objects(labels, connectivity=connectivity):
        rows, columns = np.nonzero(filled(one.outline, labels.shape))
        assert one.area == len(rows)
        assert one.box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        assert one.centroid == pytest.approx((rows.mean() + 0.5, columns.mean() + 0.5))


@given(maps, st.sampled_from([4, 8]))
def test_rings_are_closed_simple_turned_rightly_and_without_needless_corners(
    labels: NDArray[np.uint8], connectivity: int
) -> None:
    for one in objects(labels, connectivity=connectivity):
        assert sum(signed_area(ring) for polygon in one.outline for ring in polygon) == one.area
        for polygon in one.outline:
            assert signed_area(polygon[0]) > 0
            assert all(signed_area(hole) < 0 for hole in polygon[1:])
            for ring in polygon:
                assert ring[0] == ring[-1]
                assert len(set(ring)) == len(ring) - 1  # no corner twice, as GeoJSON wants it
                around = [*ring, ring[1]]
                for before, corner, after in zip(around, around[1:], around[2:], strict=False):
                    assert (before[0] == corner[0]) != (corner[0] == after[0])


def test_pixels_that_share_a_corner() -> None:
    labels = np.array([[1, 0], [0, 1]], np.uint8)
    one, two = (((0, 0), (0, 1), (1, 1), (1, 0), (0, 0)),), (((1, 1), (1, 2), (2, 2), (2, 1), (1, 1)),)
    joined = objects(labels, skip=[0])
    assert [each.outline for each in joined] == [(one, two)]
    assert joined[0].centroid == (1, 1) and joined[0].box == (0, 0, 2, 2)
    assert [each.outline for each in objects(labels, connectivity=4, skip=[0])] == [(one,), (two,)]


def test_a_hole_that_touches_the_outside_at_a_corner() -> None:
    labels = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)
    (found,) = objects(labels, connectivity=4, skip=[0])
    hole = ((2, 1), (2, 2), (1, 2), (1, 1), (2, 1))
    assert found.outline == ((((0, 1), (0, 3), (3, 3), (3, 0), (1, 0), (1, 1), (0, 1)), hole),)
    assert found.geometry["type"] == "MultiPolygon"
    assert found.geometry["coordinates"][0][1] == [[1, 2], [2, 2], [2, 1], [1, 1], [1, 2]]


def test_touching_instances_are_one_and_what_is_left_out() -> None:
    labels = np.zeros((6, 9), np.uint8)
    labels[1:3, 1:3] = labels[1:3, 3:5] = 1  # two houses with a common wall
    labels[4, 1] = labels[4, 8] = 2
    labels[5, 8] = 255
    assert [(one.class_index, one.area) for one in objects(labels, skip=[0])] == [(1, 8), (2, 1), (2, 1)]
    assert [one.area for one in objects(labels, skip=[0], min_area=2)] == [8]
    assert [one.class_index for one in objects(labels, ignore=1, skip=[0])] == [2, 2, 255]
    assert objects(np.full((3, 3), 255, np.uint8)) == []


def test_the_largest_object_that_is_not_background() -> None:
    labels = np.zeros((10, 20), np.uint8)
    labels[0:5, 0:6] = 1
    labels[6:10, 10:20] = 2
    labels[8, :10] = 1  # more pixels of class 1 than of the object, but in two pieces
    labels[9, 15] = 255
    assert main_object(labels, 0) == (2, (0.8, 0.75, 0.4, 0.5))
    assert main_object(labels, None) == (0, (0.4, 0.5, 0.8, 1))  # the lowest row is cut off
    assert main_object(labels.astype(np.int64), 0) == (2, (0.8, 0.75, 0.4, 0.5))
    assert main_object(np.zeros((4, 4), np.uint8), 0) is None
    assert main_object(np.full((4, 4), 255, np.uint8), None) is None
    tie = np.array([[2, 0, 1], [0, 0, 0], [1, 0, 2]], np.uint8)
    assert main_object(tie, 0) == (1, to_fractions((0, 2, 1, 3), (3, 3)))


@given(maps, st.sampled_from([0, 1, None]), st.sampled_from([4, 8]))
def test_the_main_object_is_the_first_of_the_largest(
    labels: NDArray[np.uint8], background: int | None, connectivity: int
) -> None:
    found = objects(labels, connectivity=connectivity, skip=[] if background is None else [background])
    main = main_object(labels, background, connectivity=connectivity)
    if not found:
        assert main is None
    else:
        largest = max(one.area for one in found)
        first = next(one for one in found if one.area == largest)
        assert main == (first.class_index, to_fractions(first.box, labels.shape))


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"shape \(2, 2, 1\) and type uint8"):
        objects(np.zeros((2, 2, 1), np.uint8))
    with pytest.raises(DataError, match="type float64"):
        main_object(np.zeros((2, 2)), 0)
    with pytest.raises(OptionError, match="connectivity is 6"):
        objects(np.zeros((2, 2), np.uint8), connectivity=6)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="min_area is 0"):
        objects(np.zeros((2, 2), np.uint8), min_area=0)


sides = st.integers(0, 9)
corners = st.tuples(sides, sides, st.integers(1, 9), st.integers(1, 9)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


@given(corners, corners)
def test_the_overlap_of_boxes_is_that_of_their_pixels(
    first: tuple[int, int, int, int], second: tuple[int, int, int, int]
) -> None:
    masks = np.zeros((2, 20, 20), bool)
    for mask, (top, left, bottom, right) in zip(masks, (first, second), strict=True):
        mask[top:bottom, left:right] = True
    assert box_iou(first, second) == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())
    assert box_iou(first, second) == box_iou(second, first)


@given(corners)
def test_fractions_and_corners_undo_each_other(box: tuple[int, int, int, int]) -> None:
    assert to_corners(to_fractions(box, (18, 18)), (18, 18)) == pytest.approx(box)


def test_boxes_end_at_the_border_and_empty_ones_do_not_overlap() -> None:
    assert to_corners((0.0, 0.5, 0.5, 2.0), (8, 10)) == (0, 0, 2, 10)
    assert box_iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0
