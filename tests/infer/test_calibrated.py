"""Temperatures of a bundle in every way that confidence is written; labels never change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise.infer.predictor import Running, predict, predict_with_confidence
from pixelwise.infer.tiled import TiledNetwork
from pixelwise.infer.windows import ArrayReader, TileOptions, Wanted
from pixelwise.models.bundle import BundleFacts
from pixelwise.models.calibration import Calibration
from pixelwise.models.segmenter import Segmenter
from pixelwise.types import Image

EACH = (2.5, 0.5, 1.3)


def facts(temperatures: tuple[float, ...]) -> BundleFacts:
    found = Calibration(
        kind="one" if len(temperatures) == 1 else "per_class", temperatures=temperatures,
        split="val", images=2, pixels=9, ece_before=0.2, ece_after=0.1,
    )  # fmt: skip
    return BundleFacts(calibration=found)


def whole(model: Segmenter, image: Image, temperatures: tuple[float, ...]) -> np.ndarray:
    """The largest probability by torch alone."""
    with torch.no_grad():
        logits = model(model.prepare(torch.from_numpy(image).permute(2, 0, 1)[None]))
        each = torch.tensor(temperatures)[logits.argmax(dim=1, keepdim=True)]
        return (logits / each).softmax(dim=1).amax(dim=1)[0].numpy()


@pytest.mark.parametrize("size", [(50, 70), (600, 800)])  # without and with kernels
@pytest.mark.parametrize("temperatures", [(1.8,), EACH])
def test_confidence_takes_the_temperatures_and_labels_stay(
    model: Segmenter,
    size: tuple[int, int],
    temperatures: tuple[float, ...],
    picture: Callable[[int, int], Image],
) -> None:
    image = picture(*size)
    before = predict_with_confidence(model, image)
    model.facts = facts(temperatures)
    labels, confidence = predict_with_confidence(model, image)
    assert (labels == before[0]).all()
    assert (labels == predict(model, image)).all()
    assert len(np.unique(labels)) == 3
    each = temperatures * 3 if len(temperatures) == 1 else temperatures
    np.testing.assert_allclose(confidence, whole(model, image, each), atol=2e-3)
    assert abs(confidence - before[1]).max() > 0.05
    np.testing.assert_allclose(Running(model).probabilities(image).max(axis=0), confidence, atol=1e-4)


@pytest.mark.parametrize("overlap", ["exact", "blend"])
def test_tiles_take_them_too(model: Segmenter, overlap: str, picture: Callable[[int, int], Image]) -> None:
    """One tile that holds the whole image: blending has nothing to fade, and tempers after it."""
    image = picture(96, 160)
    model.facts = facts(EACH)
    expected, confidence = predict_with_confidence(model, image)
    tiled = TiledNetwork(model, (96, 160), options=TileOptions(overlap))
    (piece,) = tiled.run(ArrayReader(image), want=Wanted(confidence=True))
    assert (piece.labels == expected).mean() > 0.999
    assert np.abs(piece.confidence / 255.0 - confidence)[piece.labels == expected].max() < 0.01


def test_scenes_say_so(model: Segmenter, tmp_path: Path, picture: Callable[[int, int], Image]) -> None:
    rasterio = pytest.importorskip("rasterio")
    from pixelwise.infer.scenes import SceneOptions, predict_scene

    image = picture(64, 96)
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", width=96, height=64, count=3, dtype="uint8",
        crs="EPSG:32631", transform=rasterio.Affine(1, 0, 5e5, 0, -1, 4e6),
    ) as target:  # fmt: skip
        target.write(np.moveaxis(image, 2, 0))
    sure, out = tmp_path / "sure.tif", tmp_path / "out.tif"
    found = {}
    for name, known in (("false", BundleFacts()), ("true", facts(EACH))):
        model.facts = known
        predict_scene(model, tmp_path / "scene.tif", out, options=SceneOptions(confidence=sure, resume=True))
        with rasterio.open(sure) as opened:  # with resume: other temperatures are another map
            assert opened.tags()["PIXELWISE_CALIBRATED"] == name
            found[name] = opened.read(1)
        expected = predict_with_confidence(model, image)[1]
        assert np.abs(found[name] / 255 - expected).mean() < 0.005
    assert (found["true"] != found["false"]).any()
