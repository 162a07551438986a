"""Batches depend on the seed and the step alone."""

import numpy as np
import pytest
import torch

from pixelwise.data.loader import ImageCache, Loader, halve
from pixelwise.data.transforms import AugmentOptions
from pixelwise.types import Normalization, Sample


class Few:
    """Five images of different sizes."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        size = (20 + index, 31 - index)
        image = rng.integers(0, 256, (*size, 2)).astype(np.uint8)
        return Sample(f"image{index}", image, rng.integers(0, 3, size).astype(np.uint8))


def loader(cache, seed=0, batch=3):
    normalization = Normalization((100.0, 100.0), (50.0, 50.0))
    return Loader(cache, batch=batch, normalization=normalization, augment=AugmentOptions(), seed=seed)


def test_same_step_same_batch_whatever_came_before():
    cache = ImageCache(Few())
    one, two = loader(cache), loader(cache)
    for step in range(4):
        one.batch(step, (16, 16))
    a, b = one.batch(7, (16, 16)), two.batch(7, (16, 16))
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.labels, b.labels)
    assert a.names == b.names
    assert not torch.equal(a.images, loader(cache, seed=1).batch(7, (16, 16)).images)


@pytest.mark.parametrize("batch", [1, 3, 5, 8])
def test_every_epoch_shows_every_image_once(batch):
    source = loader(ImageCache(Few()), batch=batch)
    shown = [index for step in range(40) for index in source.indices(step)]
    for epoch in range(len(shown) // 5):
        assert sorted(shown[5 * epoch : 5 * epoch + 5]) == [0, 1, 2, 3, 4]
    assert len({tuple(shown[5 * e : 5 * e + 5]) for e in range(8)}) > 1


def test_a_file_holds_what_memory_holds():
    ram, disk = ImageCache(Few(), where="ram"), ImageCache(Few(), where="disk")
    assert isinstance(disk.get(0, coarse=False)[0], np.memmap)
    for index in range(5):
        for coarse in (False, True):
            for a, b in zip(ram.get(index, coarse=coarse), disk.get(index, coarse=coarse), strict=True):
                assert np.array_equal(a, b)
    a, b = loader(ram).batch(2, (16, 16)), loader(disk).batch(2, (16, 16))
    assert torch.equal(a.images, b.images)


def test_coarse_batches_come_from_half_resolution():
    cache = ImageCache(Few())
    image, labels = cache.get(1, coarse=True)
    assert image.shape[:2] == labels.shape == (11, 15)
    batch = loader(cache).batch(0, (8, 8), coarse=True)
    assert batch.images.shape == (3, 2, 8, 8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_halving_equals_a_plain_loop():
    image = np.random.default_rng(0).integers(0, 60000, (5, 4, 2)).astype(np.uint16)
    got = halve(image)
    for row in range(3):
        for column in range(2):
            block = image[[2 * row, min(2 * row + 1, 4)]][:, [2 * column, 2 * column + 1]]
            assert np.abs(got[row, column] - block.reshape(-1, 2).mean(0)).max() <= 0.5
