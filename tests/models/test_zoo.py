"""The contract that every encoder with every decoder keeps.

Here at an eighth of the encoders' width and with narrow decoders; at full width under `slow`. A decoder knows an
encoder by its levels alone, so all pairs and upsamplings are checked for their sizes, and the rest of the contract
for the pairs of `REAL`, where the levels differ in kind.
"""

import copy
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

# decoder -> strides that it needs a map at; `fullres` needs this and no other
NEEDED = {
    "fcn32s": {32},
    "fcn16s": {16, 32},
    "fcn8s": {8, 16, 32},
    "deeplabv3": {8},
    "deeplabv3plus": {4, 16},
    "fullres": {1},
}
# decoder -> upsamplings that it does not have
NO_UPSAMPLING = {
    "fcn32s": {"unpool"},
    "fcn16s": {"unpool"},
    "fcn8s": {"unpool"},
    "deeplabv3": {"nearest", "transposed", "unpool"},
    "deeplabv3plus": {"unpool"},
    "fullres": set(MODES),
    "patch": set(MODES),
}


@functools.cache
def levels_of(encoder):
    with torch.device("meta"):
        return make_encoder(encoder, 3, EncoderOptions(width=WIDTH)).levels


def refused(model, encoder):
    strides = {level.stride for level in levels_of(encoder)}
    if model == "fullres":
        return strides != NEEDED[model]
    if model in NEEDED:
        return not NEEDED[model] <= strides
    return strides == {1} and model != "patch"


REAL = [
    (m, e) for m, e in PAIRS if not refused(m, e) and (e in ("resnet18", "vgg16", "image") or m == "unet")
]
BANDS = itertools.cycle([1, 3, 5])
REAL_BANDS = [(m, e, next(BANDS)) for m, e in REAL]


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
        "patch": None,
    } | dict.fromkeys(("fcn32s", "fcn16s", "fcn8s"), (16, 8))
    given = {"encoder_width": WIDTH, "decoder_channels": widths.get(model)} | more
    return NetworkOptions(**given)


def small(model, encoder, *, classes=5, bands=3, seed=0, **more):
    torch.manual_seed(seed)
    options = narrow(model, encoder, **more)
    return build(model, encoder=encoder, classes=classes, bands=bands, options=options)


@functools.cache
def shared(model, encoder, bands):
    """For tests that leave the network as it is."""
    return small(model, encoder, bands=bands).eval()


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


SIZES = [(1, 1), (1, 67), (41, 1), (31, 33), (64, 64)]


@pytest.mark.parametrize(("model", "encoder", "bands"), REAL_BANDS)
def test_logits_have_the_size_of_the_image_and_come_out_the_same_twice(model, encoder, bands):
    net, twin = shared(model, encoder, bands), small(model, encoder, bands=bands).eval()
    with torch.inference_mode():
        for size in SIZES:
            images = torch.randn(1, bands, *size)
            logits = net(images)
            assert logits.shape == (1, 5, *size)
            assert logits.isfinite().all()
            assert torch.equal(logits, net(images))
        assert torch.equal(logits, twin(images))


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


@pytest.mark.parametrize(("model", "encoder", "bands"), REAL_BANDS)
def test_every_parameter_gets_a_gradient(model, encoder, bands):
    assert without_gradient(copy.deepcopy(shared(model, encoder, bands)), bands) == []


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
@pytest.mark.parametrize("encoder", ["resnet18", "vgg16"])
def test_every_upsampling_is_done_or_refused(model, encoder, mode):
    encoder = "image" if model == "fullres" else encoder
    if mode in NO_UPSAMPLING.get(model, ()):
        with pytest.raises(OptionError) as caught:
            small(model, encoder, upsampling=mode)
        assert caught.value.remedy
        return
    net = small(model, encoder, upsampling=mode)
    assert without_gradient(net, 3) == []
    with torch.inference_mode():
        assert net.eval()(torch.randn(1, 3, 31, 45)).shape == (1, 5, 31, 45)


@pytest.mark.parametrize(("model", "encoder", "bands"), REAL_BANDS)
def test_bfloat16_gives_finite_logits(model, encoder, bands):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = shared(model, encoder, bands)(torch.randn(1, bands, 33, 50))
    assert logits.shape == (1, 5, 33, 50)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("model", "encoder", "bands"), REAL_BANDS)
def test_save_and_load_give_equal_logits(model, encoder, bands, tmp_path):
    net = shared(model, encoder, bands)
    twin = load(save(net, tmp_path / "net.safetensors"))
    images = torch.randn(1, bands, 40, 56)
    with torch.inference_mode():
        assert torch.equal(net(images), twin(images))
    assert twin.classes == net.classes
    assert (twin.options, twin.normalization) == (net.options, net.normalization)


@pytest.mark.parametrize(("model", "encoder", "bands"), REAL_BANDS)
def test_encoder_and_decoder_can_be_traced(model, encoder, bands):
    """Symbolically: no step of the computation depends on values."""
    net = shared(model, encoder, bands)
    pair = torch.nn.Sequential(net.encoder, net.decoder)
    images = torch.randn(1, bands, 64, 64)
    with torch.inference_mode():
        assert torch.equal(torch.fx.symbolic_trace(pair)(images), pair(images))


TRIPLES = [
    (model, encoder, mode)
    for model, encoder in PAIRS
    if not refused(model, encoder)
    for mode in MODES
    if mode not in NO_UPSAMPLING.get(model, ())
]
TRIPLES += [
    (*pair, None) for pair in PAIRS if not refused(*pair) and NO_UPSAMPLING.get(pair[0]) == set(MODES)
]
TRIPLES_BANDS = [(*triple, next(BANDS)) for triple in TRIPLES]


# Levels differ in kind between these and the encoders of the test before; the others announce the same as one of them.
OTHER_LEVELS = ("alexnet", "googlenet", "unet", "lenet")


@pytest.mark.parametrize(
    ("model", "encoder", "mode", "bands"), [row for row in TRIPLES_BANDS if row[1] in OTHER_LEVELS]
)
def test_every_upsampling_on_levels_of_other_kinds(model, encoder, mode, bands):
    """For their sizes, without values."""
    with torch.device("meta"):
        net = small(model, encoder, bands=bands, upsampling=mode).eval()
        assert net(torch.empty(1, bands, 31, 45)).shape == (1, 5, 31, 45)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "encoder", "mode", "bands"), TRIPLES_BANDS)
def test_the_contract_at_full_width(model, encoder, mode, bands, tmp_path):
    torch.manual_seed(0)
    net = build(
        model, encoder=encoder, classes=5, bands=bands, options=NetworkOptions(upsampling=mode)
    ).eval()
    images = torch.randn(1, bands, 33, 50)
    with torch.inference_mode():
        logits = net(images)
        assert logits.shape == (1, 5, 33, 50)
        assert logits.isfinite().all()
        assert torch.equal(logits, net(images))
        with torch.autocast("cpu", torch.bfloat16):
            assert net(images).isfinite().all()
        assert torch.equal(logits, load(save(net, tmp_path / "net.safetensors"))(images))
    assert without_gradient(net, bands) == []


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
