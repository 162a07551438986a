"""The contract that every encoder, decoder and upsampling keeps, at an eighth of the width; at full width under `slow`.

A row in a table of the zoo is all that a new network needs to be tested here.
"""

import functools
import itertools

import pytest
import torch

from pixelwise.errors import OptionError
from pixelwise.models.bundle import load, save
from pixelwise.models.interfaces import EncoderOptions, NetworkOptions
from pixelwise.models.zoo import DECODERS, ENCODERS, build, make_encoder

WIDTH = 0.125
MODES = ("nearest", "bilinear", "transposed", "unpool")
PAIRS = list(itertools.product(DECODERS, ENCODERS))

# decoder -> strides that it needs a map at; `fullres` needs this and no other. Decoders that are named neither here
# nor in COARSE are asked whether they can be built.
NEEDED = {
    "fcn32s": {32},
    "fcn16s": {16, 32},
    "fcn8s": {8, 16, 32},
    "deeplabv3": {8},
    "deeplabv3plus": {4, 16},
    "fullres": {1},
}
COARSE = {"unet", "segnet", "hourglass", "asymmetric_unet"}  # need a map that is smaller than the image
# decoder -> upsamplings that it does not have, although it has the option
NO_UPSAMPLING = {
    "fcn32s": {"unpool"},
    "fcn16s": {"unpool"},
    "fcn8s": {"unpool"},
    "deeplabv3": {"nearest", "transposed", "unpool"},
    "deeplabv3plus": {"unpool"},
}


def upsamplings(model):
    """Those that a decoder has; none where it has no such option."""
    return [mode for mode in MODES if mode not in NO_UPSAMPLING.get(model, ())] * (
        "upsampling" in DECODERS[model].dials
    )


@functools.cache
def levels_of(encoder):
    with torch.device("meta"):
        return make_encoder(encoder, 3, EncoderOptions(width=WIDTH)).levels


@functools.cache
def refused(model, encoder):
    """Whether the pair cannot be joined."""
    strides = {level.stride for level in levels_of(encoder)}
    if model == "fullres":
        return strides != NEEDED[model]
    if model in NEEDED:
        return not NEEDED[model] <= strides
    if model in COARSE:
        return strides == {1}
    try:
        small(model, encoder)
    except OptionError:
        return True
    return False


def narrow(model, encoder, **more):
    """Options for a small network: as many widths as the decoder has blocks, in full depth."""
    levels = levels_of(encoder)
    depth = levels[-1].stride.bit_length() - 1
    if more.get("upsampling") == "unpool":
        depth -= levels[0].stride.bit_length() - 1
    widths = {
        "unet": (8,) * depth,
        "asymmetric_unet": (8,) * depth,
        "segnet": (8,) * (len(levels) - 1),
        "hourglass": (32,),
        "deeplabv3": (16,),
        "deeplabv3plus": (16, 8),
        "fullres": (8, 8),
    } | dict.fromkeys(("fcn32s", "fcn16s", "fcn8s"), (16, 8))
    given = {"encoder_width": WIDTH, "decoder_channels": widths.get(model)} | more
    return NetworkOptions(**given)


def small(model, encoder, *, classes=5, bands=3, seed=0, **more):
    torch.manual_seed(seed)
    options = narrow(model, encoder, **more)
    return build(model, encoder=encoder, classes=classes, bands=bands, options=options)


@pytest.mark.parametrize(("model", "encoder"), PAIRS)
def test_every_pair_is_built_or_refused_with_a_remedy(model, encoder):
    if refused(model, encoder):
        with pytest.raises(OptionError) as caught:
            small(model, encoder)
        assert caught.value.found
        assert caught.value.remedy
        return
    net = small(model, encoder).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, 33, 50)).shape == (1, 5, 33, 50)
        padded = torch.zeros(2, 3, 96, 64)
        assert net.core(padded).shape == (2, 5, 96 // net.decoder.stride, 64 // net.decoder.stride)


ODD = [range(1, 98, 2), range(1, 132, 2)]
SOME = [(h, w) for h, w in itertools.product(*ODD) if h in (1, 33, 97) or w in (1, 63, 131)]
UNPADDED = {"norm": "none", "upsampling": "transposed", "padding": "valid"}


@pytest.mark.parametrize(
    ("encoder", "options", "sizes"),
    [
        ("resnet18", {}, SOME[::5]),
        ("unet", UNPADDED, SOME[::9]),
        pytest.param("resnet18", {}, [*itertools.product(*ODD)], marks=pytest.mark.slow),
        pytest.param("unet", UNPADDED, [*itertools.product(*ODD)], marks=pytest.mark.slow),
    ],
    ids=["some", "some unpadded", "all 3234", "all unpadded"],
)
def test_every_odd_size(encoder, options, sizes):
    net = small("unet", encoder, classes=3, **options).to("meta").eval()
    with torch.inference_mode():
        for height, width in sizes:
            images = torch.empty(1, 3, height, width, device="meta")
            assert net(images).shape == (1, 3, height, width)


def without_gradient(net, bands):
    """Names of the parameters that a training step does not reach."""
    net.train()
    sum(logits.square().mean() for logits in net.every(torch.randn(2, bands, 64, 64))).backward()
    return [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


VARIANTS = [
    {"one_logit": True, "dropout": 0.5},
    {"norm": "group", "squeeze_excitation": True},
    {"norm": "none", "stacks": 2, "rates": (2, 3), "head_kernel": 1, "patch": (32, 16)},
]


@pytest.mark.parametrize("model", DECODERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_options_keep_the_contract(model, variant, tmp_path):
    heeded = {"norm", "dropout", "one_logit"} | DECODERS[model].dials
    more = {key: value for key, value in variant.items() if key in heeded}
    encoder = "image" if model == "fullres" else "resnet18"
    net = small(model, encoder, classes=2, **more)
    assert without_gradient(net, 3) == []
    twin = load(save(net.eval(), tmp_path / "net.safetensors"))
    images = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        assert torch.equal(net(images), twin(images))
        assert net(images).shape[1] == (1 if more.get("one_logit") else 2)
    assert twin.options == net.options


@pytest.mark.parametrize(("model", "mode"), [*itertools.product(DECODERS, MODES)])
def test_an_upsampling_that_a_decoder_lacks_is_refused(model, mode):
    if mode not in upsamplings(model):
        with pytest.raises(OptionError) as caught:
            small(model, "image" if model == "fullres" else "resnet18", upsampling=mode)
        assert caught.value.remedy


TRIPLES = [
    (model, encoder, mode)
    for model, encoder in PAIRS
    if not refused(model, encoder)
    for mode in upsamplings(model) or [None]
]
BANDS = itertools.cycle([1, 3, 5])
TRIPLES_BANDS = [(*triple, next(BANDS)) for triple in TRIPLES]


def keeps_the_contract(make, bands, sizes, tmp_path):
    """Any size, the same twice, traced, saved and loaded, in bfloat16, and a gradient for every parameter."""
    net, twin = make().eval(), make().eval()
    with torch.inference_mode():
        for size in sizes:
            images = torch.randn(1, bands, *size)
            logits = net(images)
            assert logits.shape == (1, 5, *size)
            assert logits.isfinite().all()
            assert torch.equal(logits, net(images))
        assert torch.equal(logits, twin(images))
        loaded = load(save(net, tmp_path / "net.safetensors"))
        assert torch.equal(logits, loaded(images))
        assert loaded.classes == net.classes
        assert (loaded.options, loaded.normalization) == (net.options, net.normalization)
        with torch.autocast("cpu", torch.bfloat16):
            assert net(images).isfinite().all()
        padded, pair = torch.randn(1, bands, 64, 64), torch.nn.Sequential(net.encoder, net.decoder)
        assert torch.equal(torch.fx.symbolic_trace(pair)(padded), pair(padded))  # no step depends on values
    assert without_gradient(net, bands) == []


@pytest.mark.parametrize(("model", "encoder", "mode", "bands"), TRIPLES_BANDS)
def test_the_contract(model, encoder, mode, bands, tmp_path):
    make = functools.partial(small, model, encoder, bands=bands, upsampling=mode)
    keeps_the_contract(make, bands, [(1, 1), (31, 45)], tmp_path)


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_any_number_of_bands(encoder, bands):
    """Of which only the encoder knows."""
    net = small("patch", encoder, bands=bands).eval()
    with torch.inference_mode():
        assert net(torch.randn(1, bands, 33, 50)).shape == (1, 5, 33, 50)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "encoder", "mode", "bands"), TRIPLES_BANDS)
def test_the_contract_at_full_width(model, encoder, mode, bands, tmp_path):
    def make():
        torch.manual_seed(0)
        options = NetworkOptions(upsampling=mode)
        return build(model, encoder=encoder, classes=5, bands=bands, options=options)

    keeps_the_contract(make, bands, [(33, 50)], tmp_path)


def test_padding_does_not_move_coordinates():
    """The logits of an image equal those of the same image repeated at its bottom and right edge."""
    net = small("unet", "resnet18", classes=3).eval()
    images = torch.randn(1, 3, 40, 50)
    wider = torch.nn.functional.pad(images, (0, 14, 0, 24), mode="replicate")
    with torch.inference_mode():
        assert torch.allclose(net(images), net(wider)[..., :40, :50], atol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_every_network_can_be_built_by_its_name_alone(name):
    with torch.device("meta"):
        net = build(name)
    assert net.encoder_name == ("image" if name == "fullres" else "resnet18")
