"""Networks given channels last stay so: one map in planes makes all that follows several times as slow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pixelwise as pw
from pixelwise.models.zoo import DECODERS, ENCODERS

LAST = torch.channels_last
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d)
# A decoder on the encoder that suits it, and each encoder under a U-Net; a patch classifier begins with views of the
# image.
ON = {"segnet": "vgg16_bn", "fullres": "image"}
PAIRS = [(decoder, ON.get(decoder, "resnet18")) for decoder in DECODERS if decoder != "patch"]
PAIRS += [("unet", encoder) for encoder in ENCODERS if encoder not in ("image", "resnet18")]


@pytest.mark.parametrize(("decoder", "encoder"), PAIRS)
def test_no_map_is_turned_into_planes(decoder: str, encoder: str) -> None:
    options = pw.NetworkOptions(encoder_width=0.125)
    net = pw.build(decoder, encoder=encoder, classes=5, options=options).to(memory_format=LAST).train()
    turned: list[str] = []

    def look(name: str) -> object:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            if inputs[0].ndim == 4 and not inputs[0].is_contiguous(memory_format=LAST):
                turned.append(name)

        return hook

    for name, module in net.named_modules():
        if isinstance(module, LAYERS):
            module.register_forward_hook(look(name))
    images = torch.randn(2, 3, 64, 96).contiguous(memory_format=LAST)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(images)
    assert not turned
    assert logits.is_contiguous(memory_format=LAST)
