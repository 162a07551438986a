"""The table of networks: what can be added to it, and what it refuses to build."""

import re

import pytest
import torch

import pixelwise as pw
from pixelwise.errors import DataError, OptionError
from pixelwise.models.interfaces import Decoder, Encoder, Level, NetworkOptions
from pixelwise.models.tasks import build_autoencoder, build_classifier, build_localizer
from pixelwise.models.trace import describe_encoder
from pixelwise.models.zoo import DECODERS, ENCODERS, build, entries


def test_adding_an_encoder_is_one_class_and_one_row(monkeypatch):
    class Tiny(Encoder):
        def __init__(self, bands, options):
            super().__init__()
            self.levels = (Level(4, 2), Level(8, 4))
            self.a = torch.nn.Conv2d(bands, 4, 3, stride=2, padding=1)
            self.b = torch.nn.Conv2d(4, 8, 3, stride=2, padding=1)

        def forward(self, images):
            fine = self.a(images)
            return [fine, self.b(fine)]

    class Flat(Decoder):
        def __init__(self, levels, options, outputs):
            super().__init__(levels, options, outputs)
            self.head = torch.nn.Conv2d(levels[-1].channels, outputs, 1)
            self.stride = levels[-1].stride

        def forward(self, features):
            return self.head(features[-1])

    monkeypatch.setitem(ENCODERS, "tiny", Tiny)
    monkeypatch.setitem(DECODERS, "flat", Flat)
    for model in ("unet", "flat"):
        net = build(model, encoder="tiny", classes=3, bands=2).eval()
        assert net(torch.randn(1, 2, 9, 11)).shape == (1, 3, 9, 11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "unett"}, "did you mean 'unet'"),
        ({"encoder": "resnet19"}, "did you mean 'resnet1"),
        ({"classes": 1}, "1 classes"),
        ({"classes": -3}, "-3 classes"),
        ({"classes": 256}, "256 classes"),
        ({"bands": 0}, "bands is 0"),
        ({"classes": 3, "options": NetworkOptions(one_logit=True)}, "one_logit is for two classes"),
        ({"options": NetworkOptions(decoder_channels=(8,) * 6)}, "1 to 5 positive widths"),
        ({"name": "segnet", "options": NetworkOptions(rates=(1, 2))}, "SegNet has no such option"),
        ({"normalization": pw.Normalization((0.0,), (1.0,))}, "for 1 bands"),
    ],
)
def test_what_cannot_be_built_says_why(arguments, message):
    with pytest.raises(OptionError) as caught:
        build(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 1, 8, 8), (3, 8, 8), (1, 3, 0, 8)])
@pytest.mark.parametrize("builder", [build, build_classifier, build_autoencoder, build_localizer])
def test_images_of_another_shape_are_refused(builder, shape):
    net = builder(encoder="lenet").eval()
    for ask in (net, net.prepare):  # one band would otherwise be spread over three
        with pytest.raises(DataError, match=re.escape(str(shape))) as caught:
            ask(torch.zeros(shape))
        assert "[N, 3, H, W]" in caught.value.remedy


def test_the_table_names_papers():
    assert {(row.kind, row.name) for row in entries()} == {("model", n) for n in DECODERS} | {
        ("encoder", n) for n in ENCODERS
    }
    assert all(re.search(r"\b(19|20)\d\d\b", row.paper) for row in entries())


@pytest.mark.parametrize("size", [(0, 5), (-64, 64)])
def test_nothing_is_described_at_no_size(size):
    with pytest.raises(OptionError, match=re.escape(str(size))):
        pw.describe(build("unet", encoder="lenet"), size=size)
    with pytest.raises(OptionError, match=re.escape(str(size))):
        describe_encoder(build("unet", encoder="lenet").encoder, size=size)
