"""Recording a step: what can be judged without a card, and with one the recorded step against the plain one."""

import copy
import functools

import pytest
import torch

import pixelwise as pw
from pixelwise.data.loader import Batch
from pixelwise.losses import LossOptions
from pixelwise.models.tasks import TASKS as NETWORKS
from pixelwise.models.tasks import build_task
from pixelwise.training.optim import make_optimizer
from pixelwise.training.options import OptimOptions
from pixelwise.training.recorded import Recordings
from pixelwise.training.step import Stepper, _loss
from pixelwise.training.tasks import TASKS, Segment
from pixelwise.types import ClassSpec, Normalization

MODELS = (
    "unet",
    "deeplabv3plus",
    "segnet",
    "fcn8s",
    "hourglass",
    "asymmetric_unet",
    "fcn32s",
    "deeplabv3",
    "fullres",
)


def network_of(model, device="cpu", **options):
    torch.manual_seed(0)
    net = pw.build(model, classes=4, options=pw.NetworkOptions(encoder_width=0.25, **options))
    return net.train().to(device, memory_format=torch.channels_last)


def batch_of(device, seed=1, size=64):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, size, size, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 4, (2, size, size), generator=generator).to(torch.uint8)
    labels[:, :5] = 255
    return Batch(images.to(device), labels.to(device), ("a", "b"))


@pytest.mark.parametrize("model", [*MODELS, "classify", "reconstruct"])
def test_what_can_be_recorded_asks_for_no_value(model):
    """The meta device has none to give."""
    task = TASKS[model if model in TASKS else "segment"]()
    assert task.recordable
    if model in TASKS:
        classes = [ClassSpec(name, "#000000") for name in "abcd"]
        normalization = Normalization((0.0,) * 3, (1.0,) * 3)
        given = {
            "classes": classes,
            "bands": 3,
            "normalization": normalization,
            "options": NETWORKS[model].options(),
        }
        network = build_task(model, name=None, encoder="resnet18", **given)
    else:
        network = pw.build(model, classes=4)
    network = network.to("meta").train()
    images = torch.empty(2, 3, 64, 64, device="meta")
    labels = torch.empty(2, 64, 64, dtype=torch.uint8, device="meta")
    weights = torch.empty(4, device="meta") if task.name == "segment" else None
    loss = task.loss(task.forward(network, images), images, labels, LossOptions(), weights)
    loss.backward()
    assert all(one.grad is not None for one in network.parameters() if one.requires_grad)


def test_boxes_cannot_be_recorded():
    """They are looked up in the labels."""
    assert not TASKS["localize"]().recordable


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card can record")
def test_where_nothing_can_be_recorded_the_step_is_the_plain_one():
    network, batch = network_of("unet"), batch_of("cpu")
    judge = copy.deepcopy(network)
    compute = functools.partial(_loss, judge, Segment(), "float32", LossOptions(), None)
    expected = compute(batch.images, batch.labels)
    expected.backward()
    recordings = Recordings(network, functools.partial(_loss, network, *compute.args[1:]))
    with pytest.warns(RuntimeWarning, match="cannot be recorded") as warned:
        found = recordings.run(batch.images, batch.labels)
    assert len(warned) == 1
    assert torch.equal(found, expected.detach())
    for one, right in zip(network.parameters(), judge.parameters(), strict=True):
        assert torch.equal(one.grad, right.grad)
    for one, right in zip(network.buffers(), judge.buffers(), strict=True):
        assert torch.equal(one, right)  # the attempt has left no trace in the statistics
    recordings.run(batch.images, batch.labels)  # without a second warning


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", MODELS[:4])
@pytest.mark.parametrize("method", ["adamw", "muon"])
def test_recorded_steps_are_those_that_are_not(model, precision, method):
    """Two sizes in turn, with dropout; loss, weights and statistics after five steps."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    ends = []
    for recorded in (True, False):
        network = network_of(model, "cuda", dropout=0.5)
        optimizer = make_optimizer(network, OptimOptions(method=method))
        stepper = Stepper(
            network, Segment(), optimizer, precision=precision, loss=LossOptions(), weights=torch.ones(4)
        )
        assert stepper.recordings is not None
        if not recorded:
            stepper.recordings = None
        losses = []
        for step, size in enumerate((64, 96, 64, 64, 96)):
            torch.manual_seed(step)
            losses.append(stepper.run(batch_of("cuda", step, size), lr=1e-3))
        if recorded:
            assert not stepper.recordings._failed and len(stepper.recordings._made) == 2
        ends.append((losses, [one.detach().float().cpu() for one in network.state_dict().values()]))
    (losses, state), (right, judge) = ends
    loose = 1e-4 if precision == "float32" else 3e-2
    assert losses == pytest.approx(right, rel=loose)
    for one, expected in zip(state, judge, strict=True):
        torch.testing.assert_close(one, expected, rtol=loose, atol=loose)


@pytest.mark.gpu
def test_a_step_does_not_depend_on_when_it_was_recorded():
    """As after `--resume`: dropout draws the same numbers."""
    losses = []
    for first in (0, 2):
        network = network_of("unet", "cuda", dropout=0.5)
        optimizer = make_optimizer(network, OptimOptions())
        given = {"precision": "float32", "loss": LossOptions(), "weights": None}
        stepper = Stepper(network, Segment(), optimizer, **given)
        for step in range(first, 4):
            torch.manual_seed(step)
            losses.append((step, stepper.run(batch_of("cuda", step), lr=0.0)))
    for step in (2, 3):
        one, other = (loss for at, loss in losses if at == step)
        assert one == pytest.approx(other, rel=1e-5)
