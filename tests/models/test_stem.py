"""First layers for other numbers of bands."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.models.encoders.stem import adapt_stem
from pixelwise.models.interfaces import EncoderOptions
from pixelwise.models.zoo import ENCODERS, make_encoder


@pytest.mark.parametrize("name", [n for n in ENCODERS if n != "image"])
def test_the_stem_is_the_layer_that_sees_the_bands(name):
    with torch.device("meta"):
        encoder = make_encoder(name, 5, EncoderOptions())
        assert encoder.get_submodule(encoder.stem).in_channels == 5
        others = make_encoder(name, 3, EncoderOptions()).state_dict()
    key = f"{encoder.stem}.weight"
    differ = [k for k, v in encoder.state_dict().items() if v.shape != others[k].shape]
    assert differ == [key]


@given(bands=st.integers(1, 9), before=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_an_adapted_stem_answers_a_grey_image_as_before(bands, before, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, before, 3, 3, generator=generator, dtype=torch.float64)
    grey = torch.randn(1, 1, 9, 9, generator=generator, dtype=torch.float64)
    old = F.conv2d(grey.expand(-1, before, -1, -1), weight)
    adapted = adapt_stem(weight, bands)
    assert adapted.shape == (4, bands, 3, 3)
    assert torch.allclose(F.conv2d(grey.expand(-1, bands, -1, -1), adapted), old, atol=1e-12)
    if bands == before:
        assert torch.equal(adapted, weight)


@pytest.mark.parametrize(("name", "bands"), [("resnet18", 4), ("vgg16", 1), ("mobilenet_v1", 12)])
def test_adapted_stems_load_strictly(name, bands):
    """A grey image, repeated to any number of bands, gives the maps of the network for three."""
    torch.manual_seed(0)
    three, other = (make_encoder(name, n, EncoderOptions(width=0.125)).eval() for n in (3, bands))
    state, key = three.state_dict(), f"{three.stem}.weight"
    other.load_state_dict({**state, key: adapt_stem(state[key], bands)})
    grey = torch.rand(1, 1, 32, 32)
    maps = zip(three(grey.expand(-1, 3, -1, -1)), other(grey.expand(-1, bands, -1, -1)), strict=True)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in maps)
