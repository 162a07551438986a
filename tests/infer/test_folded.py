"""Doublings folded into convolutions: the same function, judged by the block as it was in float64."""

from __future__ import annotations

import itertools

import pytest
import torch

from pixelwise.backends.folded import FoldedUpBlock, fold_doublings
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.zoo import build

SMALL = {"encoder_width": 0.125, "decoder_channels": (16, 12, 8, 6, 4)}


def blocks(model: torch.nn.Module) -> list[FoldedUpBlock]:
    return [part for part in model.modules() if isinstance(part, FoldedUpBlock)]


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("name", ["unet", "asymmetric_unet"])
def test_the_folded_network_is_the_same_function(norm: str, squeeze: bool, name: str) -> None:
    torch.manual_seed(0)
    options = NetworkOptions(**SMALL, norm=norm, squeeze_excitation=squeeze)  # type: ignore[arg-type]
    model = build(name, encoder="resnet18", classes=3, options=options).double()
    for count in (0, 1):
        images = torch.rand(2, 3, 64, 96 - 32 * count, dtype=torch.float64)
        model.train()(images)  # statistics that are not those of a new network
    model.eval()
    with torch.no_grad():
        expected = model.judged(images)
        fold_doublings(model)
        found = model.judged(images)
    assert len(blocks(model)) == len(model.decoder.blocks)
    assert float((found - expected).abs().max()) < 1e-12 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("resnet18", {"upsampling": "bilinear"}),
        ("resnet18", {"upsampling": "transposed"}),
        ("unet", {"padding": "valid", "decoder_channels": (8, 8, 6, 4)}),
    ],
)
def test_what_is_not_such_a_block_stays(encoder: str, options: dict[str, object]) -> None:
    given = NetworkOptions(**{**SMALL, **options})  # type: ignore[arg-type]
    model = build("unet", encoder=encoder, classes=3, options=given)
    before = [type(part) for part in model.modules()]
    fold_doublings(model)
    assert all(one is other for one, other in itertools.zip_longest(before, map(type, model.modules())))
