"""The worked examples of the course, rows 15 to 19: scores, losses, sharing of weights, activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pixelwise.losses import LossOptions, cross_entropy, overlap_loss, segmentation_loss
from pixelwise.metrics import scores_from_confusion
from pixelwise.models.zoo import build
from pixelwise.ops.activations import relu, sigmoid, softmax
from pixelwise.ops.arithmetic import (
    conv_parameters,
    dense_parameters,
)
from pixelwise.ops.confusion import confusion
from pixelwise.ops.convolution import (
    convolve,
)
from pixelwise.ops.labels import labels_from_logits, labels_from_one_hot, one_hot, probabilities
from pixelwise.ops.pooling import (
    adaptive_average_pool,
    average_pool,
    global_average_pool,
    max_pool,
)


def test_row_15_softmax_argmax_and_one_hot():
    # two rows of three pixels, three classes; the second pixel of the first row is a near tie
    scores = torch.tensor([
        [[2.0, 0.9, 0.0], [0.0, 1.0, -1.0]],
        [[1.0, 1.0, 0.0], [3.0, 1.0, -2.0]],
        [[0.0, 0.8, 5.0], [0.0, 2.0, -3.0]],
    ])  # fmt: skip
    shares = probabilities(scores[None])[0]
    np.testing.assert_allclose(shares, softmax(scores.numpy(), axis=0), rtol=1e-6)
    np.testing.assert_allclose(shares.sum(0), np.ones((2, 3)), rtol=1e-6)
    e = np.e
    np.testing.assert_allclose(shares[:, 0, 0], np.array([e * e, e, 1]) / (e * e + e + 1), rtol=1e-6)
    labels = labels_from_logits(scores[None])[0]
    assert labels.tolist() == [[0, 1, 2], [1, 2, 0]]
    assert shares.argmax(0).tolist() == labels.tolist()  # softmax keeps the order
    planes = one_hot(labels, 3)
    assert planes.tolist() == [
        [[1, 0, 0], [0, 0, 1]],
        [[0, 1, 0], [1, 0, 0]],
        [[0, 0, 1], [0, 1, 0]],
    ]
    assert labels_from_one_hot(planes).tolist() == labels.tolist()
    with_ignore = np.array([[0, 255], [2, 1]], np.uint8)
    assert one_hot(with_ignore, 3)[:, 0, 1].tolist() == [0, 0, 0]
    assert labels_from_one_hot(one_hot(with_ignore, 3)).tolist() == with_ignore.tolist()


# a drawn pair: a house (1) of 2 x 3 pixels, found one column too far to the right
TRUTH = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]], np.uint8)
FOUND = np.roll(TRUTH, 1, axis=1)


def test_row_16_iou_and_dice_by_hand():
    scores = scores_from_confusion(confusion(TRUTH, FOUND, 2), ["ground", "house"])
    house, ground = scores.by_name("house"), scores.by_name("ground")
    # both 6 pixels, 4 in common: 4 / 8 and 2 * 4 / 12
    assert (house.iou, house.dice) == (4 / 8, 2 * 4 / 12)
    # ground 14 each, 12 in common: 12 / 16 and 24 / 28
    assert (ground.iou, ground.dice) == (12 / 16, 24 / 28)
    assert scores.mean_iou == (4 / 8 + 12 / 16) / 2
    assert scores.pixel_accuracy == 16 / 20
    a, b = TRUTH == 1, FOUND == 1
    assert house.iou == (a & b).sum() / (a | b).sum()
    assert house.dice == 2 * (a & b).sum() / (a.sum() + b.sum())
    for one in scores.classes:
        assert one.dice == pytest.approx(2 * one.iou / (1 + one.iou), rel=1e-15)


def test_row_16_cross_entropy_and_soft_losses_by_hand():
    # three pixels, two classes; the truth is 0, 1, 1 and the probabilities of class 1 are these
    p = torch.tensor([0.2, 0.6, 0.9], dtype=torch.float64)
    shares = torch.stack([1 - p, p])[None]  # [1, 2, 3]
    labels = torch.tensor([[0, 1, 1]])
    by_hand = -(np.log(0.8) + np.log(0.6) + np.log(0.9)) / 3
    assert float(cross_entropy(shares.log(), labels)) == pytest.approx(by_hand, rel=1e-12)
    # soft Dice: class 0: 2 * 0.8 / (1.3 + 1); class 1: 2 * 1.5 / (1.7 + 2)
    dice = 1 - (2 * 0.8 / 2.3 + 2 * 1.5 / 3.7) / 2
    assert float(overlap_loss(shares, labels, kind="dice")) == pytest.approx(dice, rel=1e-12)
    # soft IoU: class 0: 0.8 / (1.3 + 1 - 0.8); class 1: 1.5 / (1.7 + 2 - 1.5)
    iou = 1 - (0.8 / 1.5 + 1.5 / 2.2) / 2
    assert float(overlap_loss(shares, labels, kind="iou")) == pytest.approx(iou, rel=1e-12)
    # with hard probabilities the soft losses are the scores
    hard = one_hot(torch.from_numpy(FOUND), 2)[None].double()
    truth = torch.from_numpy(TRUTH)[None].long()
    assert float(overlap_loss(hard, truth, kind="iou")) == pytest.approx(1 - (4 / 8 + 12 / 16) / 2)
    assert float(overlap_loss(hard, truth, kind="dice")) == pytest.approx(1 - (8 / 12 + 24 / 28) / 2)


def test_row_16_one_logit_with_sigmoid_or_two_with_softmax():
    logit = torch.tensor([[[[-1.0, 0.5, 2.0]]]])  # [1, 1, 1, 3]
    two = torch.cat([torch.zeros_like(logit), logit], dim=1)
    labels = torch.tensor([[[0, 1, 1]]])
    plain = LossOptions(overlap_weight=0)
    one_loss = float(segmentation_loss(logit, labels, plain))
    assert one_loss == pytest.approx(float(segmentation_loss(two, labels, plain)), rel=1e-6)
    p = 1 / (1 + np.exp([1.0, -0.5, -2.0]))
    by_hand = -np.mean(np.log([1 - p[0], p[1], p[2]]))  # binary cross-entropy, 1 or 0 per pixel
    assert one_loss == pytest.approx(by_hand, rel=1e-6)
    judge = F.binary_cross_entropy_with_logits(logit[0, 0], labels[0].float())
    assert one_loss == pytest.approx(float(judge), rel=1e-6)
    assert labels_from_logits(logit).tolist() == labels_from_logits(two).tolist() == [[[0, 1, 1]]]


def test_row_17_convolution_in_one_two_and_three_axes_against_a_plain_loop():
    rng = np.random.default_rng(17)
    line, k1 = rng.standard_normal(7), rng.standard_normal(3)
    expected = [sum(k1[t] * line[2 * o + t] for t in range(3)) for o in range(3)]
    np.testing.assert_allclose(convolve(line, k1, stride=2), expected, rtol=1e-12)
    plane, k2 = rng.standard_normal((5, 6)), rng.standard_normal((2, 3))
    expected = np.zeros((4, 4))
    for row in range(4):
        for column in range(4):
            for i in range(2):
                for j in range(3):
                    expected[row, column] += k2[i, j] * plane[row + i, column + j]
    np.testing.assert_allclose(convolve(plane, k2), expected, rtol=0, atol=1e-12)
    volume, k3 = rng.standard_normal((4, 4, 4)), rng.standard_normal((2, 2, 2))
    expected = np.zeros((3, 3, 3))
    for place in np.ndindex(3, 3, 3):
        a, b, c = place
        expected[place] = (k3 * volume[a : a + 2, b : b + 2, c : c + 2]).sum()
    np.testing.assert_allclose(convolve(volume, k3), expected, rtol=0, atol=1e-12)


def test_row_17_pooling_against_a_plain_loop():
    x = np.random.default_rng(17).standard_normal((2, 6, 7))
    means, maxima = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    for channel, row, column in np.ndindex(2, 3, 3):
        window = x[channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        means[channel, row, column], maxima[channel, row, column] = window.mean(), window.max()
    np.testing.assert_allclose(average_pool(x, 2), means, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(max_pool(x, 2)[0], maxima)
    np.testing.assert_allclose(global_average_pool(x), [x[0].mean(), x[1].mean()], rtol=0, atol=1e-12)
    # 7 columns to 3: columns 0-2, 2-4, 4-6; 6 rows to 2: rows 0-2, 3-5
    expected = [[x[1, 3 * i : 3 * i + 3, 2 * j : 2 * j + 3].mean() for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(adaptive_average_pool(x, (2, 3))[1], expected, rtol=0, atol=1e-12)
    assert adaptive_average_pool(np.ones((8, 31, 17)), (7, 7)).shape == (8, 7, 7)  # any size in, one size out


def test_row_18_weights_of_a_dense_layer_and_of_a_convolution():
    assert dense_parameters(28 * 28, 28 * 28) == 615_440
    assert dense_parameters(256 * 256, 256 * 256) == 4_295_032_832
    assert conv_parameters((3, 3), 1, 1) == 10  # for 28 x 28 and for 256 x 256
    assert conv_parameters((3, 3), 1, 32) == 320
    for side in (28, 256):
        dense = nn.Linear(side * side, side * side, device="meta")
        assert dense_parameters(side * side, side * side) == sum(p.numel() for p in dense.parameters())
        conv = nn.Conv2d(1, 1, 3, padding=1, device="meta")
        assert conv(torch.empty(1, 1, side, side, device="meta")).shape[-2:] == (side, side)
        assert conv_parameters((3, 3), 1, 1) == sum(p.numel() for p in conv.parameters())


def test_row_18_a_shifted_image():
    rng = np.random.default_rng(18)
    image = np.zeros((12, 12))
    image[3:6, 3:7] = rng.random((3, 4))
    shifted = np.roll(image, (2, 4), axis=(0, 1))
    kernel, matrix = rng.standard_normal((3, 3)), rng.standard_normal((144, 144))
    convolved = convolve(image, kernel, padding="same")
    np.testing.assert_allclose(
        convolve(shifted, kernel, padding="same"), np.roll(convolved, (2, 4), axis=(0, 1)), atol=1e-12
    )
    dense = (matrix @ image.ravel()).reshape(12, 12)
    after = (matrix @ shifted.ravel()).reshape(12, 12)
    assert np.abs(after - np.roll(dense, (2, 4), axis=(0, 1))).max() > 1
    # a convolution is such a matrix too, with the same few weights in every row
    columns = [convolve(row.reshape(12, 12), kernel, padding="same").ravel() for row in np.eye(144)]
    as_matrix = np.array(columns).T
    np.testing.assert_allclose(as_matrix @ image.ravel(), convolved.ravel(), atol=1e-12)
    assert len(np.unique(as_matrix)) == 10  # nine weights and zero
    # pooling with a stride keeps shifts by the stride only
    pooled = max_pool(image, 2)[0]
    np.testing.assert_array_equal(max_pool(shifted, 2)[0], np.roll(pooled, (1, 2), axis=(0, 1)))
    odd = max_pool(np.roll(image, 1, axis=1), 2)[0]
    assert not any(np.array_equal(odd, np.roll(pooled, step, axis=1)) for step in range(6))


def test_row_19_activations_and_the_head_of_each():
    z = np.linspace(-6, 6, 25)
    tensor = torch.from_numpy(z)
    np.testing.assert_allclose(sigmoid(z), torch.sigmoid(tensor), rtol=1e-12)
    np.testing.assert_array_equal(relu(z), torch.relu(tensor))
    assert sigmoid([0.0]).tolist() == [0.5]
    np.testing.assert_allclose(sigmoid(z) + sigmoid(-z), 1, rtol=1e-12)
    assert (np.diff(sigmoid(z)) > 0).all()
    slope = np.diff(sigmoid(z)) / np.diff(z)
    assert slope.max() < 0.25 and slope[0] < 0.01  # at most a quarter, and vanishing; ReLU's is 0 or 1
    assert set(np.diff(relu(z)) / np.diff(z)) == {0.0, 1.0}
    # softmax of two logits is the sigmoid of their difference: one logit is enough for two classes
    pair = np.stack([np.zeros_like(z), z])
    np.testing.assert_allclose(softmax(pair, axis=0)[1], sigmoid(z), rtol=1e-12)


def test_row_19_the_networks_return_logits_and_the_right_activation_makes_them_probabilities():
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    net = build("unet", encoder="resnet18", classes=3).eval()
    with torch.no_grad():
        net.head.bias.copy_(torch.tensor([-9.0, 0.0, 9.0]))
        logits = net(image)
        assert logits.min() < 0  # no activation on the head
        expected = softmax(logits[0].double().numpy(), axis=0)
    np.testing.assert_allclose(probabilities(logits)[0], expected, atol=1e-6)
    one = logits[:, :1]
    np.testing.assert_allclose(probabilities(one)[0, 1], sigmoid(one[0, 0].double().numpy()), atol=1e-6)
