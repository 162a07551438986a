"""Losses, judged by torch's own, by NumPy written plainly and by finite differences."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pixelwise.errors import OptionError
from pixelwise.losses import LossOptions, cross_entropy, overlap_loss, segmentation_loss
from pixelwise.ops import head

PLAIN = LossOptions(overlap_weight=0.0)


def batch(classes=4, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 5, 7, generator=generator, dtype=dtype)
    labels = torch.randint(0, max(classes, 2), (2, 5, 7), generator=generator)
    labels[0, :2] = 255
    return logits, labels


@pytest.mark.parametrize(
    ("smoothing", "weighted"),
    [
        (0.0, False),
        (0.1, False),
        (0.0, True),
    ],  # torch weights the smoothed part by other classes: no judge for both
)
def test_cross_entropy_equals_torch(smoothing, weighted):
    logits, labels = batch()
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0]) if weighted else None
    expected = F.cross_entropy(logits, labels, ignore_index=255, label_smoothing=smoothing, weight=weights)
    options = LossOptions(overlap_weight=0.0, smoothing=smoothing)
    assert torch.allclose(segmentation_loss(logits, labels, options, weights=weights), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["dice", "iou"])
def test_overlap_equals_plain_numpy(kind):
    logits, labels = batch()
    labels[labels == 3] = 0  # a class that does not occur must not count
    got = overlap_loss(logits.softmax(1), labels, kind=kind)
    p = logits.softmax(1).permute(0, 2, 3, 1).reshape(-1, 4).numpy().astype(np.float64)
    t = labels.reshape(-1).numpy()
    losses = []
    for k in range(3):
        hit = sum(p[i, k] for i in range(len(t)) if t[i] == k)
        predicted = sum(p[i, k] for i in range(len(t)) if t[i] != 255)
        true = (t == k).sum()
        ratio = 2 * hit / (predicted + true) if kind == "dice" else hit / (predicted + true - hit)
        losses.append(1 - ratio)
    assert float(got) == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_perfect_prediction_costs_nothing():
    _, labels = batch()
    logits = 50.0 * F.one_hot(labels.clamp(max=3), 4).permute(0, 3, 1, 2).float()
    assert float(segmentation_loss(logits, labels, LossOptions(overlap_weight=1.0))) < 1e-6


@pytest.mark.parametrize(
    "options", [PLAIN, LossOptions(overlap="dice"), LossOptions(overlap="iou", smoothing=0.1)]
)
@pytest.mark.parametrize("classes", [1, 3])
def test_gradients_by_finite_differences(options, classes, monkeypatch):
    logits, labels = batch(classes, dtype=torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)  # stay in float64
    logits.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: segmentation_loss(z, labels, options), (logits,))


def test_ignored_pixels_have_no_gradient():
    logits, labels = batch()
    logits.requires_grad_(True)
    segmentation_loss(logits, labels, LossOptions()).backward()
    assert logits.grad[0, :, :2].abs().max() == 0
    assert logits.grad[0, :, 2:].abs().min() > 0


def test_everything_ignored_is_zero_and_harmless():
    logits, labels = batch()
    logits.requires_grad_(True)
    loss = segmentation_loss(logits, torch.full_like(labels, 255), LossOptions())
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad.abs().max() == 0


def test_one_logit_equals_two():
    logit, labels = batch(1)
    two = torch.cat([torch.zeros_like(logit), logit], dim=1)
    one = segmentation_loss(logit, labels, LossOptions())
    assert torch.allclose(one, segmentation_loss(two, labels, LossOptions()), atol=1e-6)
    counted = labels != 255
    expected = F.binary_cross_entropy_with_logits(logit[:, 0][counted], labels[counted].float())
    assert torch.allclose(segmentation_loss(logit, labels, PLAIN), expected, atol=1e-6)


def test_half_precision_logits_are_summed_in_single():
    logits = torch.zeros(1, 2, 512, 512, dtype=torch.bfloat16)
    labels = torch.ones(1, 512, 512, dtype=torch.uint8)
    assert float(segmentation_loss(logits, labels, LossOptions())) == pytest.approx(
        np.log(2) + 0.5 * (1 - 2 * 0.5 / 1.5), abs=1e-4
    )


def test_class_weights_move_the_mean():
    log_p = torch.log(torch.tensor([[0.5, 0.5], [0.9, 0.1]]))
    targets = torch.tensor([0, 1])
    expected = -(1 * np.log(0.5) + 3 * np.log(0.1)) / 4
    got = cross_entropy(log_p, targets, weights=torch.tensor([1.0, 3.0]))
    assert float(got) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("values", [{"overlap_weight": -1.0}, {"smoothing": 1.0}])
def test_options_out_of_range(values):
    with pytest.raises(OptionError, match="give"):
        LossOptions(**values)


@pytest.mark.parametrize("options", [PLAIN, LossOptions(), LossOptions(overlap="iou", smoothing=0.1)])
@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("classes", [1, 4])
def test_low_resolution_logits_cost_what_resized_ones_do(options, kernels, classes, monkeypatch):
    if kernels:
        pytest.importorskip("numba")
    monkeypatch.setattr(head, "_WORTH", 0 if kernels else 1 << 40)
    low = torch.randn(2, classes, 3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, max(classes, 2), (2, 11, 18), generator=torch.Generator().manual_seed(1))
    labels[0, :2] = 255
    results = []
    for span in ((12, 20), None):
        leaf = low.clone().requires_grad_()
        logits = leaf if span else F.interpolate(leaf, (12, 20), mode="bilinear")[..., :11, :18]
        loss = segmentation_loss(logits, labels, options, span=span)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)
