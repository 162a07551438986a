"""The probe against scikit-learn and laws of its own; the cells of the advice."""

from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch

import pixelwise as pw
from pixelwise.errors import DataError, OptionError
from pixelwise.models.bundle import BundleFacts, save
from pixelwise.models.classifier import ClassifierOptions
from pixelwise.models.encoderfiles import EncoderWeights, save_encoder_weights
from pixelwise.models.tasks import build_classifier
from pixelwise.training import advisor, probe
from pixelwise.training.advisor import advise, ways
from pixelwise.training.probe import ProbeScore, Samples, color_features, draw, encoder_features
from pixelwise.types import IGNORE, Normalization


def samples_of(classes, images):
    """Samples without pictures: a class and an image each."""
    count = int(max(images)) + 1
    nothing = tuple(torch.zeros(1, 1, 1, 1) for _ in range(count))
    return Samples(
        nothing, tuple(np.zeros(1, np.int64) for _ in range(count)), np.array(classes), np.array(images)
    )


def made_up(rng, *, images=40, each=10, width=12, classes=3, signal=0.7):
    """Features that depend on the class a little, and on the image much."""
    truth = rng.choice(classes, (images, each), p=[0.7, 0.2, 0.1])
    centres = rng.normal(0, signal, (classes, width))
    features = centres[truth] + rng.normal(0, 1, (images, 1, width)) + rng.normal(0, 1, (images, each, width))
    return features.reshape(-1, width), samples_of(truth.ravel(), np.repeat(np.arange(images), each))


@pytest.mark.peers
@pytest.mark.parametrize("seed", range(3))
def test_the_probe_is_ridge_regression_as_scikit_learn_has_it(seed):
    linear = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    features, samples = made_up(np.random.default_rng(seed))
    folds = probe._folds(samples, 0)
    scaled = (features - features.mean(0)) / features.std(0)
    targets = np.eye(3)[samples.classes]
    weights = 1 / np.bincount(samples.classes)[samples.classes]
    scores = []
    for penalty in probe.PENALTIES:
        said = np.zeros(len(features), int)
        for fold in np.unique(folds):
            known, held = folds != fold, folds == fold
            # ridge with a free constant, the sum of weighted squares and the penalty as they are
            fit = linear.Ridge(alpha=penalty * 3).fit(
                scaled[known], targets[known], sample_weight=weights[known]
            )
            said[held] = fit.predict(scaled[held]).argmax(1)
        scores.append(metrics.balanced_accuracy_score(samples.classes, said))
    assert probe.probe(features, samples).score == pytest.approx(max(scores), abs=1e-9)
    assert 0.4 < max(scores) < 0.95


def test_what_only_names_the_image_is_worth_nothing():
    """Were pixels of one image on both sides of a split, this would score 1."""
    images = np.repeat(np.arange(60), 5)
    classes = np.random.default_rng(0).integers(0, 2, 60)[images]
    score = probe.probe(np.eye(60)[images], samples_of(classes, images)).score
    assert score < 0.6
    assert probe.probe(np.eye(2)[classes] + 0.0, samples_of(classes, images)).score == 1.0


def test_rare_classes_count_as_much_as_common_ones():
    rng = np.random.default_rng(1)
    classes = (rng.random(4000) < 0.02).astype(int)
    features = (classes + rng.normal(0, 0.5, 4000))[:, None]
    score = probe.probe(features, samples_of(classes, np.arange(4000) // 10)).score
    # the best threshold between normal distributions one apart, each of deviation a half: Phi(1)
    assert score == pytest.approx(0.8413, abs=0.03)


def test_features_are_read_at_the_pixel():
    """The encoder `image` hands on what it gets, so its map at a pixel is that pixel, normalised."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (1, 3, 37, 51)).astype(np.float32)
    places = rng.integers(0, 37 * 51, 20)
    samples = Samples((torch.from_numpy(pixels),), (places,), np.zeros(20, np.int64), np.zeros(20, np.int64))
    grey = Normalization((100.0, 90.0, 80.0), (50.0, 40.0, 30.0))
    network = SimpleNamespace(encoder=lambda x: [x], stride=8)
    build = build_classifier(encoder="lenet", normalization=grey)
    build.stride, build.encoder.forward = network.stride, network.encoder
    expected = pixels[0].reshape(3, -1)[:, places].T
    standard = (expected - expected.mean(0)) / expected.std(0)
    np.testing.assert_allclose(color_features(samples), np.concatenate([standard, standard**2], 1), atol=1e-5)
    normalised = (expected - np.array(grey.mean)) / np.array(grey.std)
    np.testing.assert_allclose(encoder_features(build, samples), normalised, atol=2e-4)


def test_drawn_pixels_are_spread_over_classes_and_never_ignored(shapes, monkeypatch):
    data = pw.open_dataset(shapes)
    samples = draw(data)
    labels = [data.train.labels(index).ravel() for index in range(len(data.train))]
    for index, (places, own) in enumerate(zip(samples.places, labels, strict=True)):
        found = own[places]
        assert (samples.classes[samples.image == index] == found).all()
        assert len(set(places.tolist())) == len(places)
        counts = np.bincount(found, minlength=3)
        assert counts.max() <= probe.PIXELS // 3
        assert counts.min() == min(probe.PIXELS // 3, np.bincount(own, minlength=3).min())
    assert set(probe._spread(np.array([0, IGNORE, 1, IGNORE], np.uint8), np.random.default_rng(0))) == {0, 2}
    monkeypatch.setitem(probe.IMAGES, "segment", 1)
    with pytest.raises(DataError, match="fewer than two images"):
        draw(data)


def test_the_four_cells():
    table = ways(5)
    assert {cell: (way.strategy, way.settings) for cell, way in table.items()} == {
        ("small", "similar"): ("last", ()),
        ("small", "different"): (
            "partial",
            ("transfer.layers=3", "augment.color=0.4", "augment.rotation=15"),
        ),
        ("large", "similar"): ("partial", ("transfer.layers=2",)),
        ("large", "different"): ("full", ()),
    }
    assert ways(1)["large", "similar"].settings == ("transfer.layers=1",)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(3)
    network = build_classifier(encoder="lenet", classes=3)
    return save(network, tmp_path_factory.mktemp("w") / "net.safetensors", facts=BundleFacts(dtype="uint8"))


@pytest.mark.parametrize(
    ("scores", "large_from", "cell", "words"),
    [
        ((0.9, 0.5, 0.6), 0, ("large", "similar"), "--strategy partial --set transfer.layers=2"),
        ((0.9, 0.5, 0.6), 500, ("small", "similar"), "--strategy last"),
        ((0.65, 0.5, 0.6), 0, ("large", "different"), "--strategy full"),
        ((0.65, 0.5, 0.6), 500, ("small", "different"), "--strategy partial --set transfer.layers=1"),
        ((0.6, 0.61, 0.2), 500, ("small", "different"), "--set augment.color=0.4"),
    ],
)
def test_advice_follows_from_the_numbers(shapes, weights, monkeypatch, scores, large_from, cell, words):
    given = iter(scores)
    monkeypatch.setattr(advisor, "probe", lambda *_, **__: ProbeScore(next(given), 0.01))
    monkeypatch.setattr(advisor, "LARGE_WINDOWS", large_from)
    data = pw.open_dataset(shapes)
    advice = advise(data, str(weights), more=["--splits", "a b.csv"])
    assert (advice.size, advice.likeness) == cell
    assert advice.amount == 6 * 64 * 64 / 256**2
    assert words in advice.command
    best = max(scores[1:])
    assert advice.gain == pytest.approx((scores[0] - best) / (1 - best))
    assert advice.command.startswith(f"pixelwise train {shapes} -o RUN --splits 'a b.csv' --encoder lenet")
    if scores[0] < best:  # worse than random weights: from scratch
        assert advice.strategy is None
        assert "--encoder-weights" not in advice.command
    else:
        assert f"--encoder-weights {weights}" in advice.command


def test_weights_without_a_name_need_one(shapes, tmp_path):
    torch.manual_seed(0)
    tensors = build_classifier(encoder="lenet").encoder.state_dict()
    torch.save(tensors, tmp_path / "net.pth")
    with pytest.raises(OptionError, match="does not say whose weights"):
        advise(pw.open_dataset(shapes), str(tmp_path / "net.pth"))
    grey = Normalization((127.5,) * 3, (127.5,) * 3)
    file = save_encoder_weights(
        tmp_path / "net.safetensors", EncoderWeights("here", "lenet", tensors, grey, "uint8")
    )
    first, second = (
        advise(pw.open_dataset(shapes), str(tmp_path / name), encoder="lenet")
        for name in ("net.pth", file.name)
    )
    assert first.random == second.random  # the same images and the same random encoder
    assert first.colors.score > 0.9  # rectangles and discs differ in brightness


def test_classification_is_judged_by_whole_images(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 2)):
        for kind in range(2):  # horizontal or vertical stripes: colours say nothing, a convolution much
            for index in range(count):
                stripes = 60 + 120 * (np.add.outer(np.arange(32), np.zeros(32, int)) // 2 % 2)
                image = (stripes if kind else stripes.T) + rng.normal(0, 20, (32, 32))
                path = tmp_path / split / "ab"[kind] / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)
    torch.manual_seed(0)
    network = build_classifier(encoder="small_cnn", classes=2, bands=1, options=ClassifierOptions())
    advice = advise(pw.open_dataset(tmp_path), str(save(network, tmp_path / "net.safetensors")))
    assert (advice.unit, advice.amount) == ("images with a class each", 24)
    assert advice.random.score > 0.9 > 0.8 > advice.colors.score
    assert "--task classify" in advice.command
