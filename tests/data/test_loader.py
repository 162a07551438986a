"""Batches depend on the seed and the step alone."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from pixelwise.data import assemble
from pixelwise.data import loader as module
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


def test_a_file_of_many_images_is_opened_once():
    """Few processes may have more than 1024 files open, and a map of a file counts as one."""
    pytest.importorskip("resource")
    code = """
import resource
import numpy as np
from pixelwise.data.loader import ImageCache
from pixelwise.types import Sample

class Many:
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return Sample(str(index), np.full((3, 5, 1), index, np.uint8), np.full((3, 5), index, np.uint8))

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
cache = ImageCache(Many(), where="disk")
for coarse in (False, True):
    for index in range(40):
        assert all((array == index).all() for array in cache.get(index, coarse=coarse))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_values_of_several_bytes_lie_in_the_file_as_kernels_want_them(dtype, monkeypatch):
    class Odd(Few):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return Sample(sample.name, sample.image.astype(dtype), sample.labels)

    pytest.importorskip("numba")
    monkeypatch.setattr(assemble, "_WORTH", 0)
    monkeypatch.setattr(assemble, "_plain", None)  # not a way round the kernels
    ram, disk = (loader(ImageCache(Odd(), where=where)) for where in ("ram", "disk"))
    for step in range(3):
        for coarse in (False, True):
            a, b = (one.batch(step, (16, 16), coarse=coarse) for one in (ram, disk))
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.labels, b.labels)


def test_where_memory_ends_the_file_begins(monkeypatch):
    monkeypatch.setattr(module, "RAM_LIMIT", 5000)
    both, ram = ImageCache(Few()), ImageCache(Few(), where="ram")
    kinds = {isinstance(both.get(index, coarse=False)[0], np.memmap) for index in range(5)}
    assert kinds == {True, False}
    for index in range(5):
        for a, b in zip(ram.get(index, coarse=True), both.get(index, coarse=True), strict=True):
            assert np.array_equal(a, b) and a.dtype == b.dtype and a.shape == b.shape


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
