from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import pixelwise as pw
from pixelwise.geo.raster import write_geotiff
from pixelwise.infer.shift import input_shift
from pixelwise.infer.shiftcheck import check_inputs, judged_together
from pixelwise.models.bundle import BundleFacts, load_network, save
from pixelwise.models.fingerprint import Fingerprint
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops import bandshift
from pixelwise.training.fingerprints import affordable, fingerprint_of


def land(seed: int, size: int = 160) -> NDArray[np.uint8]:
    """Green ground, a blue band above and brown boxes, with noise; no two alike."""
    rng = np.random.default_rng(seed)
    image = np.empty((size, size, 3))
    image[:] = (70, 130, 60)
    image[: size // 4 + rng.integers(0, 12)] = (110, 160, 220)
    for _ in range(14):
        top, left = rng.integers(size // 3, size - 20), rng.integers(0, size - 20)
        image[top : top + rng.integers(8, 20), left : left + rng.integers(8, 20)] = (150, 90, 50)
    image *= rng.uniform(0.9, 1.1)
    return (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """A network that has learnt nothing and knows its training images."""
    root = tmp_path_factory.mktemp("land")
    (root / "classes.yaml").write_text("[ground, roof]\n")
    for number in range(40):
        split = "train" if number < 30 else "val"
        for kind, array in (("images", land(number)), ("masks", np.zeros((160, 160), np.uint8))):
            path = root / kind / split / f"l{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    torch.manual_seed(0)
    data = pw.open_dataset(root)
    net = pw.build("unet", encoder="resnet18", classes=2, normalization=None).eval()
    net.facts = BundleFacts(dtype="uint8", fingerprint=fingerprint_of(net, data))
    return net


def test_images_of_the_same_kind_raise_no_alarm(known: Segmenter) -> None:
    odd = [report.signs for seed in range(100, 130) if not (report := input_shift(known, land(seed))).ok]
    assert len(odd) <= 1, odd


def noisy(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return (image + rng.normal(0, 60, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda a: a[..., ::-1], {"order"}),
        (lambda a: a[..., [1, 2, 0]], {"order"}),
        (lambda a: a.astype(np.uint16) * 257, {"range"}),
        (lambda a: (a / 255).astype(np.float32), {"range"}),
        (lambda a: (a * 0.4).astype(np.uint8), {"colors"}),
        (lambda a: a.repeat(10, 0).repeat(10, 1)[:400, :400], {"detail"}),
        (noisy, {"detail"}),
        (lambda a: a[..., :1], {"bands"}),
        (lambda a: a[..., 0], {"bands"}),
    ],
)
def test_planted_shifts_are_named(known: Segmenter, change: object, kinds: set[str]) -> None:
    for seed in range(200, 205):
        report = input_shift(known, change(land(seed)))  # type: ignore[operator]
        assert kinds <= set(report.kinds), report
        assert all(np.isfinite(sign.value) for sign in report.signs)


def test_the_order_that_would_fit_is_told(known: Segmenter) -> None:
    for order in itertools.permutations(range(3)):
        report = input_shift(known, land(300)[..., list(order)])
        back = " ".join(str(order.index(band) + 1) for band in range(3))
        told = [sign.found for sign in report.signs if sign.kind == "order"]
        assert (not told) if order == (0, 1, 2) else f"order {back} " in told[0]


def test_pixels_of_another_size_are_told_where_both_are_known(known: Segmenter) -> None:
    assert isinstance(known.facts, BundleFacts) and known.facts.fingerprint is not None
    sized = known.facts.fingerprint.model_copy(update={"pixel_size": 0.5})
    before, known.facts = known.facts, known.facts.model_copy(update={"fingerprint": sized})
    try:
        for size, odd in ((0.5, False), (0.7, False), (0.8, True), (0.34, False), (0.3, True), (None, False)):
            assert ("pixel size" in input_shift(known, land(1), pixel_size=size).kinds) is odd
    finally:
        known.facts = before


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((300, 7, 3), np.uint8),
        np.full((64, 64, 3), np.nan, np.float32),
        np.full((64, 64, 3), 255, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((9, 9, 3), complex),
    ],
)
def test_no_image_makes_the_alarm_fail(known: Segmenter, image: NDArray[np.generic]) -> None:
    report = input_shift(known, image)
    assert all(np.isfinite(sign.value) for sign in report.signs)


def test_a_bundle_keeps_its_fingerprint_and_old_ones_load(known: Segmenter, tmp_path: Path) -> None:
    again = load_network(save(known, tmp_path / "new.safetensors"))
    assert again.facts == known.facts
    assert input_shift(again, land(5)[..., ::-1]) == input_shift(known, land(5)[..., ::-1])
    old = load_network(save(known, tmp_path / "old.safetensors", facts=BundleFacts()))
    assert not input_shift(old, land(5)).checked


def test_inputs_are_looked_at_and_summed_up(known: Segmenter, tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(land(number)).save(tmp_path / f"good{number}.png")
    Image.fromarray(land(9)[..., ::-1]).save(tmp_path / "swapped.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = check_inputs(known, [tmp_path], tmp_path.parent / "out")
    assert len(found.reports) == 4 and found.together == ()
    assert any(line.startswith("1 of 4 inputs") and "3 2 1" in line for line in found.warnings())
    assert [one["input"] for one in found.as_dict()["unlike"]] == ["swapped.png"]
    assert check_inputs(known, [tmp_path / "none"], tmp_path.parent / "out").reports == ()


def test_scenes_elsewhere_do_not_take_the_place_of_those_here(
    known: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rasterio")
    here = tmp_path / "here.tif"
    write_geotiff(here, land(9)[..., ::-1], origin=(5e5, 5e6), pixel_size=1, crs="EPSG:32631")
    monkeypatch.setattr("pixelwise.infer.placed.LARGE", 16)
    elsewhere = [Path(f"https://example.org/{number}.tif") for number in range(4)]
    found = check_inputs(known, [*elsewhere, here], tmp_path.parent / "out")
    assert {name for name, _ in found.reports} == {"here.tif"}


def test_images_that_say_little_each_say_it_together(known: Segmenter, tmp_path: Path) -> None:
    """Hardly any colour is left, so one image may pass; eight do not."""
    for number in range(8):
        image = land(number).astype(np.float64)
        pale = image.mean(axis=2, keepdims=True) * 0.75 + image * 0.25
        for name, array in (("own", pale), ("swapped", pale[..., ::-1])):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    for name, told in (("own", False), ("swapped", True)):
        together = check_inputs(known, [tmp_path / name], tmp_path / "out").together
        assert ("order" in {sign.kind for sign in together}) is told


def test_several_images_of_the_same_kind_raise_no_alarm_together(known: Segmenter) -> None:
    assert isinstance(known.facts, BundleFacts) and known.facts.fingerprint is not None
    reports = [input_shift(known, land(seed)) for seed in range(400, 408)]
    assert judged_together(known.facts.fingerprint, reports) == ()
    assert judged_together(known.facts.fingerprint, reports[:7]) == ()


def test_colours_follow_an_exchange_of_bands() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, 3))
    np.testing.assert_allclose(
        bandshift.colors(pixels[..., [2, 0, 1]]), bandshift.colors(pixels)[:, [2, 0, 1]]
    )


def test_a_distance_is_that_of_mahalanobis_where_all_axes_are_kept() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5000, 3)) @ np.array([[2, 0, 0], [1, 1, 0], [0, 0.5, 0.3]])
    where = bandshift.directions(vectors)
    gap = np.array([1.0, -2.0, 0.5])
    covariance = np.cov(vectors.T)
    expected = np.sqrt(gap @ np.linalg.inv(covariance) @ gap / 3)
    assert bandshift.distance(where.mean + gap, where) == pytest.approx(expected, rel=0.02)


def test_a_budget_limits_how_many_images_are_looked_at() -> None:
    assert affordable(None, 1.0) == 200
    assert affordable(3, 0.09) == 40 and affordable(0.1, 1.0) == 24 and affordable(600, 0.1) == 200


def test_few_images_make_no_fingerprint(known: Segmenter, shapes: Path) -> None:
    assert fingerprint_of(known, pw.open_dataset(shapes)) is None


def test_five_digits_are_kept(known: Segmenter) -> None:
    assert isinstance(known.facts, BundleFacts)
    print_ = known.facts.fingerprint
    assert print_ is not None and Fingerprint.model_validate_json(print_.model_dump_json()) == print_
    assert all(float(f"{value:.5g}") == value for value in print_.color.mean)
