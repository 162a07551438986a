"""Muon against torch's own, against the singular value decomposition, and in whole runs."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import pixelwise as pw
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.training.muon import Muon, as_matrix, as_weight, fits_muon, orthogonal
from pixelwise.training.optim import make_optimizer
from pixelwise.training.options import OptimOptions, TrainOptions
from pixelwise.training.plan import Plan, phases_by_steps
from pixelwise.training.state import Position, load_state, save_state

SMALL = NetworkOptions(decoder_channels=(16, 16, 8))
PLAN = Plan("float32", phases_by_steps(9, (48, 48), 0.0), 1, 0.0)


@pytest.mark.parametrize("arithmetic", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 200), (200, 8), (64, 64), (1, 30), (96, 700)])
def test_singular_vectors_stay_and_singular_values_become_about_one(shape, arithmetic):
    rng = np.random.default_rng(0)
    u, _, v = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    matrix = u @ np.diag(np.geomspace(1, 0.02, min(shape))) @ v
    with torch.autocast("cpu", torch.bfloat16, enabled=arithmetic is torch.bfloat16):
        found = orthogonal(torch.from_numpy(matrix).float())
    assert found.dtype == arithmetic
    core = u.T @ found.double().numpy() @ v.T
    values = np.diag(core)
    assert values.min() > 0.6 and values.max() < 1.3
    assert np.abs(core - np.diag(values)).max() < (0.15 if arithmetic is torch.bfloat16 else 1e-5)


def test_singular_values_go_through_the_polynomial():
    values = np.array([0.9, 0.4, 0.1, 1e-3])
    u, _, v = np.linalg.svd(np.random.default_rng(1).normal(size=(30, 4)), full_matrices=False)
    found = orthogonal(torch.from_numpy(u @ np.diag(values) @ v)).numpy()
    expected = values / np.linalg.norm(values)
    for _ in range(5):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
    np.testing.assert_allclose(np.diag(u.T @ found @ v.T), expected, rtol=1e-4)


def test_a_gradient_of_zero_moves_nothing():
    assert torch.equal(orthogonal(torch.zeros(4, 9)), torch.zeros(4, 9))


def test_steps_are_those_of_torchs_muon_on_the_matrix():
    """Torch's takes bfloat16 all the way, its steps are half as large at the same rate."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(5, 7, 3, bias=False).to(memory_format=torch.channels_last)
    start = as_matrix(convolution.weight).detach().clone()
    matrix = nn.Parameter(start.clone())
    groups = [{"params": [convolution.weight], "orthogonal": True, "weight_decay": 0.1}]
    ours = Muon(groups, lr=0.03, fused=True)
    judge = torch.optim.Muon([matrix], lr=0.06, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        gradient = torch.randn(7, 5, 3, 3)  # plain order, as a convolution's gradient may come
        convolution.weight.grad = gradient
        matrix.grad = as_matrix(gradient).clone()
        ours.step()
        judge.step()
    moved = (matrix - start).norm()
    assert (as_matrix(convolution.weight) - matrix).norm() < 0.02 * moved
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_memory_order_of_a_weight_makes_no_difference():
    torch.manual_seed(0)
    gradient = torch.randn(6, 4, 3, 3)
    steps = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(torch.zeros(6, 4, 3, 3).contiguous(memory_format=layout))
        weight.grad = gradient.contiguous(memory_format=layout)
        Muon([{"params": [weight], "orthogonal": True}], lr=1.0, fused=True).step()
        steps.append(weight.detach().contiguous())
    torch.testing.assert_close(*steps, rtol=0, atol=0)


def test_matrix_and_weight_are_each_others_inverse():
    weight = torch.randn(3, 4, 5, 2)
    assert torch.equal(as_weight(as_matrix(weight), weight.shape), weight)


def test_other_groups_take_the_steps_of_adamw():
    torch.manual_seed(0)
    start, gradients = torch.randn(9), torch.randn(4, 9)
    ends = []
    for kind, more in ((Muon, {"orthogonal": False}), (torch.optim.AdamW, {})):
        bias = nn.Parameter(start.clone())
        optimizer = kind([{"params": [bias], **more}], lr=0.1, fused=True)
        for gradient in gradients:
            bias.grad = gradient.clone()
            optimizer.step()
        ends.append(bias.detach())
    assert torch.equal(*ends)


def test_convolutions_are_orthogonal_but_for_the_head_and_depthwise_ones():
    network = pw.build("deeplabv3plus", encoder="mobilenet_v1", classes=["a", "b", "c"])
    groups = make_optimizer(network, OptimOptions(method="muon")).param_groups
    chosen = {id(weight) for group in groups if group["orthogonal"] for weight in group["params"]}
    kinds = {True: set(), False: set()}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            kinds[id(module.weight) in chosen].add("head" if name.endswith("head") else module.groups == 1)
    assert kinds == {True: {True}, False: {False, "head"}}
    assert len(chosen) == sum(fits_muon(name, weight) for name, weight in network.named_parameters())
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_a_matrix_too_large_to_be_worth_its_step_is_left_to_adamw():
    assert fits_muon("a.weight", torch.empty(512, 512, 3, 3, device="meta"))
    assert not fits_muon("a.weight", torch.empty(4096, 512, 7, 7, device="meta"))


def test_a_stored_state_goes_on_with_the_same_bytes(tmp_path):
    def fresh():
        torch.manual_seed(0)
        network = pw.build("unet", classes=["a", "b"], options=SMALL).to(memory_format=torch.channels_last)
        return network, make_optimizer(network, OptimOptions(method="muon"))

    def step(network, optimizer, seed):
        draws = torch.Generator().manual_seed(seed)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=draws)
        optimizer.step()

    network, optimizer = fresh()
    step(network, optimizer, 1)
    save_state(tmp_path / "state", Position(step=1), PLAN, network, None, optimizer)
    other, its_optimizer = fresh()
    position, _ = load_state(tmp_path / "state", other, None, its_optimizer)
    assert position.step == 1
    step(network, optimizer, 2)
    step(other, its_optimizer, 2)
    for (name, one), two in zip(network.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), name


def test_a_run_learns(shapes, tmp_path):
    network = NetworkOptions(decoder_channels=(16, 16, 8), encoder_width=0.25)
    optim = OptimOptions(method="muon")
    options = TrainOptions(epochs=20, batch=2, size=(48, 48), validations=1, network=network, optim=optim)
    run = pw.train(pw.open_dataset(shapes), out=tmp_path / "run", options=options)
    assert "method: muon" in (tmp_path / "run" / "config.yaml").read_text()
    assert run.steps == 60
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
