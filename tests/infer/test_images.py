"""Answers to one image: against the plain forward pass, in every dtype, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelwise.errors import DataError, OptionError
from pixelwise.infer.images import (
    as_image,
    classify,
    classify_all,
    localize,
    localize_all,
    reconstruct,
    restore_all,
)
from pixelwise.models.autoencoder import Autoencoder, AutoencoderOptions
from pixelwise.models.bundle import BundleFacts
from pixelwise.models.classifier import Classifier, ClassifierOptions
from pixelwise.models.localizer import Localizer, LocalizerOptions
from pixelwise.models.network import Network
from pixelwise.models.tasks import build_autoencoder, build_classifier, build_localizer
from pixelwise.types import Normalization

SIZES = [(1, 1), (1, 70), (33, 31), (64, 96)]


def picture(height: int, width: int, bands: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)


def normalised(model: Network, image: np.ndarray) -> torch.Tensor:
    """The image [1, C, H, W] by the formula of the normalisation."""
    mean, std = (np.array(values) for values in (model.normalization.mean, model.normalization.std))
    return torch.from_numpy(((image - mean) / std).transpose(2, 0, 1)[None].astype(np.float32))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    return build_classifier(classes=4, options=ClassifierOptions(encoder_width=0.125))


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    torch.manual_seed(0)
    return build_autoencoder(options=AutoencoderOptions(code=4, width=8, encoder_width=0.125))


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    torch.manual_seed(0)
    return build_localizer(classes=3, options=LocalizerOptions(encoder_width=0.125))


@pytest.mark.parametrize("size", SIZES)
def test_a_class_is_the_softmax_of_the_logits(classifier: Classifier, size: tuple[int, int]) -> None:
    image = picture(*size)
    with torch.no_grad():
        logits = classifier.eval()(normalised(classifier, image))[0].numpy().astype(np.float64)
    shares = classify(classifier, image)
    np.testing.assert_allclose(shares, np.exp(logits) / np.exp(logits).sum(), atol=1e-5)
    assert shares.shape == (4,) and shares.dtype == np.float32


@pytest.mark.parametrize("size", SIZES)
def test_a_reconstruction_is_the_output_in_the_units_of_the_file(
    autoencoder: Autoencoder, size: tuple[int, int]
) -> None:
    image = picture(*size)
    with torch.no_grad():
        output = autoencoder.eval()(normalised(autoencoder, image))[0].permute(1, 2, 0).double().numpy()
    values = output * np.array(autoencoder.normalization.std) + np.array(autoencoder.normalization.mean)
    np.testing.assert_allclose(restore_all(autoencoder, [image])[0], values, atol=1e-2)
    restored = reconstruct(autoencoder, image)
    assert restored.shape == image.shape and restored.dtype == np.uint8
    np.testing.assert_allclose(restored, values.clip(0, 255), atol=0.52)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_a_reconstruction_has_the_dtype_of_its_image(dtype: str) -> None:
    scale = 200.0 if dtype == "uint16" else 1.0
    torch.manual_seed(0)
    model = build_autoencoder(
        bands=2,
        normalization=Normalization((120 * scale, 130 * scale), (60 * scale, 70 * scale)),
        options=AutoencoderOptions(code=4, width=8, encoder_width=0.125),
    )
    image = (picture(20, 30, 2) * scale).astype(dtype)
    restored = reconstruct(model, image)
    assert restored.dtype == dtype and restored.shape == image.shape
    np.testing.assert_allclose(restored, restore_all(model, [image])[0], atol=0.5 if scale == 1 else 0.51)


@pytest.mark.parametrize("size", SIZES)
def test_a_box_is_in_pixels_and_inside_the_image(localizer: Localizer, size: tuple[int, int]) -> None:
    image = picture(*size)
    with torch.no_grad():
        logits, boxes = localizer.eval()(normalised(localizer, image))
    index, probability, (top, left, bottom, right) = localize(localizer, image)
    assert index == logits.argmax()
    assert probability == pytest.approx(float(logits.softmax(1).max()), abs=1e-5)
    row, column, tall, wide = boxes[0].double().numpy() * np.array([size[0], size[1]] * 2)
    expected = np.array([row - tall / 2, column - wide / 2, row + tall / 2, column + wide / 2])
    limits = np.array([size[0], size[1]] * 2)
    np.testing.assert_allclose((top, left, bottom, right), expected.clip(0, limits), atol=1e-3)
    assert 0 <= top <= bottom <= size[0] and 0 <= left <= right <= size[1]


def test_images_together_get_the_answers_they_get_alone(
    classifier: Classifier, autoencoder: Autoencoder, localizer: Localizer
) -> None:
    images = [picture(40, 56, seed=seed) for seed in range(3)]
    images[1] = images[1][::-1, ::-1]  # a view that torch does not take
    shares, restored = classify_all(classifier, images), restore_all(autoencoder, images)
    _, boxes = localize_all(localizer, images)
    for k, image in enumerate(images):
        np.testing.assert_allclose(shares[k], classify(classifier, image), atol=1e-5)
        np.testing.assert_allclose(restored[k], restore_all(autoencoder, [image])[0], atol=1e-2)
        np.testing.assert_allclose(boxes[k], localize_all(localizer, [image])[1][0], atol=1e-5)


def test_one_band_may_come_without_its_axis() -> None:
    model = build_classifier(bands=1, options=ClassifierOptions(encoder_width=0.125))
    image = picture(20, 30, 1)
    np.testing.assert_array_equal(classify(model, image[:, :, 0]), classify(model, image))
    restorer = build_autoencoder(bands=1, options=AutoencoderOptions(code=4, width=8, encoder_width=0.125))
    assert reconstruct(restorer, image[:, :, 0]).shape == (20, 30, 1)
    finder = build_localizer(bands=1, options=LocalizerOptions(encoder_width=0.125))
    assert localize(finder, image[:, :, 0]) == localize(finder, image)


def test_the_precision_of_the_bundle_is_the_default(
    classifier: Classifier, autoencoder: Autoencoder, localizer: Localizer
) -> None:
    image = picture(64, 64)
    for model, answer in ((classifier, classify), (autoencoder, reconstruct), (localizer, localize)):
        plain = answer(model, image)
        lower = answer(model, image, precision="bfloat16")
        model.facts = BundleFacts(precision="bfloat16")
        given = answer(model, image)
        model.facts = None
        for one, two in ((given, lower), (plain, answer(model, image, precision="float32"))):
            np.testing.assert_equal(one, two)
        assert not np.array_equal(np.hstack([*map(np.ravel, plain)]), np.hstack([*map(np.ravel, lower)]))


def test_the_model_is_left_as_it_was(classifier: Classifier) -> None:
    classifier.train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    classify(classifier, picture(40, 40))
    assert classifier.training and torch.is_grad_enabled()
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    classifier.eval()


def test_refusals(
    classifier: Classifier, autoencoder: Autoencoder, localizer: Localizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model, answer in ((classifier, classify), (autoencoder, reconstruct), (localizer, localize)):
        with pytest.raises(DataError, match="the image has 1 band, the model takes 3"):
            answer(model, picture(8, 8, 1))
        with pytest.raises(DataError, match="the image is int32"):
            answer(model, picture(8, 8).astype(np.int32))
        with pytest.raises(OptionError, match="precision 'half'"):
            answer(model, picture(8, 8), precision="half")

    def give_up(images: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(autoencoder, "forward", give_up)
    with pytest.raises(DataError, match="8 x 9 pixels does not fit in memory"):
        reconstruct(autoencoder, picture(8, 9))


def test_values_are_rounded_to_the_nearest_and_clipped() -> None:
    values = np.array([[[-0.6, 0.4, 0.6, 254.6, 1e9]]], np.float32)
    assert as_image(values, np.dtype(np.uint8)).tolist() == [[[0, 0, 1, 255, 255]]]
    assert as_image(values, np.dtype(np.uint16)).tolist() == [[[0, 0, 1, 255, 65535]]]
    np.testing.assert_array_equal(as_image(values, np.dtype(np.float32)), values)
