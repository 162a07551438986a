"""The network as a card runs it: folded and in its precision, judged by the network as it is; recorded with a card."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.backends.folded import fold_norms
from pixelwise.backends.interfaces import LowResolution
from pixelwise.backends.recorded import Prepared
from pixelwise.errors import OptionError
from pixelwise.infer.engine import AGREEMENT, open_engine
from pixelwise.infer.predictor import Precision, Running
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build
from pixelwise.types import Image

Picture = Callable[[int, int], Image]
BEHIND = 7  # batch normalisations of an hourglass that come before their convolutions


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]


@pytest.mark.parametrize("encoder", ["resnet18", "xception", "googlenet", "mobilenet_v1"])
@pytest.mark.parametrize("name", ["unet", "deeplabv3plus", "segnet", "hourglass"])
def test_folded_normalisation_is_the_same_function(name: str, encoder: str) -> None:
    torch.manual_seed(0)
    model = build(name, encoder=encoder, classes=3, options=NetworkOptions(encoder_width=0.125)).double()
    for norm in norms(model):
        for values in (norm.running_mean, norm.bias.data):
            assert values is not None
            values.normal_()
        assert norm.running_var is not None
        norm.running_var.uniform_(0.5, 2)
        norm.weight.data.uniform_(0.5, 1.5)
    core = LowResolution(model).eval().requires_grad_(False)
    folded = copy.deepcopy(core)
    edge = 2 * model.stride
    count = fold_norms(folded, torch.empty(1, 3, edge, edge, device="meta"))
    left = BEHIND if name == "hourglass" else 0
    assert count == len(norms(core)) - left
    assert len(norms(folded)) == left
    images = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    expected, found = core(images), folded(images)
    assert float((found - expected).abs().max()) < 1e-10 * float(expected.abs().max())


def test_a_transposed_convolution_takes_the_normalisation_behind_it() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 2, stride=2), nn.BatchNorm2d(4)).double()
    model.train()(torch.rand(4, 3, 5, 6, dtype=torch.float64))
    model.eval().requires_grad_(False)
    images = torch.rand(1, 3, 5, 6, dtype=torch.float64)
    expected = model(images)
    assert fold_norms(model, torch.empty(1, 3, 4, 4, device="meta")) == 1
    torch.testing.assert_close(model(images), expected)


class Shared(nn.Module):
    """A convolution whose map is read twice, one that is called twice, and one whose normalisation is."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.norm, self.other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.case == "read twice":
            x = self.first(x)
            return x + self.norm(x)
        if self.case == "called twice":
            return self.other(self.first(self.norm(self.first(x))))
        return self.norm(self.second(self.norm(self.first(x))))


@pytest.mark.parametrize("case", ["read twice", "called twice", "normalised twice"])
def test_what_is_used_twice_stays(case: str) -> None:
    model = Shared(case).eval()
    assert fold_norms(model, torch.empty(1, 3, 4, 4, device="meta")) == 0
    assert len(norms(model)) == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_prepared_network_gives_the_labels_of_the_network(
    model: Segmenter, picture: Picture, precision: Precision, dtype: str
) -> None:
    pixels = picture(96, 128)
    model.mean, model.scale = model.mean.clone(), model.scale.clone()
    if dtype == "uint16":
        pixels = pixels.astype(np.uint16) * 200
        model.mean *= 200
        model.scale /= 200
    given = model.state_dict()
    prepared = Prepared(model, precision)
    assert {one.dtype for one in prepared.core.parameters()} == {getattr(torch, precision)}
    with torch.inference_mode():
        low = prepared.plain(pixels[None])
        expected = Running(model, precision)(pixels)
        labels = model.full_size(low.float(), torch.empty(1, 3, 96, 128)).argmax(dim=1)[0].numpy()
    assert low.dtype == getattr(torch, precision)
    assert (labels == expected).mean() >= AGREEMENT[precision]
    for name, tensor in model.state_dict().items():  # the model itself stays as it was
        assert tensor is given[name] or torch.equal(tensor, given[name])
    assert all(one.dtype == torch.float32 for one in model.parameters())


def test_without_a_card_the_engine_says_so(model: Segmenter) -> None:
    with pytest.raises(OptionError, match="needs a CUDA device, and the model is on cpu"):
        open_engine(model, "recorded")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recorded_labels_are_those_of_the_network(
    model: Segmenter, picture: Picture, precision: Precision
) -> None:
    """Sizes come in turn, more often than recordings are kept for."""
    engine, eager = (
        open_engine(model.to("cuda"), name, precision=precision) for name in ("recorded", "eager")
    )
    for turn in range(4):
        for size in range(64, 64 + 10 * 32, 32):
            image = np.roll(picture(96, size), turn, axis=1)
            assert (engine(image) == eager(image)).mean() >= AGREEMENT[precision]
            labels, sure = engine.with_confidence(image)
            right, confidence = eager.with_confidence(image)
            assert (labels == right).mean() >= AGREEMENT[precision]
            assert np.abs(sure - confidence).mean() < (1e-4 if precision == "float32" else 2e-2)


@pytest.mark.gpu
def test_auto_goes_over_to_it(model: Segmenter, picture: Picture) -> None:
    said: list[str] = []
    engine = open_engine(model.to("cuda"), images=100_000, say=said.append)
    engine(picture(96, 128))
    assert any("recorded" in text for text in said)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_engines_of_the_processor_refuse_a_model_on_a_card(model: Segmenter, name: str) -> None:
    with pytest.raises(OptionError, match="computes on the processor"):
        open_engine(model.to("cuda"), name)
