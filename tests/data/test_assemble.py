"""Batches from the kernels, judged by torch's own sampling and by slices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.data import assemble as module
from pixelwise.data.assemble import assemble
from pixelwise.data.transforms import AugmentOptions, View, random_colors, random_view
from pixelwise.ops import native
from pixelwise.types import Normalization

EYE = ((1.0, 0.0), (0.0, 1.0))


@pytest.fixture(autouse=True)
def with_kernels(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(module, "_WORTH", 0)


def scenes(shape, bands, dtype, count=3, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 200, (count, *shape, bands)).astype(dtype)
    return list(zip(images, rng.integers(0, 6, (count, *shape)).astype(np.uint8), strict=True))


def normalization(bands):
    return Normalization(tuple(90.0 + k for k in range(bands)), tuple(40.0 + k for k in range(bands)))


def _halfway(view, size):
    """Where the nearest pixel is decided by rounding: between two, or at the border."""
    (a, b), (c, d) = view.matrix
    rows, columns = np.arange(size[0]) - (size[0] - 1) / 2, np.arange(size[1]) - (size[1] - 1) / 2
    y = a * rows[:, None] + b * columns + view.center[0]
    x = c * rows[:, None] + d * columns + view.center[1]
    return (abs(y - np.rint(y)) < 1e-4) | (abs(x - np.rint(x)) < 1e-4)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    bands=st.integers(1, 5),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    rotation=st.sampled_from([0.0, 20.0]),
    vertical=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_kernels_and_torch_agree(shape, size, bands, dtype, rotation, vertical, seed):
    rng = np.random.default_rng(seed)
    options = AugmentOptions(scale=(0.6, 1.7), rotation=rotation, flip_vertical=vertical)
    pairs = scenes(shape, bands, dtype, seed=seed)
    views = [random_view(shape, size, options, rng) for _ in pairs]
    given_ = (pairs, views, size, normalization(bands), random_colors(3, bands, 0.3, rng))
    images, labels = assemble(*given_)
    expected, truth = module._plain(*given_)
    assert images.shape == expected.shape
    assert images.is_contiguous(memory_format=torch.channels_last)
    same = labels == truth
    halfway = torch.from_numpy(np.stack([_halfway(view, size) for view in views]))
    assert same[~halfway].all()
    both = same[:, None].expand_as(images)
    assert (images - expected)[both].abs().max() < 2e-3


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_a_view_without_zoom_is_a_slice(mirror):
    ((image, labels),) = scenes((24, 30), 3, np.uint8, count=1)
    view = View((10.0, 12.0), ((1.0, 0.0), (0.0, mirror)))
    same_light = random_colors(1, 3, 0.0, np.random.default_rng(0))
    images, truth = assemble([(image, labels)], [view], (8, 6), Normalization((0,) * 3, (1,) * 3), same_light)
    step = int(mirror)
    assert np.array_equal(truth[0].numpy(), labels[6:14, 9:15][:, ::step])
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), image[6:14, 9:15][:, ::step])


def test_the_outside_has_the_mean_in_the_light_of_its_image():
    change = random_colors(1, 3, 0.5, np.random.default_rng(0))
    for matrix in (EYE, ((1.0, 1e-7), (-1e-7, 1.0))):
        views = [View((2.0, 2.0), matrix)]
        images, labels = assemble(
            scenes((4, 4), 3, np.uint8, count=1), views, (8, 8), normalization(3), change
        )
        outside = np.ones((8, 8), bool)
        outside[2:6, 2:6] = False
        assert (labels[0].numpy() == 255).tolist() == outside.tolist()
        assert np.allclose(images[0].numpy()[:, outside].T, change.shift[0], atol=1e-6)


def test_threads_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    views = [random_view((90, 80), (150, 130), AugmentOptions(), rng) for _ in range(3)]
    change = random_colors(3, 2, 0.2, rng)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(native, "threads", lambda threads=threads: threads)
        pairs = scenes((90, 80), 2, np.uint8)
        results.append(assemble(pairs, views, (150, 130), normalization(2), change))
    for images, labels in results[1:]:
        assert torch.equal(images, results[0][0])
        assert torch.equal(labels, results[0][1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("rotation", [0.0, 20.0])
def test_images_that_cannot_be_written_to_are_taken(dtype, rotation, monkeypatch):
    rng = np.random.default_rng(0)
    pairs = scenes((20, 30), 3, dtype)
    views = [random_view((20, 30), (16, 16), AugmentOptions(rotation=rotation), rng) for _ in pairs]
    change = random_colors(3, 3, 0.2, rng)
    expected = assemble(pairs, views, (16, 16), normalization(3), change)
    for array in (array for pair in pairs for array in pair):
        array.flags.writeable = False
    monkeypatch.setattr(module, "_plain", None)  # not a way round the kernels
    found = assemble(pairs, views, (16, 16), normalization(3), change)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
