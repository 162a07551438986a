"""Prediction of one image: sizes, dtypes, refusals, and what it leaves as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelwise.errors import DataError, OptionError
from pixelwise.infer.predictor import (
    Running,
    _together,
    check_image,
    evaluating,
    predict,
    predict_with_confidence,
)
from pixelwise.models.bundle import BundleFacts
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build


def network(classes: int = 4, bands: int = 3, *, one_logit: bool = False) -> Segmenter:
    torch.manual_seed(0)
    options = NetworkOptions(one_logit=one_logit)
    model = build("unet", encoder="resnet18", classes=classes, bands=bands, options=options)
    # Random weights give nearly the same logits everywhere; standardised, every class wins somewhere.
    image = torch.from_numpy(picture(64, 64, bands)).permute(2, 0, 1)[None]
    with torch.no_grad():
        std, mean = torch.std_mean(model.eval()(model.prepare(image)), dim=(0, 2, 3))
        model.head.weight /= std[:, None, None, None]
        model.head.bias.copy_((model.head.bias - mean) / std)
    return model


def picture(height: int, width: int, bands: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Segmenter:
    return network()


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 31), (64, 96)])
def test_the_labels_are_the_plain_argmax_of_the_logits(model: Segmenter, size: tuple[int, int]) -> None:
    image = picture(*size)
    labels, confidence = predict_with_confidence(model, image)
    tensor = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
    mean = torch.tensor(model.normalization.mean).reshape(1, 3, 1, 1)
    std = torch.tensor(model.normalization.std).reshape(1, 3, 1, 1)
    with torch.no_grad():
        shares = model.eval()((tensor - mean) / std).softmax(1)[0].numpy()
    assert labels.shape == size and labels.dtype == np.uint8
    second, first = np.sort(shares, axis=0)[-2:]
    clear = first - second > 1e-4  # dividing by std and multiplying with 1 / std round differently
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(labels[clear], shares.argmax(0)[clear])
    np.testing.assert_allclose(confidence, shares.max(0), atol=1e-5)
    np.testing.assert_array_equal(predict(model, image), labels)


def test_two_classes_with_one_logit() -> None:
    model = network(2, one_logit=True)
    labels, confidence = predict_with_confidence(model, picture(40, 40))
    assert set(np.unique(labels)) == {0, 1}
    assert confidence.dtype == np.float32 and 0.5 <= confidence.min() <= confidence.max() <= 1


def test_one_band_may_come_without_its_axis() -> None:
    model = network(3, bands=1)
    image = picture(20, 30, 1)
    np.testing.assert_array_equal(predict(model, image[:, :, 0]), predict(model, image))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_equal_values_of_another_dtype_give_equal_labels(model: Segmenter, dtype: type) -> None:
    image = picture(20, 30)
    np.testing.assert_array_equal(predict(model, image.astype(dtype)), predict(model, image))


def test_flipped_and_read_only_arrays(model: Segmenter) -> None:
    image = picture(20, 30)
    flipped = image[::-1, :, ::-1]
    flipped.flags.writeable = False
    np.testing.assert_array_equal(predict(model, flipped), predict(model, flipped.copy()))
    np.testing.assert_array_equal(image, picture(20, 30))


def test_images_given_together_are_not_copied_unless_they_have_to_be(model: Segmenter) -> None:
    """And are the same images in whatever way they are given."""
    images = np.stack([picture(20, 30), picture(20, 30)[::-1]])
    kept = images.copy()
    running = Running(model)
    expected = [predict(model, image) for image in kept]
    locked = images.copy()
    locked.flags.writeable = False
    swapped = images.astype(">u2")
    for given in (images, list(images), images[::-1][::-1], locked, swapped, images.astype(np.float64)):
        np.testing.assert_array_equal(running.batch(given), expected)
    turned = [predict(model, np.ascontiguousarray(image[::-1])) for image in kept]
    np.testing.assert_array_equal(running.batch(images[:, ::-1]), turned)
    np.testing.assert_array_equal(images, kept)
    for given in (images, images[:1], [images[0]], [images[1][::2]]):
        checked = [check_image(model, image) for image in given]
        assert np.shares_memory(_together(given, checked), images)
    for given in (locked, swapped, list(images), [images[0][::-1]], [locked[0]]):
        checked = [check_image(model, image) for image in given]
        assert not np.shares_memory(_together(given, checked), np.asarray(given[0]))
    with pytest.raises(DataError, match="no image"):
        running.batch([])


def test_bfloat16_is_what_autocast_gives(model: Segmenter) -> None:
    image = picture(64, 64)
    tensor = model.prepare(torch.from_numpy(image).permute(2, 0, 1)[None])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = model.eval()(tensor).argmax(1)[0].numpy()
    labels = predict(model, image, precision="bfloat16")
    np.testing.assert_array_equal(labels, expected)
    assert (labels != predict(model, image, precision="float32")).any()


def test_the_precision_of_the_bundle_is_the_default() -> None:
    model = network()
    image = picture(64, 64)
    model.facts = BundleFacts(precision="bfloat16")
    np.testing.assert_array_equal(predict(model, image), predict(model, image, precision="bfloat16"))
    assert (predict(model, image) != predict(model, image, precision="float32")).any()


def test_every_part_of_the_model_is_left_in_its_mode() -> None:
    model = network()
    model.train()
    model.encoder.eval()  # as a frozen encoder is during training
    before = {name: part.training for name, part in model.named_modules()}
    running = {name: value.clone() for name, value in model.state_dict().items()}
    predict(model, picture(40, 40))
    assert {name: part.training for name, part in model.named_modules()} == before
    assert all(torch.equal(value, running[name]) for name, value in model.state_dict().items())
    with pytest.raises(ZeroDivisionError), evaluating(model):
        assert not any(part.training for part in model.modules())
        raise ZeroDivisionError
    assert {name: part.training for name, part in model.named_modules()} == before
    assert torch.is_grad_enabled()


def test_refusals(model: Segmenter) -> None:
    with pytest.raises(DataError, match="the image has 4 bands, the model takes 3"):
        predict(model, picture(8, 8, 4))
    with pytest.raises(DataError, match="the image has 1 band, the model takes 3"):
        predict(model, picture(8, 8, 1)[:, :, 0])
    with pytest.raises(DataError, match=r"shape \(0, 8, 3\)"):
        predict(model, picture(0, 8))
    with pytest.raises(DataError, match="shape"):
        predict(model, np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="the image is int32"):
        predict(model, picture(8, 8).astype(np.int32))
    image = picture(8, 8).astype(np.float32)
    image[3, 5, 1] = image[6, 0, 2] = np.nan
    with pytest.raises(DataError, match="2 pixels are not finite, first at row 3, column 5"):
        predict(model, image)
    with pytest.raises(OptionError, match="precision 'float16'"):
        predict(model, picture(8, 8), precision="float16")  # type: ignore[arg-type]


def test_another_dtype_than_in_training_is_refused() -> None:
    model = network()
    model.facts = BundleFacts(dtype="uint8")
    predict(model, picture(8, 8))
    with pytest.raises(DataError, match="the image is uint16, the model was trained on uint8"):
        predict(model, picture(8, 8).astype(np.uint16))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_is_said_in_our_words(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()

    def give_up(images: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(model, "judged", give_up)
    with pytest.raises(DataError, match="8 x 9 pixels does not fit in memory"):
        predict(model, picture(8, 9))
    monkeypatch.setattr(model, "judged", lambda images: images.reshape(7))
    with pytest.raises(RuntimeError, match="shape"):
        predict(model, picture(8, 9))
