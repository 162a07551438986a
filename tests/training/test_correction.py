"""Class weights taken back after training."""

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.errors import DataError
from pixelwise.models.bundle import BundleFacts
from pixelwise.training.correction import SHARES, undo_weights

WEIGHTS = torch.tensor([0.5, 2.0, 8.0])


@pytest.fixture(scope="module")
def data(shapes):
    return pw.open_dataset(shapes)


def network(data, bias):
    """A network that sees nothing: its logits are the bias of its head."""
    net = pw.build("unet", classes=data.classes, options=pw.NetworkOptions(decoder_channels=(8,))).eval()
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.copy_(torch.tensor(bias))
    return net


def test_the_share_that_scores_best_is_kept(data):
    """A constant map of discs, or with the whole share one of ground, which scores better."""
    net = network(data, [0.0, 0.1, 2.5])  # the whole share of -log w: [0.69, -0.59, 0.42]
    labels = np.concatenate([data.val.labels(index).ravel() for index in range(len(data.val))])
    expected = {}
    for share in SHARES:
        winner = int(np.argmax(np.array([0.0, 0.1, 2.5]) - share * np.log(WEIGHTS.numpy())))
        present = len(np.unique(labels))
        expected[share] = (labels == winner).mean() / present
    share, scores = undo_weights(net, data.val, WEIGHTS)
    assert scores.mean_iou == pytest.approx(max(expected.values()))
    assert expected[share] == pytest.approx(scores.mean_iou)
    shift = net.head.bias.detach() - torch.tensor([0.0, 0.1, 2.5])
    assert torch.allclose(shift, -share * WEIGHTS.log(), atol=1e-6)
    assert pw.evaluate(net, data.val).mean_iou == pytest.approx(scores.mean_iou)


def test_a_strong_weight_is_taken_back(data):
    net = network(data, [0.0, -9.0, 1.5])
    share, _ = undo_weights(net, data.val, WEIGHTS)
    assert share == 1.0  # 1.5 - log 8 < 0 - log 0.5: only then the ground wins
    assert pw.predict(net, data.val[0].image).max() == 0


def test_one_logit_moves_by_the_difference(shapes, tmp_path):
    (tmp_path / "two.yaml").write_text(
        "classes: [{name: rest, color: '#000000'}, {name: box, color: '#ffffff'}]\nvalues: {0: rest, 1: box, 2: rest}\n"
    )
    data = pw.open_dataset(shapes, classes=tmp_path / "two.yaml")
    net = pw.build(
        "unet", classes=data.classes, options=pw.NetworkOptions(decoder_channels=(8,), one_logit=True)
    )
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.fill_(1.0)
    share, _ = undo_weights(net.eval(), data.val, torch.tensor([1.0, 4.0]))
    assert share == 1.0
    assert float(net.head.bias.detach()) == pytest.approx(1.0 - np.log(4.0))


def test_an_image_that_does_not_suit_is_named(data):
    net = network(data, [0.0, 0.1, 2.5])
    net.facts = BundleFacts(dtype="uint16")
    with pytest.raises(DataError) as caught:
        undo_weights(net, data.val, WEIGHTS)
    assert caught.value.file == data.val.items[0].image
