"""Kernels of a training step in bfloat16 against torch in float64: normalisation, joining, depthwise, loss."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import pixelwise as pw
from pixelwise.losses import LossOptions, cross_entropy, overlap_loss, segmentation_loss
from pixelwise.ops import depthwise, head, join, native, norm

pytest.importorskip("numba")
ROUNDING = 2.0**-8  # of bfloat16, relative


def a_map(*shape: int, seed: int = 0, mean: float = 0.0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + mean
    return values.bfloat16().contiguous(memory_format=torch.channels_last)


def leaf(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.detach().clone(memory_format=torch.preserve_format).requires_grad_()


def near(found: Tensor, wanted: Tensor, share: float = 0.0) -> None:
    """Equal but for rounding; all but a `share` of the values, where a sum falls on the other side of zero."""
    wrong = (found.double() - wanted).abs() > 2 * ROUNDING * (wanted.abs() + 0.01 * wanted.abs().max())
    assert wrong.double().mean() <= share


def a_norm(channels: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(channels)
    with torch.no_grad():
        made.weight.copy_(torch.linspace(0.5, 2, channels))
        made.bias.copy_(torch.linspace(-1, 1, channels))
    return made


@pytest.fixture(autouse=True)
def small_maps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever pays: the kernels are right on any map."""
    monkeypatch.setattr(norm, "_WORTH", 1 << 12)
    monkeypatch.setattr(norm, "_PIECE", 1 << 14)


def test_bits_are_those_of_torch() -> None:
    """Rounding to the nearest, ties to even."""
    from numba import njit

    from pixelwise.ops.bfloat import narrow, widen

    values = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * 3
    ties = (torch.arange(1, 200, dtype=torch.int32) * 2 + 1 << 15).view(torch.float32)
    values = torch.cat([values, ties, -ties, torch.tensor([0.0, float("inf"), -float("inf")])])

    @njit
    def both(given, bits, back):  # type: ignore[no-untyped-def]
        for index in range(len(given)):
            bits[index] = narrow(given[index])
            back[index] = widen(bits[index])

    bits, back = np.empty(len(values), np.uint16), np.empty(len(values), np.float32)
    both(values.numpy(), bits, back)
    np.testing.assert_array_equal(bits, values.bfloat16().view(torch.uint16).numpy())
    np.testing.assert_array_equal(back, values.bfloat16().float().numpy())


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(
    ("shape", "mean"),
    [((2, 16, 48, 64), 0.0), ((3, 24, 41, 37), 30.0), ((2, 320, 23, 30), -2.0), ((1, 1, 300, 300), 0)],
)
def test_normalisation(shape: tuple[int, ...], mean: float, joined: bool, relu: bool) -> None:
    x, gradient = a_map(*shape, mean=mean), a_map(*shape, seed=1)
    shortcut = a_map(*shape, seed=2) if joined else None
    layer = a_norm(shape[1])
    judge = copy.deepcopy(layer).double()
    act = nn.ReLU() if relu else None
    x1, s1 = leaf(x), leaf(shortcut)
    assert norm._kernels(layer, act, x1, s1) is not None
    y = norm.norm_relu(layer, act, x1, s1)
    y.backward(gradient)
    x2, s2 = leaf(x.double()), None if shortcut is None else leaf(shortcut.double())
    wanted = judge(x2) if s2 is None else judge(x2) + s2
    wanted = wanted.relu() if relu else wanted
    wanted.backward(gradient.double())
    near(y.detach(), wanted.detach())
    near(x1.grad, x2.grad, share=1e-3)
    if s1 is not None:
        near(s1.grad, s2.grad, share=1e-3)
    for own, other in zip(layer.parameters(), judge.parameters(), strict=True):
        torch.testing.assert_close(
            own.grad.double(), other.grad, rtol=2e-3, atol=2e-3 * float(other.grad.abs().max())
        )
    for own, other in zip(layer.buffers(), judge.buffers(), strict=True):
        torch.testing.assert_close(own.double(), other.double(), rtol=1e-5, atol=1e-6)


def test_sums_do_not_depend_on_the_threads() -> None:
    x, gradient = a_map(2, 24, 100, 90), a_map(2, 24, 100, 90, seed=1)
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            layer, one = a_norm(24), leaf(x)
            y = norm.norm_relu(layer, nn.ReLU(), one)
            y.backward(gradient)
            found.append([y.detach(), one.grad, layer.weight.grad, layer.bias.grad, layer.running_var])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def frozen(layer: nn.BatchNorm2d) -> nn.Module:
    return layer.eval()


@pytest.mark.parametrize(
    ("layer", "act", "x"),
    [
        (frozen(a_norm(16)), nn.ReLU(), a_map(2, 16, 64, 64)),
        (a_norm(16), nn.ReLU6(), a_map(2, 16, 64, 64)),
        (a_norm(16), nn.ReLU(), a_map(2, 16, 64, 64).float()),
        (a_norm(16), nn.ReLU(), a_map(2, 16, 64, 64).contiguous()),
        (a_norm(16), nn.ReLU(), a_map(2, 16, 4, 4)),
        (nn.GroupNorm(2, 16).bfloat16(), nn.ReLU(), a_map(2, 16, 64, 64)),
    ],
    ids=["frozen", "another activation", "float32", "planes", "small", "another norm"],
)
def test_everything_else_is_left_to_the_layers(layer: nn.Module, act: nn.Module, x: Tensor) -> None:
    assert norm._kernels(layer, act, x, None) is None
    same = copy.deepcopy(layer)
    assert torch.equal(norm.norm_relu(layer, act, x.clone()), act(same(x.clone())))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(0, 20), st.integers(1, 40), st.integers(1, 40))
def test_doubling_and_joining(count: int, own: int, other: int, height: int, width: int) -> None:
    """Copies are exact; a gradient is the sum of four, rounded once."""
    scale = -(-join._WORTH // (4 * count * own * height * width)) if count * own * height * width else 1
    height *= scale
    if count * own * height * width > 1 << 19:
        return
    x, beside = leaf(a_map(count, own, height, width)), None
    if other:
        beside = leaf(a_map(count, other, 2 * height, 2 * width, seed=1))
    assert join._kernels(x, beside) is not None
    found = join.doubled(x, beside)
    gradient = a_map(*found.shape, seed=2)
    found.backward(gradient)
    x2, beside2 = leaf(x.double()), None if beside is None else leaf(beside.double())
    large = F.interpolate(x2, scale_factor=2, mode="nearest")
    wanted = large if beside2 is None else torch.cat([large, beside2], dim=1)
    wanted.backward(gradient.double())
    assert torch.equal(found.double(), wanted)
    assert torch.equal(x.grad, x2.grad.float().bfloat16())
    assert beside is None or torch.equal(beside.grad.double(), beside2.grad)


def test_a_map_that_does_not_fit_beside_is_refused_as_torch_does() -> None:
    weight = torch.randn(4, 40, 3, 3).bfloat16()
    for beside in (a_map(2, 8, 80, 79), a_map(2, 8, 1, 1)):
        with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
            join.doubled(leaf(a_map(2, 32, 40, 40)), beside)
        with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
            join.doubled_convolution(leaf(a_map(2, 32, 40, 40)), beside, weight)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(0, 5),
    st.integers(1, 25),
    st.integers(1, 25),
    st.booleans(),
)
def test_a_convolution_behind_a_doubling(
    count: int, own: int, other: int, height: int, width: int, biased: bool
) -> None:
    """The same function with the same gradients, whether the map is doubled or not."""
    folds = count * height * width >= join._WORTH_SPREADING
    given = [torch.randn(count, own, height, width, dtype=torch.float64).requires_grad_()]
    given.append(torch.randn(4, own + other, 3, 3, dtype=torch.float64).requires_grad_())
    given += [torch.randn(4, dtype=torch.float64).requires_grad_()] if biased else []
    given += (
        [torch.randn(count, other, 2 * height, 2 * width, dtype=torch.float64).requires_grad_()]
        if other
        else []
    )
    x, weight, bias = given[0], given[1], given[2] if biased else None
    beside = given[-1] if other else None
    found = join.doubled_convolution(x, beside, weight, bias)
    assert ("ConvolutionBackward" in found.grad_fn.name()) is not (folds and beside is not None)
    large = F.interpolate(x, scale_factor=2, mode="nearest")
    joined = large if beside is None else torch.cat([large, beside], dim=1)
    wanted = F.conv2d(joined, weight, bias, padding=1)
    torch.testing.assert_close(found, wanted)
    upstream = torch.randn_like(wanted)
    for one, right in zip(
        torch.autograd.grad(found, given, upstream), torch.autograd.grad(wanted, given, upstream), strict=True
    ):
        torch.testing.assert_close(one, right)


@pytest.mark.parametrize("beside", [None, a_map(2, 24, 80, 96, seed=1)])
def test_folding_in_bfloat16_is_nearly_as_near_as_doubling(beside: Tensor | None) -> None:
    x, further = a_map(2, 48, 40, 48), 0 if beside is None else 24
    weight = torch.randn(32, 48 + further, 3, 3) / (9 * (48 + further)) ** 0.5
    large = F.interpolate(x.double(), scale_factor=2, mode="nearest")
    joined = large if beside is None else torch.cat([large, beside.double()], dim=1)
    wanted = F.conv2d(joined, weight.double(), padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        folded = join.doubled_convolution(x, beside, weight)
        plain = F.conv2d(join.doubled(x, beside), weight, padding=1)
    assert folded.dtype == torch.bfloat16 and folded.is_contiguous(memory_format=torch.channels_last)
    # two parts are rounded before their sum is
    worse = 1.05 if beside is None else 1.3
    assert (folded.double() - wanted).norm() <= worse * (plain.double() - wanted).norm()


@pytest.mark.parametrize(
    ("shape", "rate"), [((2, 48, 23, 30), 12), ((1, 7, 150, 120), 2), ((3, 64, 20, 21), 36)]
)
def test_dilated_depthwise_convolution(shape: tuple[int, ...], rate: int) -> None:
    channels = shape[1]
    layer = depthwise.DepthwiseConv(
        channels, channels, 3, padding=rate, dilation=rate, groups=channels, bias=False
    )
    judge = copy.deepcopy(layer).double()
    x, gradient = leaf(a_map(*shape)), a_map(*shape, seed=1)
    assert layer._kernels(x) is not None
    y = layer(x)
    y.backward(gradient)
    x2 = leaf(x.double())
    wanted = judge(x2)
    wanted.backward(gradient.double())
    near(y.detach(), wanted.detach())
    near(x.grad, x2.grad)
    torch.testing.assert_close(layer.weight.grad.double(), judge.weight.grad, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "change", [{"padding": 1, "dilation": 1}, {"stride": 2}, {"padding": 3}, {"bias": True}]
)
def test_other_convolutions_are_the_layers(change: dict[str, int]) -> None:
    options = {"padding": 2, "dilation": 2, "bias": False} | change
    layer = depthwise.DepthwiseConv(16, 16, 3, groups=16, **options)
    assert layer._kernels(a_map(2, 16, 64, 64)) is None
    assert layer.eval()._kernels(a_map(2, 16, 64, 64)) is None


def test_maps_that_come_back_in_planes_have_their_gradient() -> None:
    """A hook that moves what is kept for the backward pass may lose the order in memory."""
    x, gradient = a_map(2, 16, 48, 64), a_map(2, 16, 48, 64, seed=1)
    found = []
    for keep in (lambda kept: kept, lambda kept: kept.contiguous()):
        one, shortcut, layer = leaf(x), leaf(gradient), a_norm(16)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
            norm.norm_relu(layer, nn.ReLU(), one, shortcut).backward(gradient)
        found.append((one.grad, shortcut.grad, layer.weight.grad))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_layer_of_bfloat16_is_left_to_torch() -> None:
    assert norm._kernels(a_norm(16).bfloat16(), nn.ReLU(), a_map(2, 16, 48, 64), None) is None


def test_logits_smaller_than_the_labels_are_enlarged_at_their_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no caller asks for, and what must not read beyond the logits."""
    monkeypatch.setattr(head, "_WORTH", 0)
    logits, labels = a_map(2, 5, 64, 64), torch.zeros(2, 90, 80, dtype=torch.uint8)
    found = segmentation_loss(leaf(logits), labels, LossOptions(), span=(64, 64))
    wanted = segmentation_loss(leaf(logits.float()), labels, LossOptions(), span=(64, 64))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-3)


@pytest.mark.parametrize("size", [(60, 80), (64, 96), (33, 1)])
@pytest.mark.parametrize(
    ("options", "weighted"),
    [
        (LossOptions(overlap_weight=0.0), False),
        (LossOptions(overlap_weight=0.5), True),
        (LossOptions(overlap="iou", overlap_weight=2.0, smoothing=0.1), True),
    ],
    ids=["cross-entropy", "dice", "iou, smoothed"],
)
def test_loss_at_full_size(
    size: tuple[int, int], options: LossOptions, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits go beyond the labels at the bottom and right, as those of a padded image do."""
    monkeypatch.setattr(head, "_WORTH", 0)
    used: list[str] = []
    load: Callable[[str], object] = native.load
    monkeypatch.setattr(native, "load", lambda name: used.append(name) or load(name))
    classes = 7
    logits = leaf(3 * a_map(2, classes, 64, 96))
    numbers = np.random.default_rng(0)
    labels = torch.from_numpy(numbers.integers(0, classes, (2, *size)))
    labels[:, ::3, :5] = 255
    weights = torch.linspace(0.5, 2, classes) if weighted else None
    loss = segmentation_loss(logits, labels, options, weights=weights, span=(64, 96))
    loss.backward()
    assert "full_loss_kernels" in used
    judge = leaf(logits.detach().double())
    log_p = F.log_softmax(judge[..., : size[0], : size[1]], dim=1)
    heavy = None if weights is None else weights.double()
    wanted = cross_entropy(log_p, labels, smoothing=options.smoothing, weights=heavy)
    if options.overlap_weight:
        wanted = wanted + options.overlap_weight * overlap_loss(log_p.exp(), labels, kind=options.overlap)
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    near(logits.grad, judge.grad)
    assert not logits.grad[..., size[0] :, :].any()
    assert not logits.grad[..., size[1] :].any()


def step_of(
    model: str, encoder: str, monkeypatch: pytest.MonkeyPatch, *, kernels: bool = False, lower: bool = True
) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of all weights in one vector."""
    torch.manual_seed(0)
    options = pw.NetworkOptions(encoder_width=0.25)
    net = pw.build(model, encoder=encoder, classes=4, options=options)
    net = net.to(memory_format=torch.channels_last).train()
    images = torch.randn(4, 3, 96, 128).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 4, (4, 12, 16)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    with monkeypatch.context() as patch:
        if not kernels:
            patch.setattr(native, "load", lambda name: None)
            patch.setattr(join, "_WORTH_SPREADING", 1 << 60)
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            logits = net(images)
        F.cross_entropy(logits.float(), labels).backward()
    slopes = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return logits.detach().float().flatten(), torch.cat(slopes)


@pytest.mark.parametrize(
    ("model", "encoder"),
    [("unet", "resnet18"), ("deeplabv3plus", "resnet50"), ("asymmetric_unet", "googlenet")],
)
def test_a_step_with_kernels_is_as_near_to_float32_as_one_without(
    model: str, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    load: Callable[[str], object] = native.load
    monkeypatch.setattr(native, "load", lambda name: used.append(name) or load(name))
    exact = step_of(model, encoder, monkeypatch, lower=False)
    own = step_of(model, encoder, monkeypatch, kernels=True)
    plain = step_of(model, encoder, monkeypatch)
    assert "norm_kernels" in used
    for one, other, wanted in zip(own, plain, exact, strict=True):
        assert (one - wanted).norm() < 1.2 * (other - wanted).norm()
