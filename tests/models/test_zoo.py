"""The contract that every encoder with every decoder keeps."""

import itertools

import pytest
import torch

import pixelwise as pw
from pixelwise.errors import OptionError
from pixelwise.models.bundle import load, save
from pixelwise.models.interfaces import Decoder, Encoder, Level, NetworkOptions
from pixelwise.models.zoo import DECODERS, ENCODERS, build, entries

PAIRS = list(itertools.product(DECODERS, ENCODERS))
SIZES = [(1, 1), (1, 131), (97, 1), (31, 33), (64, 64), (97, 131)]
VARIANTS = [
    NetworkOptions(),
    NetworkOptions(decoder_channels=(32, 16, 16), upsampling="bilinear", dropout=0.5),
    NetworkOptions(one_logit=True),
]


@pytest.mark.parametrize(("model", "encoder"), PAIRS)
@pytest.mark.parametrize("size", SIZES)
def test_logits_have_the_size_of_the_image(model, encoder, size):
    net = build(model, encoder=encoder, classes=5, bands=4).eval()
    with torch.inference_mode():
        assert net(torch.randn(1, 4, *size)).shape == (1, 5, *size)


ODD = [range(1, 98, 2), range(1, 132, 2)]
SOME = [(h, w) for h, w in itertools.product(*ODD) if h in (1, 31, 33, 97) or w in (1, 63, 65, 131)]


@pytest.mark.parametrize(
    ("model", "sizes"),
    [("unet", SOME), pytest.param("unet", [*itertools.product(*ODD)], marks=pytest.mark.slow)],
    ids=["some", "all 3234"],
)
def test_every_odd_size(model, sizes):
    """In shapes alone: torch's meta device computes no values."""
    net = build(model, classes=3).to("meta").eval()
    with torch.inference_mode():
        for height, width in sizes:
            images = torch.empty(1, 3, height, width, device="meta")
            assert net(images).shape == (1, 3, height, width)


@pytest.mark.parametrize(("model", "encoder"), PAIRS)
@pytest.mark.parametrize("options", VARIANTS)
def test_every_parameter_gets_a_gradient(model, encoder, options):
    net = build(model, encoder=encoder, classes=2, options=options).train()
    net(torch.randn(2, 3, 64, 64)).square().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("bands", [1, 3, 7])
def test_announced_levels_are_true(encoder, bands):
    net = ENCODERS[encoder](bands).eval()
    maps = net(torch.randn(1, bands, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (v.channels, 64 // v.stride, 96 // v.stride) for v in net.levels
    ]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("options", VARIANTS)
def test_the_announced_map_of_a_decoder_is_true(decoder, options):
    levels = [Level(6, 2), Level(8, 4), Level(12, 8)]
    net = DECODERS[decoder](levels, options).eval()
    features = [torch.randn(1, v.channels, 64 // v.stride, 64 // v.stride) for v in levels]
    assert net(features).shape[1:] == (net.level.channels, 64 // net.level.stride, 64 // net.level.stride)


@pytest.mark.parametrize(("model", "encoder"), PAIRS)
@pytest.mark.parametrize("options", VARIANTS)
def test_save_and_load_give_equal_logits(model, encoder, options, tmp_path):
    net = build(model, encoder=encoder, classes=["a", "b"], bands=2, options=options).eval()
    twin = load(save(net, tmp_path / "net.safetensors"))
    images = torch.randn(1, 2, 40, 56)
    with torch.inference_mode():
        assert torch.equal(net(images), twin(images))
    assert twin.classes == net.classes
    assert (twin.options, twin.normalization) == (net.options, net.normalization)


def test_parameters_of_unet_on_resnet18():
    """The count of segmentation_models_pytorch's Unet("resnet18", classes=11)."""
    assert sum(p.numel() for p in build("unet", encoder="resnet18", classes=11).parameters()) == 14_329_659


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_689_512), ("resnet34", 21_797_672)])
def test_parameters_of_encoders_are_the_published_ones(name, parameters):
    own = sum(p.numel() for p in ENCODERS[name](3).parameters())
    assert own + 512 * 1000 + 1000 == parameters


def test_padding_does_not_move_coordinates():
    """The logits of an image equal those of the same image repeated at its bottom and right edge."""
    net = build("unet", classes=3).eval()
    images = torch.randn(1, 3, 40, 50)
    wider = torch.nn.functional.pad(images, (0, 14, 0, 24), mode="replicate")
    with torch.inference_mode():
        assert torch.allclose(net(images), net(wider)[..., :40, :50], atol=1e-5)


def test_adding_an_encoder_is_one_class_and_one_row(monkeypatch):
    class Tiny(Encoder):
        def __init__(self, bands):
            super().__init__()
            self.levels = (Level(4, 2), Level(8, 4))
            self.a = torch.nn.Conv2d(bands, 4, 3, stride=2, padding=1)
            self.b = torch.nn.Conv2d(4, 8, 3, stride=2, padding=1)

        def forward(self, images):
            fine = self.a(images)
            return [fine, self.b(fine)]

    class Flat(Decoder):
        def __init__(self, levels, options):
            super().__init__()
            self.level = levels[-1]

        def forward(self, features):
            return features[-1]

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
        ({"classes": 256}, "256 classes"),
        ({"bands": 0}, "bands is 0"),
        ({"classes": 3, "options": NetworkOptions(one_logit=True)}, "one_logit is for two classes"),
        ({"options": NetworkOptions(decoder_channels=(8,) * 6)}, "1 to 5 positive widths"),
        ({"normalization": pw.Normalization((0.0,), (1.0,))}, "for 1 bands"),
    ],
)
def test_what_cannot_be_built_says_why(arguments, message):
    with pytest.raises(OptionError) as caught:
        build(**arguments)
    assert message in str(caught.value)


def test_the_table_names_papers():
    assert {(row.kind, row.name) for row in entries()} == {("model", n) for n in DECODERS} | {
        ("encoder", n) for n in ENCODERS
    }
    assert all("20" in row.paper for row in entries())
