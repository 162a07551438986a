"""Pictures of images and labels: what is shown where, and what stays exact."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.report.pictures import colored, data_uri, display_rgb, error_map, index_png, overlay, png
from pixelwise.types import ClassSpec

CLASSES = [ClassSpec("road", "#ff0000"), ClassSpec("house", "#00ff00"), ClassSpec("tree", "#0000ff")]


def decoded(uri: str) -> NDArray[np.uint8]:
    return np.array(PIL.Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_8_bit_images_are_shown_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    np.testing.assert_array_equal(display_rgb(image), image[:, :, :3])
    np.testing.assert_array_equal(display_rgb(image[:, :, :3]), image[:, :, :3])
    grey = np.repeat(image[:, :, :1], 3, axis=2)
    for one in (image[:, :, 0], image[:, :, :1], image[:, :, :2]):
        np.testing.assert_array_equal(display_rgb(one), grey)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_dtypes_are_stretched_between_two_percentiles(dtype: type) -> None:
    image = np.arange(10_000).reshape(100, 100, 1).astype(dtype)
    shown = display_rgb(image)
    assert shown.dtype == np.uint8 and shown.shape == (100, 100, 3)
    low, high = np.percentile(image, (2, 98))
    expected = np.clip((image - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(shown[:, :, 0], expected[:, :, 0], atol=0.51)


def test_holes_and_constant_bands_do_no_harm() -> None:
    image = np.zeros((4, 4, 3), np.float32)
    image[:, :, 0] = np.nan
    image[:, :, 1] = 7
    image[:, :, 2] = np.arange(16).reshape(4, 4)
    image[0, 0, 2], image[0, 1, 2] = np.nan, np.inf
    shown = display_rgb(image)
    assert (shown[:, :, 0] == 0).all() and (shown[:, :, 1] == 128).all()
    assert shown[0, 0, 2] == shown[0, 1, 2] == 0 and shown[3, 3, 2] == 255


def test_what_is_no_image_is_refused() -> None:
    for shape in ((3,), (2, 2, 2, 2), (2, 2, 0)):
        with pytest.raises(DataError, match="an array of shape"):
            display_rgb(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_overlay_is_the_weighted_mean_and_leaves_ignored_pixels_clear(alpha: float) -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    labels = rng.choice(np.array([0, 1, 2, 255], np.uint8), (20, 30))
    laid = overlay(rgb, labels, CLASSES, alpha)
    expected = (1 - alpha) * rgb + alpha * np.array([s.rgb for s in CLASSES])[
        np.where(labels == 255, 0, labels)
    ]
    expected[labels == 255] = rgb[labels == 255]
    np.testing.assert_allclose(laid, expected, atol=1.01)
    with pytest.raises(DataError, match="labels are"):
        overlay(rgb, labels.T, CLASSES)


def test_the_error_map_tells_right_wrong_and_ignored_apart() -> None:
    rgb = np.full((16, 16, 3), 90, np.uint8)
    truth = np.zeros((16, 16), np.uint8)
    prediction = truth.copy()
    prediction[0] = 1
    truth[8:] = 255
    shown = error_map(rgb, truth, prediction)
    assert (shown[0] == (226, 36, 28)).all()
    right = shown[1:8].reshape(-1, 3)
    assert (right == right[0]).all() and right[0, 0] == right[0, 1] == right[0, 2]
    hatched = {tuple(color) for color in shown[8:].reshape(-1, 3).tolist()}
    assert hatched == {(150, 150, 150), (196, 196, 196)}


@pytest.mark.parametrize("count", [1, 2, 3, 17, 255])
def test_an_index_png_keeps_every_value_and_shows_its_colour(count: int) -> None:
    classes = [ClassSpec(str(k), f"#{k:02x}{255 - k:02x}10") for k in range(count)]
    labels = np.random.default_rng(0).choice(np.array([*range(count), 255], np.uint8), (33, 47))
    with PIL.Image.open(io.BytesIO(index_png(labels, classes))) as opened:
        assert opened.mode == "P"
        np.testing.assert_array_equal(np.array(opened), labels)
        shown = np.array(opened.convert("RGB"))
    np.testing.assert_array_equal(shown, colored(labels, classes))
    assert all((shown[labels == k] == classes[k].rgb).all() for k in range(count))
    assert (shown[labels == 255] == 0).all()


def test_pictures_for_pages_are_small_and_labels_are_never_mixed() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (500, 900), dtype=np.uint8)
    shown = decoded(data_uri(colored(labels, CLASSES), side=300))
    assert shown.shape == (167, 300, 3)
    assert {tuple(color) for color in shown.reshape(-1, 3).tolist()} == {spec.rgb for spec in CLASSES}
    photo = data_uri(np.full((10, 2000, 3), 77, np.uint8), side=100, photo=True)
    assert photo.startswith("data:image/jpeg;base64,")
    assert decoded(photo).shape == (1, 100, 3)
    np.testing.assert_allclose(decoded(photo), 77, atol=2)


def test_png_is_exact() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.array(PIL.Image.open(io.BytesIO(png(picture)))), picture)
