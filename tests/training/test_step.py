"""A step in parts, judged by the gradients of the parts added by hand, and by the step of the whole."""

import copy
from dataclasses import replace

import pytest
import torch

import pixelwise as pw
from pixelwise.data.loader import Batch
from pixelwise.losses import LossOptions
from pixelwise.training.clock import CLOCKS
from pixelwise.training.options import TrainOptions
from pixelwise.training.plan import crop_size
from pixelwise.training.step import Stepper, time_steps
from pixelwise.training.tasks import Segment


@pytest.fixture
def network():
    torch.manual_seed(0)
    return pw.build(
        "unet", encoder="resnet18", classes=3, options=pw.NetworkOptions(encoder_width=0.125)
    ).train()


def batch_of(count):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 64, 64, generator=generator)
    return Batch(images, torch.randint(0, 3, (count, 64, 64), generator=generator).to(torch.uint8), ())


def stepped(network, batch, accumulate):
    """Weights and loss after one step of plain descent."""
    twin = copy.deepcopy(network)
    optimizer = torch.optim.SGD([{"params": list(twin.parameters()), "lr_scale": 1.0}], lr=1.0)
    settings = {"precision": "float32", "loss": LossOptions(overlap_weight=0.0), "weights": None}
    loss = Stepper(twin, Segment(), optimizer, accumulate=accumulate, **settings).run(batch, lr=0.1)
    return dict(twin.named_parameters()), loss


def test_a_step_in_parts_takes_the_mean_of_their_gradients(network):
    batch = batch_of(5)
    moved, loss = stepped(network, batch, accumulate=2)
    judge = copy.deepcopy(network)
    losses = []
    for part, truth, share in (
        (batch.images[:3], batch.labels[:3], 0.6),
        (batch.images[3:], batch.labels[3:], 0.4),
    ):
        one = torch.nn.functional.cross_entropy(judge(part), truth.long())
        (share * one).backward()
        losses.append(share * one.item())
    assert loss == pytest.approx(sum(losses), rel=1e-5)
    for name, weight in judge.named_parameters():
        expected = weight.detach() - 0.1 * weight.grad
        assert torch.allclose(moved[name], expected, atol=1e-5), name


def test_without_batch_statistics_parts_change_nothing(network):
    network.eval()  # batch normalisation by running statistics: no image sees another
    whole, loss = stepped(network, batch_of(4), accumulate=1)
    parts, same = stepped(network, batch_of(4), accumulate=4)
    assert same == pytest.approx(loss, rel=1e-5)
    for name, weight in whole.items():
        assert torch.allclose(parts[name], weight, atol=1e-5), name


def test_a_broken_part_moves_nothing(network):
    batch = batch_of(4)
    batch.images[3] = torch.nan
    moved, loss = stepped(network, batch, accumulate=2)
    assert loss != loss
    for name, weight in network.named_parameters():
        assert torch.equal(moved[name], weight), name


def test_a_part_of_one_value_per_channel_is_refused_before_the_run():
    options = TrainOptions(batch=4, accumulate=4, size=(32, 32))
    with pytest.raises(pw.errors.OptionError, match="batch 4 in 4 parts"):
        crop_size([(64, 64)], options, 32)
    assert crop_size([(64, 64)], replace(options, accumulate=2), 32) == (32, 32)
    with pytest.raises(pw.errors.OptionError, match="accumulate"):
        TrainOptions(batch=4, accumulate=5)


def test_the_quickest_step_is_the_measure_and_the_first_one_is_none(network, monkeypatch):
    taken = [1.0, 5.0, 3.0, 4.0]  # seconds
    ticks = iter([tick for seconds in taken for tick in (0.0, seconds)])
    monkeypatch.setitem(CLOCKS, "wall", lambda: next(ticks))
    options = TrainOptions(clock="wall")
    found = time_steps(network, Segment(), batch_of(2), options, precision="float32", repeats=3)
    assert found == 3.0
