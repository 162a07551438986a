"""Laws of tile plans, on plans of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pixelwise.errors import OptionError
from pixelwise.ops.tiles import Box, TilePlan, plan_tiles

lengths = st.integers(1, 400)
plans = st.builds(
    lambda height, width, stride, before, after, core, block: plan_tiles(
        (height, width), stride=stride, halo=(before, after), core=core, block=block
    ),
    lengths,
    lengths,
    st.sampled_from([1, 2, 3, 8, 32]),
    st.integers(0, 150),
    st.integers(0, 150),
    st.integers(16, 96),
    st.sampled_from([1, 16, 32]),
)
LARGE_HALO = plan_tiles((399, 1), stride=8, halo=(150, 149), core=16, block=16)


@settings(deadline=None)
@given(plans)
@example(LARGE_HALO)
def test_cores_partition_the_raster(plan: TilePlan) -> None:
    written = np.zeros(plan.size, int)
    for tile in plan:
        written[tile.core.within(Box(0, 0, *plan.size))] += 1
        assert tile.core.pixels > 0
    assert (written == 1).all()


@settings(deadline=None)
@given(plans)
@example(LARGE_HALO)
def test_windows_hold_core_and_halo_or_end_with_the_raster(plan: TilePlan) -> None:
    before, after = plan.halo
    for stretch, length in [(s, plan.size[0]) for s in plan.rows] + [(s, plan.size[1]) for s in plan.columns]:
        assert stretch.first % plan.stride == 0
        assert 0 <= stretch.first <= stretch.start < stretch.stop <= stretch.last <= length
        assert stretch.first == 0 or stretch.start - stretch.first >= before
        assert stretch.last == length or stretch.last - stretch.stop >= after
        assert stretch.last == length or stretch.last % plan.stride == 0


@settings(deadline=None)
@given(plans, st.sampled_from([16, 32]))
def test_cores_begin_at_blocks(plan: TilePlan, block: int) -> None:
    plan = plan_tiles(plan.size, stride=plan.stride, halo=plan.halo, core=64, block=block)
    for tile in plan:
        assert tile.core.top % block == tile.core.left % block == 0
        assert tile.core.top % plan.stride == tile.core.left % plan.stride == 0


@settings(deadline=None)
@given(plans)
@example(LARGE_HALO)
def test_shapes_are_few_and_none_is_larger_than_the_interior(plan: TilePlan) -> None:
    inner = {(row.last - row.first, row.stop - row.start) for row in plan.rows[1:-1]}
    assert len(inner) <= 1
    for window, _ in inner:
        assert plan.largest[0] == window
    assert len(plan.shapes) <= 9
    assert plan.shapes == {(tile.window.height, tile.window.width) for tile in plan}


@settings(deadline=None)
@given(plans)
def test_plans_depend_on_nothing_else(plan: TilePlan) -> None:
    again = plan_tiles(plan.size, stride=plan.stride, halo=plan.halo, core=48)
    assert again == plan_tiles(plan.size, stride=plan.stride, halo=plan.halo, core=48)
    assert [*plan] == [*plan]
    assert len([*plan]) == len(plan)


@pytest.mark.parametrize(
    "wrong", [{"core": 0}, {"stride": 0}, {"halo": (-1, 0)}, {"block": 0}, {"size": (0, 3)}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    good = {"size": (5, 5), "stride": 1, "halo": (0, 0), "core": 4} | wrong
    size = good.pop("size")
    with pytest.raises(OptionError):
        plan_tiles(size, **good)
