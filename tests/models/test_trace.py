"""The trace, judged by hooks on a real run, by gradients and by published counts."""

import pytest
import torch
from torch import nn

from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.trace import describe
from pixelwise.models.zoo import build

OPTIONS = [NetworkOptions(), NetworkOptions(decoder_channels=(16, 8), upsampling="bilinear")]


@pytest.mark.parametrize("options", OPTIONS)
def test_sizes_and_parameters_equal_a_real_run(options):
    net = build("unet", encoder="resnet34", classes=4, options=options).eval()
    seen = {}
    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)):
            module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: tuple(o.shape[1:])}))
    with torch.inference_mode():
        net(torch.zeros(1, 3, 70, 100))
    facts = describe(net, size=(70, 100))
    traced = {row.name: row.output for row in facts.rows if row.name in seen}
    assert traced == seen
    assert (
        sum(row.parameters for row in facts.rows)
        == facts.parameters
        == sum(p.numel() for p in net.parameters())
    )


def test_multiply_adds_and_halo_of_unet_on_resnet18():
    """43.6 billion operations at 512 x 512, and 281 and 250 pixels: computed elsewhere by hand-written counters."""
    facts = describe(build("unet", classes=6))
    assert facts.multiply_adds * 2 / 1e9 == pytest.approx(43.6, abs=0.05)
    assert facts.halo == (281, 250)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_halo_is_what_gradients_reach(options):
    """With positive weights nothing cancels: the image pixels with a gradient are the receptive field."""
    net = build("unet", classes=2, options=options).eval().double()
    with torch.no_grad():
        for parameter in net.parameters():  # means, so that values neither grow nor vanish over the layers
            parameter.fill_(1.0 if parameter.ndim == 1 else 1 / parameter[0].numel())
    net.encoder.maxpool = nn.AvgPool2d(3, stride=2, padding=1)  # the same windows; a maximum has one gradient
    halo = describe(net).halo
    size = 1024
    image = torch.ones(1, 3, size, 32, dtype=torch.double, requires_grad=True)
    period = torch.arange(512, 544)  # a tile cut at multiples of the stride
    rows = net(image)[0, 0, period].sum()
    reached = torch.autograd.grad(rows, image)[0].abs().sum((0, 1, 3)).nonzero()[:, 0]
    if options.decoder_channels is None:
        assert (512 - int(reached[0]), int(reached[-1]) - 543) == halo
    else:  # the final upsampling to the image's size reaches further than the network's own logits
        assert 512 - int(reached[0]) >= halo[0]


def test_the_first_layer_sees_its_kernel():
    assert describe(build("unet")).rows[0].field == 7
