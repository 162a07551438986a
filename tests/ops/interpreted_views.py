"""Views made on accelerators, by Triton's interpreter, judged by those of processors; test_triton starts them."""

import numpy as np
import pytest
import torch

from pixelwise.data import ondevice
from pixelwise.data.assemble import _plain
from pixelwise.data.loader import ImageCache, Loader
from pixelwise.data.ondevice import DeviceViews
from pixelwise.data.transforms import AugmentOptions, random_colors, random_view
from pixelwise.ops import cards
from pixelwise.types import Normalization, Sample

CPU = torch.device("cpu")
CROPS = AugmentOptions(flip=True, flip_vertical=False, scale=(1, 1), color=0.3)
QUARTERS = AugmentOptions(flip=True, flip_vertical=True, scale=(1, 1), color=0)
ZOOMS = AugmentOptions(scale=(0.6, 1.8), color=0.2)
TURNS = AugmentOptions(scale=(0.7, 1.5), rotation=40, flip_vertical=True, color=0.1)


def samples(dtype, bands, count=4):
    rng = np.random.default_rng(bands)
    high = {"uint8": 256, "uint16": 60000, "float32": 1}[dtype]
    found = []
    for index in range(count):
        shape = (19 + 3 * index, 31 - 2 * index)
        image = (rng.random((*shape, bands)) * high).astype(dtype)
        found.append(Sample(f"{index}", image, rng.integers(0, 5, shape).astype(np.uint8)))
    return found


def normal(dtype, bands):
    scale = {"uint8": 255, "uint16": 60000, "float32": 1}[dtype]
    return Normalization(tuple(0.4 * scale + np.arange(bands)), (0.25 * scale,) * bands)


@pytest.mark.parametrize("room", [1 << 30, 0], ids=["kept there", "sent"])
@pytest.mark.parametrize("options", [CROPS, QUARTERS, ZOOMS, TURNS], ids=["crop", "quarter", "zoom", "turn"])
@pytest.mark.parametrize(("dtype", "bands"), [("uint8", 3), ("uint16", 5), ("float32", 1)])
def test_views(dtype, bands, options, room):
    cache = ImageCache(samples(dtype, bands))
    rng = np.random.default_rng(0)
    chosen, size = [2, 0, 3, 1, 2, 2], (16, 24)
    for coarse in (False, True):
        pairs = [cache.get(index, coarse=coarse) for index in chosen]
        views = [random_view(labels.shape, size, options, rng) for _, labels in pairs]
        change = random_colors(len(pairs), bands, options.color, rng)
        images, truth = _plain(pairs, views, size, normal(dtype, bands), change)
        made = DeviceViews(cache, CPU, normal(dtype, bands), room=room)
        found, labels = made.batch(chosen, views, size, change, coarse=coarse)
        assert found.dtype == torch.float32 and labels.dtype == torch.uint8
        assert found.is_contiguous(memory_format=torch.channels_last)
        same = (truth == 255) == (labels == 255)
        if options in (CROPS, QUARTERS):
            assert torch.equal(labels, truth)
        else:  # pixels in the middle between two, and on the border, go either way
            assert (labels != truth).float().mean() < 0.01
        torch.testing.assert_close(
            found.movedim(1, -1)[same], images.movedim(1, -1)[same], rtol=1e-4, atol=1e-4
        )
        assert (truth != 255).any()
        assert not coarse or (truth == 255).any()  # halves are smaller than views


def test_the_loader_makes_them_there(monkeypatch):
    """Whole batches, of images in a file too; what the processor makes are the judge."""
    drawn = samples("uint8", 3)
    given = {"batch": 3, "normalization": normal("uint8", 3), "augment": ZOOMS, "seed": 5}
    here = [Loader(ImageCache(drawn), **given).batch(step, (12, 20), coarse=bool(step)) for step in (0, 1)]
    monkeypatch.setattr(cards, "CARDS", ("cpu",))
    monkeypatch.setattr(ondevice, "_free", lambda device: 1 << 20)
    for where in ("ram", "disk"):
        loader = Loader(ImageCache(drawn, where=where), **given)
        assert loader._on_device is not None
        for step, right in enumerate(here):
            batch = loader.batch(step, (12, 20), coarse=bool(step))
            assert batch.names == right.names
            assert (batch.labels != right.labels).float().mean() < 0.01
            assert ((batch.images - right.images).abs() > 1e-3).float().mean() < 0.01


def test_images_that_do_not_fit_are_sent():
    cache = ImageCache(samples("uint8", 3))
    needed = sum(
        image.nbytes + labels.nbytes for image, labels in (cache.get(i, coarse=True) for i in range(4))
    )
    made = DeviceViews(cache, CPU, normal("uint8", 3), room=needed)
    rng = np.random.default_rng(0)
    for coarse in (False, True):
        view = random_view(cache.get(0, coarse=coarse)[1].shape, (4, 4), CROPS, rng)
        made.batch([0], [view], (4, 4), random_colors(1, 3, 0, rng), coarse=coarse)
    assert made._kept[False] is None and made._kept[True] is not None and made.room == 0
