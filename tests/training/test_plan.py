"""Plans are plain integers with laws."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.errors import OptionError
from pixelwise.training.optim import WeightAverage, learning_rate, make_optimizer
from pixelwise.training.options import OptimOptions, TrainOptions
from pixelwise.training.plan import Plan, crop_size, phases_by_steps, phases_by_time, revise

SIZE = (64, 96)


def plan(phases):
    return Plan("float32", phases, 1, 0.0)


@given(total=st.integers(1, 5000), coarse=st.floats(0, 0.95))
def test_progress_rises_evenly_from_0_to_1(total, coarse):
    p = plan(phases_by_steps(total, SIZE, coarse))
    assert p.steps == total
    assert p.progress(0) == 0
    assert p.progress(total) == 1
    for step in {0, total // 3, total - 1}:
        assert p.progress(step) == pytest.approx(step / total)
    assert not p.phases[-1].coarse


@given(
    seconds=st.floats(1, 10000),
    coarse=st.sampled_from([0.0, 0.3, 0.6]),
    quick=st.floats(0.01, 1),
    slow=st.floats(0.01, 3),
)
def test_steps_fit_the_time(seconds, coarse, quick, slow):
    p = plan(phases_by_time(seconds, SIZE, coarse, lambda c: quick if c else slow))
    needed = sum(phase.steps * (quick if phase.coarse else slow) for phase in p.phases)
    assert needed <= seconds + quick + 2 * slow
    assert needed >= seconds - quick - slow


@given(
    step=st.integers(0, 999),
    seconds=st.floats(0, 10000),
    coarse=st.sampled_from([0.0, 0.3, 0.6]),
)
def test_a_revised_plan_keeps_what_is_done(step, seconds, coarse):
    p = plan(phases_by_steps(1000, SIZE, coarse))
    new = revise(p, step, seconds, lambda c: 0.1 if c else 0.5)
    assert new.progress(step) == pytest.approx(p.progress(step))
    assert new.steps > step
    for earlier in range(0, step, 97):
        assert new.progress(earlier) == pytest.approx(p.progress(earlier))
        assert new.phase(earlier).coarse == p.phase(earlier).coarse
    values = [new.progress(s) for s in range(new.steps + 1)]
    assert values == sorted(values)
    assert values[-1] == 1
    assert [a.end for a in new.phases[:-1]] == [b.first for b in new.phases[1:]]


def test_crops():
    sizes = [(100, 700), (120, 640), (90, 900)]
    assert crop_size(sizes, TrainOptions(), 32) == (100, 512)
    assert crop_size(sizes, TrainOptions(size=(33, 44)), 32) == (33, 44)
    with pytest.raises(OptionError, match="batch normalisation"):
        crop_size(sizes, TrainOptions(size=(32, 32), batch=1), 32)
    with pytest.raises(OptionError, match="16 x 16"):
        crop_size(sizes, TrainOptions(size=(33, 33), batch=1, coarse=0.5), 32)


def test_the_schedule_is_torch_onecycle():
    options = OptimOptions(lr=0.1, warmup=0.25)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    judge = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        0.1,
        total_steps=101,
        pct_start=0.25,
        anneal_strategy="linear",
        div_factor=25,
        cycle_momentum=False,
    )
    for step in range(
        25
    ):  # the linear rise, which torch ends at step 0.25 * 101 - 1; the fall is checked below
        assert learning_rate(step * 0.25 / 24.25, options) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-6
        )
        optimizer.step()
        judge.step()
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD([parameter], lr=0.1), T_max=100)
    for step in range(100):
        got = learning_rate(step / 100, OptimOptions(lr=0.1, schedule="cosine"))
        assert got == pytest.approx(cosine.get_last_lr()[0], rel=1e-6)
        cosine.optimizer.step()
        cosine.step()


def test_the_average_of_weights():
    import pixelwise as pw

    net = pw.build("unet", classes=2, options=pw.NetworkOptions(decoder_channels=(8,)))
    average = WeightAverage(net)
    expected = net.head.bias.detach().clone().double()
    for step in range(60):
        with torch.no_grad():
            net.head.bias += torch.randn_like(net.head.bias)
        average.update(net, step, window=20)
        rate = max(1 / 21, 9 / (10 + step))
        expected = expected * (1 - rate) + net.head.bias.detach().double() * rate
    assert torch.allclose(average.network.head.bias.double(), expected, atol=1e-5)
    assert not average.network.head.bias.requires_grad


def test_only_weights_decay():
    import pixelwise as pw

    net = pw.build("unet", classes=2)
    groups = make_optimizer(net, OptimOptions(weight_decay=0.5)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert all(p.ndim == 4 for p in groups[0]["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
