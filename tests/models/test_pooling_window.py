"""Pools over windows in place of the whole image, judged by slices and by the networks without them."""

import pytest
import torch

from pixelwise.models.blocks import WindowPool
from pixelwise.models.decoders.asymmetric import AsymmetricUNet
from pixelwise.models.decoders.deeplab import DeepLabV3
from pixelwise.models.decoders.segnet import SegNet
from pixelwise.models.decoders.unet import UNet
from pixelwise.models.interfaces import Level, NetworkOptions

LEVELS = [Level(4, 2), Level(6, 4), Level(8, 8), Level(10, 16), Level(12, 32)]


def test_a_window_pool_averages_what_of_the_window_is_there():
    """Windows of five cells of 4 x 4 values, written as slices."""
    x = torch.randn(2, 3, 24, 40, dtype=torch.double)
    found = WindowPool(30, cell=8, stride=2)(x)
    assert found.shape == (2, 3, 6, 10)
    for row in range(6):
        for column in range(10):
            part = x[..., max(0, 4 * row - 8) : 4 * row + 12, max(0, 4 * column - 8) : 4 * column + 12]
            torch.testing.assert_close(found[..., row, column], part.mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "levels", "options"),
    [
        (AsymmetricUNet, LEVELS, {}),
        (UNet, LEVELS, {"squeeze_excitation": True, "decoder_channels": (8, 8, 8)}),
        (SegNet, LEVELS, {"squeeze_excitation": True}),
        (DeepLabV3, [Level(3, 4), Level(4, 8)], {"squeeze_excitation": True}),
    ],
)
def test_a_window_over_the_image_is_the_whole_image(model, levels, options):
    torch.manual_seed(0)
    whole = model(levels, NetworkOptions(**options), 3).double().eval()
    windowed = model(levels, NetworkOptions(**options, pooling_window=2 * 160), 3).double().eval()
    windowed.load_state_dict(whole.state_dict())
    maps = [
        torch.randn(1, level.channels, 160 // level.stride, 96 // level.stride, dtype=torch.double)
        for level in levels
    ]
    torch.testing.assert_close(windowed(maps), whole(maps), rtol=1e-12, atol=1e-12)
    narrow = model(levels, NetworkOptions(**options, pooling_window=32), 3).double().eval()
    narrow.load_state_dict(whole.state_dict())
    assert (narrow(maps) - whole(maps)).abs().max() > 1e-9
