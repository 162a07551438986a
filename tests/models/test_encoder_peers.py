"""Encoders against torchvision, timm and segmentation_models_pytorch, where they are installed.

They may have been built for another torch than is here, which the shim of the benchmarks gets over; none of their
compiled operators is used.
"""

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
import torch

from pixelwise.errors import OptionError
from pixelwise.models.encoders.stem import adapt_stem
from pixelwise.models.interfaces import EncoderOptions
from pixelwise.models.zoo import make_encoder

pytestmark = pytest.mark.peers

SHIM = Path(__file__).parents[2] / "benchmarks" / "torchvision_shim.py"


@pytest.fixture(scope="module")
def peer():
    """A function from the name of a library to it; the test is skipped where it is not installed."""

    def find(name):
        for needed in ("torchvision", name.split(".")[0]):
            if importlib.util.find_spec(needed) is None:
                pytest.skip(f"{needed} is not installed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _import_torchvision()
            return importlib.import_module(name)

    return find


def _import_torchvision():
    try:
        import torchvision  # noqa: F401
    except RuntimeError:  # its operators do not fit this torch
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        spec = importlib.util.spec_from_file_location("torchvision_shim", SHIM)
        shim = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(shim)
        shim.install()
        importlib.import_module("torchvision")


CLASSIFIERS = [
    ("alexnet", "torchvision.models", "alexnet", 224),
    ("vgg16", "torchvision.models", "vgg16", 64),
    ("vgg16_bn", "torchvision.models", "vgg16_bn", 64),
    ("googlenet", "torchvision.models", "googlenet", 96),
    ("resnet18", "torchvision.models", "resnet18", 65),
    ("resnet34", "torchvision.models", "resnet34", 64),
    ("resnet50", "torchvision.models", "resnet50", 64),
    ("xception", "timm.models.xception", "legacy_xception", 99),
]
MORE = {"googlenet": {"aux_logits": False, "init_weights": False}, "legacy_xception": {"num_classes": 50}}


@pytest.mark.parametrize(("name", "library", "builder", "edge"), CLASSIFIERS)
def test_a_peers_weights_load_strictly_and_give_its_logits(peer, name, library, builder, edge):
    options = {"num_classes": 50, **MORE.get(builder, {})}
    theirs = disturbed(getattr(peer(library), builder)(**options))
    encoder, head = twin(name, theirs)
    images = torch.randn(2, 3, edge, edge, generator=torch.Generator().manual_seed(1))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        for network in (theirs, encoder, head):
            network.to(dtype)
        with torch.inference_mode():
            wanted, found = theirs(images.to(dtype)), head(encoder(images.to(dtype))[-1])
        assert wanted.std() > 1e-6
        assert (found - wanted).abs().max() <= tolerance * wanted.abs().max()


def twin(name, theirs):
    """Our encoder and head with the weights of a peer's classifier, all of them and no others."""
    with torch.device("meta"):
        encoder = make_encoder(name, 3, EncoderOptions(padding="paper"))
        head = encoder.paper_head(50, None)
    head_keys = {our_name(key): key for key in head.state_dict()}
    state = theirs.state_dict()
    encoder.load_state_dict({k: v for k, v in state.items() if k not in head_keys}, assign=True)
    head.load_state_dict({head_keys[k]: v for k, v in state.items() if k in head_keys}, assign=True)
    return encoder.eval(), head.eval()


def our_name(key):
    """The plain pooling head numbers its layers; peers call the dense one `fc`."""
    return key.replace("2.", "fc.", 1) if key.startswith("2.") else key


def disturbed(network):
    """Random weights with statistics of batch normalisation that are not those of the start."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif key.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1, generator=generator)
    return network.eval()


def test_googlenets_auxiliary_logits_are_torchvisions(peer):
    models = peer("torchvision.models")
    theirs = disturbed(models.googlenet(num_classes=50, aux_logits=True, init_weights=False)).double()
    with torch.device("meta"):
        encoder = make_encoder("googlenet", 3, EncoderOptions(padding="paper"))
        head, auxiliary = encoder.paper_head(50), encoder.auxiliary_heads(50)
    state = theirs.state_dict()
    parts = [encoder, head, auxiliary]
    assert set(state) == {key for part in parts for key in part.state_dict()}
    for part in parts:
        part.load_state_dict({key: state[key] for key in part.state_dict()}, assign=True)
        part.eval()
    images = torch.randn(1, 3, 96, 128, dtype=torch.float64)
    theirs.training = True  # asks for the auxiliary logits; dropout and statistics stay as in evaluation
    with torch.inference_mode():
        wanted = theirs(images)
        maps, inner = encoder.with_auxiliary(images)
        found = [head(maps[-1]), auxiliary["aux1"](inner[0]), auxiliary["aux2"](inner[1])]
    for own, other in zip(found, (wanted.logits, wanted.aux_logits1, wanted.aux_logits2), strict=True):
        assert torch.allclose(own, other, rtol=1e-10, atol=1e-14)


def test_googlenet_wants_images_in_minus_1_to_1_where_torchvision_converts(peer):
    models = peer("torchvision.models")
    theirs = models.googlenet(num_classes=50, aux_logits=False, init_weights=False, transform_input=True)
    theirs = disturbed(theirs).double()
    encoder, head = twin("googlenet", theirs)
    pixels = torch.randint(0, 256, (1, 3, 64, 64)).double()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        wanted = theirs((pixels / 255 - mean.double()) / std.double())
        found = head(encoder((pixels - 127.5) / 127.5)[-1])
    assert torch.allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [
        ("resnet18", 32),
        ("resnet18", 16),
        ("resnet50", 8),
        ("vgg16", 32),
        ("vgg16_bn", 32),
        ("xception", 32),
    ],
)
def test_maps_of_aligned_encoders_are_those_of_segmentation_models_pytorch(peer, name, output_stride):
    smp = peer("segmentation_models_pytorch")
    theirs = disturbed(smp.encoders.get_encoder(name, weights=None, output_stride=output_stride)).double()
    options = EncoderOptions(output_stride=None if output_stride == 32 else output_stride)
    own = make_encoder(name, 3, options)
    own.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        wanted, found = theirs(images), own.double().eval()(images)
    if name == "xception":
        wanted[-1] = wanted[-1].relu()  # theirs ends with the normalisation, Chollet's figure 5 with ReLU
    if not name.startswith("vgg"):
        wanted = wanted[1:]  # without the image
    assert len(wanted) == len(found)
    for a, b in zip(wanted, found, strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bands", [1, 3, 6, 9])
def test_adapted_stems_are_timms_where_bands_come_in_threes(peer, bands):
    weight = torch.randn(8, 3, 7, 7)
    theirs = peer("timm.models").adapt_input_conv(bands, weight.clone())
    assert torch.allclose(adapt_stem(weight, bands), theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "output_stride", "levels"),
    [
        ("resnet10t", None, [(64, 2), (64, 4), (128, 8), (256, 16), (512, 32)]),
        ("resnet10t", 8, [(64, 2), (64, 4), (128, 8), (256, 8), (512, 8)]),
        ("mobilenetv3_small_050", 16, [(16, 2), (8, 4), (16, 8), (24, 16), (288, 16)]),
    ],
)
def test_networks_of_timm_announce_their_levels(peer, name, output_stride, levels):
    peer("timm")
    encoder = make_encoder(f"timm:{name}", 5, EncoderOptions(output_stride=output_stride))
    assert [(v.channels, v.stride) for v in encoder.levels] == levels
    assert encoder.training
    assert encoder.get_submodule(encoder.stem).in_channels == 5
    shapes = [m.shape[1:] for m in encoder.eval()(torch.randn(1, 5, 64, 96))]
    assert shapes == [(v.channels, 64 // v.stride, 96 // v.stride) for v in encoder.levels]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet19", {}, "knows no network"),
        ("hf-hub:someone/something", {}, "knows no network"),  # would be fetched
        ("local-dir:/somewhere", {}, "knows no network"),
        ("legacy_xception", {}, "was announced"),
        ("legacy_xception", {"output_stride": 8}, "cannot build"),
        ("vit_tiny_patch16_224", {}, "any size"),
        ("swin_tiny_patch4_window7_224", {}, "any size"),
        ("resnet18", {"width": 0.5}, "one width only"),
        ("resnet18", {"padding": "valid"}, "no form without padding"),
    ],
)
def test_networks_of_timm_that_cannot_serve_say_why(peer, name, options, message):
    peer("timm")
    with pytest.raises(OptionError, match=message):
        make_encoder(f"timm:{name}", 3, EncoderOptions(**options))
