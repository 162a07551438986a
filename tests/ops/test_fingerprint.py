from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from pixelwise.ops import fingerprint as fp
from pixelwise.ops.landmarks import landmarks, turn_between, turn_matrix


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise with the spectrum of natural images: about one over the frequency."""
    rng = np.random.default_rng(seed)
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    spectrum = np.fft.fft2(rng.normal(size=(height, width))) / np.maximum(waves, 1 / max(height, width))
    values = np.fft.ifft2(spectrum).real
    grey = 128 + 40 * values / values.std()
    return np.repeat(grey.clip(0, 255)[..., None], 3, axis=2).astype(np.uint8)


@given(st.integers(1, 40), st.integers(1, 40))
def test_equal_parts_average_as_many_copies_of_each_pixel_do(length: int, count: int) -> None:
    values = np.random.default_rng(length).random(length)
    plain = np.repeat(values, count).reshape(count, length).mean(axis=1)
    np.testing.assert_allclose(fp.parts(length, count) @ values, plain, atol=1e-5)


def test_a_signature_is_the_cosine_transform_of_scipy_weighted_by_frequency() -> None:
    sketch = fp.sketch(fp.grey_of(picture(96, 130)))
    waves = scipy.fft.dctn(sketch.astype(np.float64), norm="ortho")[:16, :16]
    waves *= np.hypot(np.arange(16)[:, None], np.arange(16))
    expected = waves.ravel() / np.linalg.norm(waves)
    np.testing.assert_allclose(fp.signatures(sketch[None])[0], expected, atol=1e-5)


@pytest.mark.parametrize("turn", range(8))
def test_the_signature_of_a_turned_image_needs_no_second_look(turn: int) -> None:
    image = picture(90, 140)
    grey = fp.grey_of(image)
    again = fp.grey_of(np.ascontiguousarray(fp.turned(image, turn)))
    expected = fp.signatures(fp.sketch(again)[None])
    found = fp.turned_signatures(fp.signatures(fp.sketch(grey)[None]), turn)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_bands_in_another_order_and_brighter_values_make_no_other_image() -> None:
    image = picture(80, 80)
    image[..., 1] //= 2
    one, two = (fp.signatures(fp.sketch(fp.grey_of(i))[None]) for i in (image, (image[..., ::-1] * 0.7 + 20)))
    assert one[0] @ two[0] > 0.999
    other = fp.signatures(fp.sketch(fp.grey_of(picture(80, 80, 1)))[None])
    assert one[0] @ other[0] < 0.5


def test_an_image_without_content_is_like_no_other() -> None:
    flat = np.full((60, 60, 3), 17, np.uint8)
    assert not fp.signatures(fp.sketch(fp.grey_of(flat))[None]).any()


def test_border_lines_are_means_of_the_outer_rows_and_columns() -> None:
    grey = np.random.default_rng(0).random((12, 8), np.float32)
    lines = fp.borders(grey, 4)
    np.testing.assert_allclose(lines[0, 0], grey[0].reshape(4, 2).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(lines[1, 1], grey[-2].reshape(4, 2).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(lines[3, 0], grey[:, -1].reshape(4, 3).mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("turn", range(8))
def test_a_turn_moves_pixels_as_its_matrix_says(turn: int) -> None:
    array = np.arange(25).reshape(5, 5)
    after = fp.turned(array, turn)
    for row in range(5):
        for column in range(5):
            moved = turn_matrix(turn) @ (row - 2, column - 2) + 2
            assert after[tuple(moved)] == array[row, column]
    for other in range(8):
        between = turn_between(turn, other)
        assert (turn_matrix(other) @ turn_matrix(between) == turn_matrix(turn)).all()


@pytest.mark.parametrize("turn", range(8))
def test_landmarks_of_a_turned_crop_are_those_of_the_image(turn: int) -> None:
    image = ndimage.gaussian_filter(picture(240, 300).astype(np.float32), (1, 1, 0))
    grey = fp.grey_of(image)
    crop = fp.grey_of(np.ascontiguousarray(fp.turned(image[40:220, 60:280], turn)))
    one, two = landmarks(grey), landmarks(crop)
    alike = one.patches @ two.patches.T
    pairs = [(i, int(alike[i].argmax())) for i in range(len(alike)) if alike[i].max() > 0.97]
    assert len(pairs) >= 8
    height, width = crop.shape
    size = (width, height) if turn & 4 else (height, width)
    right = 0
    for i, j in pairs:
        inside = one.places[i] - (40, 60) - (np.array(size) - 1) / 2
        expected = turn_matrix(turn) @ inside + (np.array(crop.shape) - 1) / 2
        close = np.abs(expected - two.places[j]).max() <= 3
        right += close and turn_between(int(one.turns[i]), int(two.turns[j])) == turn
    assert right >= 0.7 * len(pairs)


def test_an_image_smaller_than_a_patch_has_no_landmarks() -> None:
    assert landmarks(np.zeros((20, 300), np.float32)).places.shape == (0, 2)
    assert landmarks(np.zeros((300, 300), np.float32)).places.shape == (0, 2)
