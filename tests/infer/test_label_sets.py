"""How many classes a pixel may be of, in every way that it is written, and that the promise holds on unseen images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from pixelwise.cli.app import run
from pixelwise.errors import OptionError
from pixelwise.evaluation.conformal import label_sets
from pixelwise.infer.augmented import Averaged, Views
from pixelwise.infer.files import Sureness, predict_files
from pixelwise.infer.predictor import Running, predict
from pixelwise.infer.sceneoptions import SceneOptions
from pixelwise.infer.tiled import TiledNetwork
from pixelwise.infer.windows import ArrayReader, TileOptions, Wanted, Window
from pixelwise.models.bundle import BundleFacts, save
from pixelwise.models.calibration import Calibration
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.labelsets import set_sizes
from pixelwise.types import Image

THRESHOLD = 0.2


def facts(
    threshold: float | None = THRESHOLD, temperatures: tuple[float, ...] = (2.5, 0.5, 1.3)
) -> BundleFacts:
    return BundleFacts(
        calibration=Calibration(
            kind="one" if len(temperatures) == 1 else "per_class",
            temperatures=temperatures,
            split="val",
            images=9,
            pixels=9,
            ece_before=0.2,
            ece_after=0.1,
            set_share=None if threshold is None else 0.9,
            set_threshold=threshold,
        )
    )


@pytest.fixture
def model(model: Segmenter) -> Segmenter:
    model.facts = facts()
    return model


@given(
    seed=st.integers(0, 99),
    classes=st.integers(1, 5),
    threshold=st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.0]),
    warm=st.booleans(),
)
@settings(deadline=None)
def test_sizes_are_those_of_the_softmax(seed: int, classes: int, threshold: float, warm: bool) -> None:
    """By torch's softmax of the whole logits; pixels within rounding of the threshold may go either way."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 3, 4, generator=generator)
    count = max(2, classes)
    temperatures = tuple(0.5 + k for k in range(count)) if warm else None
    full = torch.nn.functional.interpolate(logits, size=(12, 16), mode="bilinear")[..., :11, :13]
    if classes == 1:
        full = torch.cat([torch.zeros_like(full), full], dim=1)
    labels = full.argmax(dim=1)
    each = torch.ones(count) if temperatures is None else torch.tensor(temperatures)
    shares = (full / each[labels][:, None]).softmax(dim=1)
    sizes = set_sizes(logits, labels, shares.amax(dim=1), threshold, span=(12, 16), temperatures=temperatures)
    low = (shares >= threshold + 1e-4).sum(dim=1).clamp(min=1)
    high = (shares >= threshold - 1e-4).sum(dim=1).clamp(min=1)
    assert sizes.dtype == torch.uint8
    assert ((low <= sizes) & (sizes <= high)).all()


@pytest.mark.parametrize("size", [(50, 70), (300, 400)])  # without and with kernels
def test_sizes_of_an_image_and_its_tiles(
    model: Segmenter, size: tuple[int, int], picture: Callable[[int, int], Image]
) -> None:
    image = picture(*size)
    running = Running(model)
    labels, sure, sizes = running.with_sets(image)
    assert (labels == predict(model, image)).all()
    np.testing.assert_array_equal(sure, running.with_confidence(image)[1])
    expected = label_sets(running.probabilities(image), THRESHOLD).sum(axis=0)
    assert (sizes == expected).mean() > 0.999
    assert set(np.unique(sizes)) == {1, 2, 3}
    (piece,) = TiledNetwork(model, size).run(ArrayReader(image), want=Wanted(sets=True))
    assert piece.confidence is None
    assert (piece.sets == sizes).mean() > 0.999


class Holed(ArrayReader):
    """Without data in the upper half."""

    def read(self, box):
        window = super().read(box)
        rows = np.arange(box.top, box.bottom)[:, None] < self.size[0] // 2
        return Window(window.image, np.broadcast_to(rows, window.image.shape[:2]))


def test_nothing_is_in_the_set_where_there_is_no_data(
    model: Segmenter, picture: Callable[[int, int], Image]
) -> None:
    (piece,) = TiledNetwork(model, (96, 64)).run(Holed(picture(96, 64)), want=Wanted(True, True))
    assert (piece.sets[:48] == 0).all()
    assert (piece.sets[48:] > 0).all()
    assert (piece.confidence[48:] > 0).all()


def test_pictures_of_sets(model: Segmenter, tmp_path: Path, picture: Callable[[int, int], Image]) -> None:
    image = picture(60, 90)
    Pillow.fromarray(image).save(tmp_path / "a.png")
    predict_files(model, [tmp_path / "a.png"], tmp_path / "out", confidence=Sureness(sets=True))
    with Pillow.open(tmp_path / "out/sets/a.png") as written:
        assert written.text == {"threshold": "0.2"}
        np.testing.assert_array_equal(np.asarray(written), Running(model).with_sets(image)[2])
    assert not (tmp_path / "out/confidence").exists()


def test_scenes_get_a_band_of_sets(
    model: Segmenter, tmp_path: Path, capsys, picture: Callable[[int, int], Image]
) -> None:
    rasterio = pytest.importorskip("rasterio")
    from pixelwise.infer.scenes import predict_scene

    image = picture(64, 96)
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", width=96, height=64, count=3, dtype="uint8",
        crs="EPSG:32631", transform=rasterio.Affine(1, 0, 5e5, 0, -1, 4e6),
    ) as target:  # fmt: skip
        target.write(np.moveaxis(image, 2, 0))
    sure, sets, out = (tmp_path / name for name in ("sure.tif", "sets.tif", "out.tif"))
    expected = Running(model).with_sets(image)
    found = {}
    for threshold in (THRESHOLD, 0.05):
        model.facts = facts(threshold)
        options = SceneOptions(confidence=sure, sets=sets, resume=True)
        result = predict_scene(model, tmp_path / "scene.tif", out, options=options)
        assert result.sets == sets
        with rasterio.open(sets) as opened:  # with resume: another threshold is another map
            assert opened.nodata == 0
            assert opened.tags()["PIXELWISE_LAYER"] == "classes in the label set"
            found[threshold] = opened.read(1)
    assert (found[THRESHOLD] == expected[2]).mean() > 0.999
    assert found[0.05].sum() > found[THRESHOLD].sum()
    with rasterio.open(sure) as opened:
        assert np.abs(opened.read(1) / 255 - expected[1]).mean() < 0.005
    with pytest.raises(OptionError, match="fade into one another"):
        SceneOptions(TileOptions("blend"), sets=sets)


def test_what_has_no_sets(
    model: Segmenter, tmp_path: Path, capsys, picture: Callable[[int, int], Image]
) -> None:
    Pillow.fromarray(picture(40, 40)).save(tmp_path / "a.png")
    both = Averaged([model], Views(True))
    with pytest.raises(OptionError, match="one look by one model"):
        predict_files(
            model, [tmp_path / "a.png"], tmp_path / "out", confidence=Sureness(sets=True), engine=both
        )
    save(model, tmp_path / "m.safetensors", facts=facts(None))
    given_ = [
        "predict",
        str(tmp_path / "m.safetensors"),
        str(tmp_path / "a.png"),
        "-o",
        str(tmp_path / "out"),
    ]
    assert run([*given_, "--label-sets"]) == 2
    assert "no threshold for label sets" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    save(model, tmp_path / "m.safetensors")
    assert run([*given_, "--label-sets", "--json"]) == 0
    assert '"threshold": 0.2' in capsys.readouterr().out
    assert (tmp_path / "out/sets/a.png").exists()
