"""Triton's kernels run by its interpreter, on processors, judged by torch in float64; test_triton starts them."""

import pytest
import torch
from torch.nn import functional as F

from pixelwise.ops import head, head_triton
from pixelwise.ops.head import confident_labels_from_low, labels_from_low, sums_from_low

# classes, images, low-resolution size, span, size, layout, type of the logits, smoothing, weights, overlaps
CASES = [
    (1, 1, (3, 5), (12, 20), (12, 20), "planes", torch.float32, 0.0, False, True),
    (2, 2, (4, 3), (13, 14), (11, 14), "channels last", torch.float32, 0.1, True, True),
    (5, 1, (5, 7), (20, 28), (18, 23), "channels last", torch.bfloat16, 0.0, True, False),
    (20, 1, (3, 4), (6, 8), (6, 8), "planes", torch.float32, 0.2, False, True),
    (3, 1, (1, 1), (8, 8), (5, 6), "planes", torch.float32, 0.0, True, True),
    (7, 1, (4, 9), (4, 9), (4, 7), "channels last", torch.bfloat16, 0.1, False, True),
    (4, 1, (9, 11), (5, 7), (5, 7), "planes", torch.float32, 0.0, False, True),
]


@pytest.fixture(autouse=True)
def by_triton(monkeypatch):
    monkeypatch.setattr(head, "_accelerated", lambda logits: logits.dtype in head._DTYPES)
    monkeypatch.setattr(head, "_full", None)  # not a way round the kernels
    monkeypatch.setattr(head, "_kernels", None)
    monkeypatch.setattr(head, "_check", lambda *given: None)  # which is for labels on processors


def drawn(case):
    classes, images, low, span, size, layout, dtype, *_ = case
    generator = torch.Generator().manual_seed(classes)
    logits = (4 * torch.randn(images, classes, *low, generator=generator)).to(dtype)
    if layout == "channels last":
        logits = logits.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, max(2, classes), (images, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    wide = F.interpolate(logits.double(), size=span, mode="bilinear", align_corners=False)
    return logits, labels, two(wide[..., : size[0], : size[1]])


def two(wide):
    return torch.cat([torch.zeros_like(wide), wide], dim=1) if wide.shape[1] == 1 else wide


@pytest.mark.parametrize("case", CASES)
def test_labels(case):
    logits, labels, wide = drawn(case)
    found = labels_from_low(logits, tuple(labels.shape[1:]), span=case[3])
    assert found.dtype == torch.uint8
    chosen = wide.gather(1, found.long()[:, None])[:, 0]
    assert (wide.amax(dim=1) - chosen).max() < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_confidence(case):
    logits, labels, wide = drawn(case)
    size = tuple(labels.shape[1:])
    temperatures = torch.linspace(0.5, 2, wide.shape[1]).tolist()
    found, confidence = confident_labels_from_low(logits, size, span=case[3], temperatures=temperatures)
    assert torch.equal(found, labels_from_low(logits, size, span=case[3]))
    each = torch.tensor(temperatures, dtype=torch.float64)[found.long()][:, None]
    expected = (wide / each).softmax(dim=1).gather(1, found.long()[:, None])[:, 0].float()
    torch.testing.assert_close(confidence, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_sums(case):
    logits, labels, wide = drawn(case)
    *_, smoothing, weighted, overlaps = case
    weights, one_hot, weight, target = terms(wide, labels, smoothing, weighted)
    found = sums_from_low(
        logits, labels, span=case[3], weights=weights, smoothing=smoothing, overlaps=overlaps
    )
    p = wide.softmax(dim=1)
    expected = [
        -(weight * target * wide.log_softmax(dim=1)).sum(),
        weight.sum(),
        (p * one_hot.sum(1, keepdim=True)).sum((0, 2, 3)),
        (p * one_hot).sum((0, 2, 3)),
        one_hot.sum((0, 2, 3)),
    ]
    for one, right in list(zip(found, expected, strict=True))[: 5 if overlaps else 2]:
        torch.testing.assert_close(one.double(), right, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_gradients(case):
    logits, labels, _ = drawn(case)
    *_, smoothing, weighted, overlaps = case
    leaf, judge = logits.clone().requires_grad_(), logits.double().requires_grad_()
    wide = F.interpolate(judge, size=case[3], mode="bilinear", align_corners=False)
    wide = two(wide[..., : labels.shape[1], : labels.shape[2]])
    weights, one_hot, weight, target = terms(wide, labels, smoothing, weighted)
    slopes = torch.randn(2, wide.shape[1], generator=torch.Generator().manual_seed(0))

    found = sums_from_low(leaf, labels, span=case[3], weights=weights, smoothing=smoothing, overlaps=overlaps)
    ours = 0.7 * found.entropy
    right = -0.7 * (weight * target * wide.log_softmax(dim=1)).sum()
    if overlaps:
        p = wide.softmax(dim=1)
        ours = ours + (slopes[0] * found.predicted).sum() + (slopes[1] * found.hits).sum()
        right = right + (slopes[0] * (p * one_hot.sum(1, keepdim=True)).sum((0, 2, 3))).sum()
        right = right + (slopes[1] * (p * one_hot).sum((0, 2, 3))).sum()
    ours.backward()
    right.backward()
    rounding = 1e-2 if logits.dtype == torch.bfloat16 else 2e-5
    scale = float(judge.grad.abs().max())
    torch.testing.assert_close(
        leaf.grad.double() / scale, judge.grad / scale, rtol=rounding, atol=rounding / 10
    )


def terms(wide, labels, smoothing, weighted):
    classes = wide.shape[1]
    weights = torch.linspace(0.2, 2, classes) if weighted else None
    one_hot = (labels[:, None] == torch.arange(classes)[:, None, None]).double()
    of_class = (torch.ones(classes) if weights is None else weights).double()
    weight = (one_hot * of_class[:, None, None]).sum(dim=1, keepdim=True)
    return weights, one_hot, weight, (1 - smoothing) * one_hot + smoothing / classes


@pytest.mark.parametrize("dtype", head._DTYPES)
@pytest.mark.parametrize("surroundings", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_the_trial_before_the_first_use(dtype, surroundings):
    head_triton.usable.cache_clear()
    with surroundings():
        assert head_triton.usable(torch.device("cpu"), dtype)


def test_ties_go_to_the_first_class():
    logits = torch.zeros(1, 4, 3, 5)
    logits[:, 0] = -1
    assert (labels_from_low(logits, (12, 20)) == 1).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, with which the interpreter works
def test_broken_logits_make_a_broken_loss():
    logits = torch.zeros(1, 3, 2, 2)
    for value in (float("nan"), float("inf")):
        logits[0, 1, 0, 0] = value
        assert not torch.isfinite(sums_from_low(logits, torch.zeros(1, 8, 8, dtype=torch.uint8)).entropy)


@pytest.mark.parametrize(("value", "ignore"), [(-1, 255), (3, 255), (256, 255), (257, 255), (255, 7)])
def test_labels_that_are_no_class_break_the_loss(value, ignore):
    """A card is not waited for to refuse them."""
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[0, 2, 3], labels[0, 5] = value, ignore
    assert torch.isnan(sums_from_low(torch.zeros(1, 3, 2, 2), labels, ignore=ignore).entropy)
    labels[0, 2, 3] = 2
    assert torch.isfinite(sums_from_low(torch.zeros(1, 3, 2, 2), labels, ignore=ignore).entropy)
