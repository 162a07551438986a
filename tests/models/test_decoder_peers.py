"""Decoders against segmentation_models_pytorch with its weights copied in, where it is installed."""

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
import torch

from pixelwise.models.zoo import build

pytestmark = pytest.mark.peers

SHIM = Path(__file__).parents[2] / "benchmarks" / "torchvision_shim.py"


@pytest.fixture(scope="module")
def smp():
    """The library, beside a torchvision that may have been built for another torch than is here."""
    for needed in ("torchvision", "segmentation_models_pytorch"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision  # noqa: F401
        except RuntimeError:
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
            spec = importlib.util.spec_from_file_location("torchvision_shim", SHIM)
            shim = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(shim)
            shim.install()
        return importlib.import_module("segmentation_models_pytorch")


def twins(theirs, model):
    """Their network with random weights and statistics, and ours with the same, layer after layer."""
    torch.manual_seed(0)
    theirs = theirs(encoder_name="resnet18", encoder_weights=None, in_channels=3, classes=11).eval()
    with torch.no_grad():
        for tensor in theirs.state_dict().values():
            if tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    own = build(model, encoder="resnet18", classes=11).eval()
    given, wanted = theirs.state_dict(), own.state_dict()
    assert len(given) == len(wanted)
    pairs = zip(wanted.items(), given.values(), strict=True)
    own.load_state_dict({name: value for (name, before), value in pairs if before.shape == value.shape})
    return theirs.double(), own.double()


@torch.inference_mode()
def test_the_unet_gives_the_same_logits(smp):
    theirs, own = twins(smp.Unet, "unet")
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    torch.testing.assert_close(own(images), theirs(images), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "model"), [("DeepLabV3", "deeplabv3"), ("DeepLabV3Plus", "deeplabv3plus")])
@torch.inference_mode()
def test_deeplab_gives_the_same_logits_once_corners_are_not_aligned(smp, name, model):
    theirs, own = twins(getattr(smp, name), model)
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    logits = own(images)
    assert not torch.allclose(logits, theirs(images), rtol=1e-2)  # the departure that the docs list
    changed = 0
    for module in theirs.modules():
        if isinstance(module, torch.nn.Upsample):
            module.align_corners = False
            changed += 1
    assert changed == (1 if model == "deeplabv3" else 2)
    torch.testing.assert_close(logits, theirs(images), rtol=1e-10, atol=1e-10)


@torch.inference_mode()
def test_deeplabv3_gives_the_same_logits_before_they_are_enlarged(smp):
    theirs, own = twins(smp.DeepLabV3, "deeplabv3")
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    features = theirs.encoder(images)
    try:
        decoded = theirs.decoder(features)
    except TypeError:  # older versions take them one by one
        decoded = theirs.decoder(*features)
    torch.testing.assert_close(own.core(images), theirs.segmentation_head[0](decoded), rtol=1e-10, atol=1e-10)
