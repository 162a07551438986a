"""Views of image and labels together, judged by slicing and by laws."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.data.transforms import AugmentOptions, View, cut, random_colors, random_view
from pixelwise.errors import OptionError

FILL = torch.tensor([-1.0])
PLAIN = AugmentOptions(flip=False, scale=(1, 1), color=0)
EYE = ((1.0, 0.0), (0.0, 1.0))


def scene(height=24, width=30, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, (height, width)).astype(np.uint8)
    return labels[..., None].copy(), labels


def test_a_plain_view_is_a_slice():
    image, labels = scene()
    pixels, truth = cut(image, labels, View((10.0, 12.0), EYE), (8, 6), FILL)
    assert np.array_equal(truth.numpy(), labels[6:14, 9:15])
    assert np.array_equal(pixels.numpy()[0], labels[6:14, 9:15])


@pytest.mark.parametrize("angle", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_quarter_turns_are_exact(angle, mirror):
    image, labels = scene(20, 20)
    cos, sin = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][angle]
    view = View((10.0, 10.0), ((cos, -sin * mirror), (sin, cos * mirror)))
    pixels, truth = cut(image, labels, view, (20, 20), FILL)
    candidates = [np.rot90(labels, k) for k in range(4)]
    candidates += [np.rot90(labels, k)[:, ::-1] for k in range(4)]
    matches = [k for k, candidate in enumerate(candidates) if np.array_equal(truth.numpy(), candidate)]
    assert len(matches) == 1
    assert (matches[0] >= 4) == (mirror < 0)
    assert np.allclose(pixels.numpy()[0], truth.numpy(), atol=1e-4)


def test_the_outside_is_ignored_and_filled():
    image, labels = scene(4, 4)
    for view in (View((2.0, 2.0), EYE), View((2.0, 2.0), ((1.0, 1e-6), (-1e-6, 1.0)))):
        pixels, truth = cut(image, labels, view, (8, 8), FILL)
        assert np.array_equal(truth.numpy()[2:6, 2:6], labels)
        outside = np.ones((8, 8), bool)
        outside[2:6, 2:6] = False
        assert (truth.numpy()[outside] == 255).all()
        assert (pixels.numpy()[0][outside] == -1).all()


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    rotation=st.sampled_from([0.0, 15.0, 180.0]),
    vertical=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_views_invent_nothing(shape, size, rotation, vertical, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([1, 4, 9, 255], np.uint8), shape)
    image = labels[..., None].astype(np.uint16) * 100
    options = AugmentOptions(scale=(0.5, 2.0), rotation=rotation, flip_vertical=vertical)
    pixels, truth = cut(image, labels, random_view(shape, size, options, rng), size, FILL)
    assert pixels.shape == (1, *size)
    assert truth.shape == size
    assert truth.dtype == torch.uint8
    assert set(truth.unique().tolist()) <= set(np.unique(labels).tolist()) | {255}
    assert pixels.isfinite().all()
    assert pixels.max() <= image.max() + 0.1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_image_and_labels_stay_together(seed):
    """A smooth ramp as image and its rounding as labels: they agree after any view."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:60, :60]
    ramp = (rows + columns) / 2
    labels = np.rint(ramp).astype(np.uint8)
    options = AugmentOptions(scale=(0.7, 1.4), rotation=30, flip_vertical=True)
    view = random_view((60, 60), (40, 40), options, rng)
    pixels, truth = cut(ramp[..., None].astype(np.float32), labels, view, (40, 40), FILL)
    inside = truth != 255
    assert inside.any()
    assert (pixels[0][inside] - truth[inside].float()).abs().max() <= 1.6


@pytest.mark.parametrize("shape", [(50, 70), (8, 8)])
def test_views_without_zoom_lie_inside_or_cover_everything(shape):
    rng = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint8)
    for _ in range(50):
        view = random_view(shape, (16, 16), PLAIN, rng)
        _, truth = cut(labels[..., None], labels, view, (16, 16), FILL)
        assert int((truth == 0).sum()) == min(16, shape[0]) * min(16, shape[1])


def test_other_light_is_per_image_and_can_be_off():
    images = torch.randn(2, 5, 4, 4)
    assert torch.equal(random_colors(2, 5, 0.0, np.random.default_rng(0)).apply(images), images)
    changed = random_colors(2, 5, 0.3, np.random.default_rng(0)).apply(torch.ones(2, 5, 4, 4))
    assert changed[0].std((1, 2)).max() < 1e-6  # one shift per band and image
    assert not torch.allclose(changed[0], changed[1])


@pytest.mark.parametrize("values", [{"scale": (0, 1)}, {"rotation": 200}, {"color": -1}])
def test_options_out_of_range(values):
    with pytest.raises(OptionError):
        AugmentOptions(**values)
