"""Labels and loss sums from low-resolution logits, judged by torch in float64: interpolate, then softmax or argmax."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pixelwise.errors import MaskError
from pixelwise.ops import head, head_grid, native
from pixelwise.ops.head import (
    confident_labels_from_low,
    cross_entropy_from_low,
    labels_from_low,
    sums_from_low,
)

SAME_WAY = [HealthCheck.function_scoped_fixture]  # which is the point: one way for all examples
Case = tuple[Tensor, Tensor, tuple[int, int]]


@pytest.fixture(params=["kernels", "plain"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways, whatever the size."""
    if request.param == "kernels":
        pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "kernels":
            patch.setattr(head, "_WORTH", 0)
            patch.setattr(head, "_full", None)  # not a way round the kernels
            patch.setattr(head_grid, "BAND", 3)
            head_grid.grid_of.cache_clear()
        else:
            patch.setattr(native, "load", lambda name: None)
        yield request.param
    head_grid.grid_of.cache_clear()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Logits of any layout, labels with ignored pixels, and the span of the logits, at least the labels' size."""
    classes, images = draw(st.sampled_from([1, 2, 3, 7, 20])), draw(st.integers(1, 2))
    low = draw(st.tuples(st.integers(1, 9), st.integers(1, 90)))
    factor = draw(st.sampled_from([1, 2, 3, 4, 8, 32]))
    span = (low[0] * factor, low[1] * factor)
    if draw(st.booleans()):  # no whole factor
        span = (span[0] + draw(st.integers(0, 5)), span[1] + draw(st.integers(0, 5)))
    size = (max(1, span[0] - draw(st.integers(0, 7))), max(1, span[1] - draw(st.integers(0, 40))))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = 4 * torch.randn(images, classes, *low, generator=generator)
    if draw(st.booleans()):
        logits = logits.contiguous(memory_format=torch.channels_last)
    if draw(st.booleans()):
        logits = logits.to(torch.bfloat16)
    labels = torch.randint(0, max(2, classes), (images, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < draw(st.sampled_from([0, 0.3, 1]))] = 255
    return logits, labels.to(draw(st.sampled_from([torch.uint8, torch.int64]))), span


def full_size(logits: Tensor, size: tuple[int, int], span: tuple[int, int]) -> Tensor:
    """float64 logits [N, K, H, W], K at least 2."""
    wide = F.interpolate(logits.double(), size=span, mode="bilinear", align_corners=False)
    wide = wide[..., : size[0], : size[1]]
    return torch.cat([torch.zeros_like(wide), wide], dim=1) if wide.shape[1] == 1 else wide


@given(case=cases())
@settings(deadline=None, suppress_health_check=SAME_WAY, max_examples=40)
def test_labels_are_the_largest_class_up_to_rounding(way: str, case: Case) -> None:
    logits, labels, span = case
    size = (labels.shape[1], labels.shape[2])
    wide = full_size(logits, size, span)
    for found in (
        labels_from_low(logits, size, span=span),
        confident_labels_from_low(logits, size, span=span)[0],
    ):
        assert found.dtype == torch.uint8 and found.shape == labels.shape
        chosen = wide.gather(1, found.long()[:, None])[:, 0]
        # torch has the coordinates themselves in float32
        assert (wide.amax(dim=1) - chosen).max() < (1e-5 if way == "kernels" else 1e-2)


def test_last_columns_behind_the_middle_of_the_last_low_one(way: str) -> None:
    """The last tile of 64 columns holds one pixel, which lies between no two low-resolution ones."""
    low = -torch.ones(1, 3, 1, 26)
    low[0, 2, 0, -1] = 5
    for span in ((32, 833), (32, 26 * 64 + 1)):
        assert (labels_from_low(low, span, span=span)[..., -1] == 2).all()


@given(case=cases())
@settings(deadline=None, suppress_health_check=SAME_WAY, max_examples=30)
def test_confidence_is_the_largest_probability(way: str, case: Case) -> None:
    logits, labels, span = case
    size = (labels.shape[1], labels.shape[2])
    confidence = confident_labels_from_low(logits, size, span=span)[1]
    expected = full_size(logits, size, span).softmax(dim=1).amax(dim=1).float()
    torch.testing.assert_close(confidence, expected, rtol=1e-4 if way == "kernels" else 1e-2, atol=1e-6)


@given(case=cases(), seed=st.integers(0, 2**31))
@settings(deadline=None, suppress_health_check=SAME_WAY, max_examples=30)
def test_temperatures_change_the_probability_and_never_the_label(way: str, case: Case, seed: int) -> None:
    logits, labels, span = case
    size = (labels.shape[1], labels.shape[2])
    temperatures = np.random.default_rng(seed).uniform(0.3, 4, max(2, logits.shape[1])).tolist()
    found, confidence = confident_labels_from_low(logits, size, span=span, temperatures=temperatures)
    plain, _ = confident_labels_from_low(logits, size, span=span)
    assert torch.equal(found, plain)
    each = torch.tensor(temperatures, dtype=torch.float64)[found.long()][:, None]
    expected = (full_size(logits, size, span) / each).softmax(dim=1).amax(dim=1).float()
    torch.testing.assert_close(confidence, expected, rtol=1e-4 if way == "kernels" else 3e-2, atol=1e-6)


def test_temperatures_of_one_change_no_bit(way: str) -> None:
    logits = torch.randn(1, 5, 9, 40, generator=torch.Generator().manual_seed(0))
    with_ones = confident_labels_from_low(logits, (36, 160), temperatures=[1.0] * 5)
    without = confident_labels_from_low(logits, (36, 160))
    assert torch.equal(with_ones[0], without[0])
    assert torch.equal(with_ones[1], without[1])


@given(case=cases(), smoothing=st.sampled_from([0.0, 0.1]), weighted=st.booleans(), overlaps=st.booleans())
@settings(deadline=None, suppress_health_check=SAME_WAY, max_examples=40)
def test_sums_and_their_gradients(
    way: str, case: Case, smoothing: float, weighted: bool, overlaps: bool
) -> None:
    logits, labels, span = case
    classes = max(2, logits.shape[1])
    generator = torch.Generator().manual_seed(classes)
    weights = torch.rand(classes, generator=generator) + 0.1 if weighted else None
    slopes = torch.randn(2, classes, generator=generator)
    given_logits = logits.clone().requires_grad_()
    sums = sums_from_low(
        given_logits, labels, span=span, weights=weights, smoothing=smoothing, overlaps=overlaps
    )
    objective = 0.7 * sums.entropy
    if overlaps:
        objective = objective + (slopes[0] * sums.predicted).sum() + (slopes[1] * sums.hits).sum()
    (gradient,) = torch.autograd.grad(objective, given_logits)

    judge = logits.double().requires_grad_()
    wide = full_size(judge, (labels.shape[1], labels.shape[2]), span)
    log_p, p = wide.log_softmax(dim=1), wide.softmax(dim=1)
    one_hot = (labels.long()[:, None] == torch.arange(classes)[:, None, None]).double()
    of_class = (torch.ones(classes) if weights is None else weights).double()
    weight = (one_hot * of_class[:, None, None]).sum(dim=1, keepdim=True)
    target = (1 - smoothing) * one_hot + smoothing / classes
    expected = [
        -(weight * target * log_p).sum(),
        weight.sum(),
        (p * (one_hot.sum(1, keepdim=True))).sum((0, 2, 3)),
    ]
    expected += [(p * one_hot).sum((0, 2, 3)), one_hot.sum((0, 2, 3))]
    objective = 0.7 * expected[0]
    if overlaps:
        objective = objective + (slopes[0] * expected[2]).sum() + (slopes[1] * expected[3]).sum()
    (right,) = torch.autograd.grad(objective, judge)

    for found, wanted in list(zip(sums, expected, strict=True))[: 5 if overlaps else 2]:
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5 if way == "kernels" else 5e-4, atol=1e-3)
    if logits.dtype == torch.bfloat16:  # so is the gradient
        rounding = 1e-2
    else:  # torch has the coordinates themselves in float32
        rounding = 2e-5 if way == "kernels" else 1e-3
    scale = float(right.abs().max()) + 1
    torch.testing.assert_close(gradient.double() / scale, right / scale, rtol=rounding, atol=rounding / 10)


def test_cross_entropy_equals_torch(way: str) -> None:
    logits = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 5, (2, 24, 28), generator=torch.Generator().manual_seed(1))
    labels[:, :5] = 9
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 0.1])
    wide = F.interpolate(logits.double(), scale_factor=4, mode="bilinear", align_corners=False)
    expected = F.cross_entropy(wide, labels, weight=weights.double(), ignore_index=9)
    found = cross_entropy_from_low(logits, labels, weights=weights, ignore=9)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore:Input #0 requires gradient and is not a double")
@pytest.mark.parametrize("span", [(12, 16), (13, 17)])
def test_gradients_by_finite_differences(way: str, span: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    dtype = torch.float32 if way == "kernels" else torch.float64  # the kernels know float32 alone
    logits = torch.randn(1, 3, 3, 4, generator=generator, dtype=dtype).requires_grad_()
    labels = torch.randint(0, 3, (1, 11, 15), generator=generator)
    labels[0, 4:6, 3:9] = 255

    def objective(z: Tensor) -> Tensor:
        sums = sums_from_low(z, labels, span=span, smoothing=0.1)
        return sums.entropy / sums.weight + (sums.hits / (sums.predicted + sums.truth)).sum()

    if way == "kernels":
        assert torch.autograd.gradcheck(objective, (logits,), eps=3e-2, atol=1e-3, rtol=1e-2)
    else:
        assert torch.autograd.gradcheck(objective, (logits,))


def test_ties_go_to_the_first_class(way: str) -> None:
    logits = torch.zeros(1, 4, 3, 5)
    logits[:, 0] = -1
    assert (labels_from_low(logits, (12, 20)) == 1).all()
    assert (confident_labels_from_low(logits, (12, 20))[0] == 1).all()


def test_broken_logits_make_a_broken_loss(way: str) -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    for value in (float("nan"), float("inf")):
        logits = torch.zeros(1, 3, 2, 2)
        logits[0, 1, 0, 0] = value
        assert not torch.isfinite(cross_entropy_from_low(logits, labels))


def test_large_logits_do_not_overflow(way: str) -> None:
    logits = torch.tensor([[[[300.0, -300.0]], [[-300.0, 300.0]]]])
    labels = torch.tensor([[[0, 0, 1, 1]]])
    wide = full_size(logits, (1, 4), (1, 4))
    found = cross_entropy_from_low(logits, labels)
    torch.testing.assert_close(found.double(), F.cross_entropy(wide, labels), rtol=1e-6, atol=1e-6)


def test_a_gradient_can_be_asked_for_twice_and_a_value_without_one(way: str) -> None:
    logits = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.randint(0, 3, (2, 18, 21), generator=torch.Generator().manual_seed(1))
    loss = cross_entropy_from_low(logits, labels)
    first = torch.autograd.grad(loss, logits, retain_graph=True)[0].clone()
    torch.testing.assert_close(torch.autograd.grad(2 * loss, logits)[0], 2 * first)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy_from_low(logits, labels), loss.detach())


def test_everything_ignored_is_zero_with_zero_gradient(way: str) -> None:
    logits = torch.randn(1, 3, 4, 4).requires_grad_()
    loss = cross_entropy_from_low(logits, torch.full((1, 16, 16), 255))
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None and logits.grad.abs().max() == 0


def test_a_label_that_is_no_class_is_refused(way: str) -> None:
    with pytest.raises(MaskError, match=r"value 3; allowed are 0\.\.2, and 255"):
        cross_entropy_from_low(torch.zeros(1, 3, 2, 2), torch.full((1, 4, 4), 3, dtype=torch.uint8))


@pytest.mark.parametrize("overlaps", [False, True])
def test_the_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch, overlaps: bool) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(head, "_WORTH", 0)
    logits = torch.randn(2, 3, 40, 30, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 160, 120), generator=torch.Generator().manual_seed(1))
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(native, "threads", lambda threads=threads: threads)
        leaf = logits.clone().requires_grad_()
        sums = sums_from_low(leaf, labels, overlaps=overlaps)
        loss = sums.entropy + sums.hits.sum() if overlaps else sums.entropy
        loss.backward()
        assert leaf.grad is not None
        results.append((loss.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
    assert results[0] == results[1]


def test_no_tensor_of_full_size_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(head, "_WORTH", 0)
    import tracemalloc

    logits = torch.randn(1, 40, 16, 16).requires_grad_()
    labels = torch.randint(0, 40, (1, 128, 128)).to(torch.uint8)
    cross_entropy_from_low(logits, labels).backward()
    tracemalloc.start()  # sees NumPy's arrays, of which the large ones are made
    cross_entropy_from_low(logits, labels).backward()
    labels_from_low(logits, (128, 128))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 128 * 128 * np.dtype(np.float32).itemsize / 2  # eager torch: more than four times that


def test_logits_at_full_size_are_judged_without_a_copy(monkeypatch):
    """Cropped at the bottom and right, ties included: judged by torch's argmax, which takes the first."""
    monkeypatch.setattr(head, "_WORTH", 0)
    logits = torch.randint(0, 4, (2, 5, 70, 33)).float()  # many ties
    found = labels_from_low(logits, (67, 30), span=(70, 33))
    torch.testing.assert_close(found, logits[..., :67, :30].argmax(dim=1).to(torch.uint8))


def test_planes_copied_on_one_thread_are_those_of_torch() -> None:
    from pixelwise.ops.head_grid import grid_of, planes_of
    from pixelwise.ops.native import alone

    low = torch.randn(2, 3, 5, 7).contiguous(memory_format=torch.channels_last)
    grid = grid_of((5, 7), (20, 28), (20, 28), 16)
    expected = planes_of(low, grid)
    with alone():
        np.testing.assert_array_equal(planes_of(low, grid), expected)
        np.testing.assert_array_equal(
            planes_of(low.bfloat16(), grid), planes_of(low.bfloat16().float(), grid)
        )
