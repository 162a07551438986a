"""Scenes read at the pixel size of the training images: same ground, other grid; judged by NumPy and rasterio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from pixelwise.errors import DataError, OptionError
from pixelwise.geo.mosaic import open_scene
from pixelwise.infer.blocks import setup_of
from pixelwise.infer.crew import LocalCrew
from pixelwise.infer.placed import told_apart
from pixelwise.infer.predictor import predict
from pixelwise.infer.sceneinput import wanted_pixel_size
from pixelwise.infer.scenes import SceneOptions, predict_scene
from pixelwise.infer.spread import SceneJob, predict_scenes
from pixelwise.infer.windows import TileOptions
from pixelwise.models.bundle import BundleFacts
from pixelwise.models.fingerprint import Fingerprint
from pixelwise.models.interfaces import NetworkOptions
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build
from pixelwise.ops.tiles import Box

rasterio = pytest.importorskip("rasterio")
NORTH_UP = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
TURNED = rasterio.Affine(0.433, 0.25, 500_000, 0.25, -0.433, 4_000_000)  # by 30 degrees


def picture(height: int, width: int, bands: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(1, 256, (height, width, bands), dtype=np.uint8)


def write(path: Path, image: NDArray[Any], mask: NDArray[Any] | None = None, **profile: Any) -> Path:
    given = {
        "driver": "GTiff",
        "height": image.shape[0],
        "width": image.shape[1],
        "count": image.shape[2],
        "dtype": image.dtype.name,
        "crs": "EPSG:32631",
        "transform": NORTH_UP,
    } | profile
    given = {key: value for key, value in given.items() if value is not None}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **given) as target:
        target.write(np.moveaxis(image, 2, 0))
        if mask is not None:
            target.write_mask(mask)
    return path


@pytest.fixture(scope="module")
def model() -> Segmenter:
    """Trained at one metre, so it says."""
    torch.manual_seed(0)
    options = NetworkOptions(encoder_width=0.125, decoder_channels=(16, 8, 8))
    made = build("unet", encoder="resnet18", classes=3, options=options).eval()
    made.facts = BundleFacts(pixel_size=1.0)
    return made


def point(transform: Any, column: float, row: float) -> tuple[float, float]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * column + b * row + c, d * column + e * row + f


def means(image: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    height, width, bands = image.shape
    parts = image.reshape(height // factor, factor, width // factor, factor, bands)
    return parts.mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("crs", "transform", "size"),
    [
        ("EPSG:32631", NORTH_UP, 1.0),
        ("EPSG:32631", rasterio.Affine(0.5, 0, 500_000, 0, 0.5, 4_000_000), 1.0),
        ("EPSG:32631", TURNED, 1.0),
        ("EPSG:4326", rasterio.Affine(0.5, 0, -30, 0, -0.5, 20), None),
    ],
    ids=["north up", "south up", "turned", "half degrees"],
)
def test_the_grid_covers_the_same_ground(
    crs: str, transform: Any, size: float | None, tmp_path: Path
) -> None:
    image = picture(80, 120)
    path = write(tmp_path / "a.tif", image, crs=crs, transform=transform)
    with open_scene(path) as reader:
        own = reader.facts.place.pixel_size
    assert own is not None
    with open_scene(path, pixel_size=size or 2 * own) as reader:
        facts = reader.facts
        found, empty = reader.read(Box(0, 0, *reader.size))
    assert facts.size == (40, 60)
    assert empty is None
    for right, down in ((0, 0), (0, 1), (1, 0), (1, 1)):
        there = point(facts.place.transform, right * 60, down * 40)
        assert there == pytest.approx(point(transform, right * 120, down * 80), rel=1e-12)
    assert np.abs(found - means(image, 2)).max() <= 0.5 + 1e-6


def test_smaller_pixels_are_interpolated(tmp_path: Path) -> None:
    image = picture(30, 40)
    path = write(tmp_path / "a.tif", image)
    with open_scene(path, pixel_size=0.25) as reader:
        found, _ = reader.read(Box(0, 0, *reader.size))
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    wanted = F.interpolate(planes, scale_factor=2, mode="bilinear")[0].permute(1, 2, 0).numpy()
    assert np.abs(found - wanted)[2:-2, 2:-2].max() <= 0.51


@pytest.mark.parametrize("how", ["nodata", "mask", "alpha"])
def test_no_data_stays_no_data(how: str, model: Segmenter, tmp_path: Path) -> None:
    image, mask = picture(128, 128), np.full((128, 128), 255, np.uint8)
    mask[:64, :96] = 0
    image[mask == 0] = 0
    if how == "alpha":
        profile: dict[str, Any] = {"photometric": "RGB", "alpha": "YES"}
        path = write(tmp_path / "a.tif", np.dstack([image, mask]), **profile)
    elif how == "mask":
        path = write(tmp_path / "a.tif", image, mask)
    else:
        path = write(tmp_path / "a.tif", image, nodata=0)
    predict_scene(model, path, tmp_path / "b.tif", options=SceneOptions(resample=True))
    with rasterio.open(tmp_path / "b.tif") as found:
        labels = found.read(1)
    assert np.array_equal(labels == 255, mask[::2, ::2] == 0)


@pytest.mark.parametrize("size", [0.7, 1.3, 1.7, 5.0])
def test_means_are_weighed_by_area(size: float, tmp_path: Path) -> None:
    """Windows of any raster of any step are parts of the whole, whose mean is that of the source."""
    image = np.random.default_rng(0).random((61, 83, 2)).astype(np.float32)
    path = write(tmp_path / "a.tif", image)
    with open_scene(path, pixel_size=size) as reader:
        height, width = reader.size
        whole, _ = reader.read(Box(0, 0, height, width))
        part, _ = reader.read(Box(height // 3, 1, height - 1, width // 2))
    assert np.allclose(part, whole[height // 3 : height - 1, 1 : width // 2], atol=1e-6)
    assert (height, width) == (max(1, round(61 * 0.5 / size)), max(1, round(83 * 0.5 / size)))
    edges = [np.arange(side + 1) * (full / side) for side, full in ((height, 61), (width, 83))]
    rows, columns = (
        np.clip(
            np.minimum(e[1:, None], np.arange(full) + 1) - np.maximum(e[:-1, None], np.arange(full)), 0, None
        )
        for e, full in zip(edges, (61, 83), strict=True)
    )
    wanted = np.einsum("yh,hwc,xw->yxc", rows, image, columns) / (61 / height * 83 / width)
    assert np.allclose(whole, wanted, atol=1e-5)


def test_a_fourth_band_is_data_whatever_its_tag(tmp_path: Path) -> None:
    """GDAL calls the last of four bands alpha; a model of four bands takes it for what it is, near infrared."""
    image = picture(64, 64, 4)
    path = write(tmp_path / "a.tif", image, photometric="RGB", alpha="YES")
    with open_scene(path, pixel_size=1.0) as reader:
        assert reader.facts.alpha
        found, empty = reader.read(Box(0, 0, 32, 32))
    assert empty is None
    assert np.abs(found - means(image, 2)).max() <= 0.5 + 1e-6


def test_what_is_no_number_counts_nowhere(tmp_path: Path) -> None:
    image = np.ones((40, 40, 1), np.float32)
    image[3, 5], image[10:12, 20:22] = np.nan, np.nan
    path = write(tmp_path / "a.tif", image)
    with open_scene(path, pixel_size=1.0) as reader:
        found, empty = reader.read(Box(0, 0, 20, 20))
    assert empty is not None
    assert np.argwhere(empty).tolist() == [[5, 10]]
    assert (found[~empty] == 1).all()


def test_wrong_bands_stay_wrong(model: Segmenter, tmp_path: Path) -> None:
    image = picture(64, 64, 2)
    path = write(tmp_path / "a.tif", image, np.full((64, 64), 255, np.uint8))
    with pytest.raises(DataError, match="2 bands, the model takes 3"):
        predict_scene(model, path, tmp_path / "b.tif", options=SceneOptions(resample=True))


def test_the_parts_of_a_mosaic_meet(model: Segmenter, tmp_path: Path) -> None:
    """Resampled as a whole, so that pixels which lie in two parts are the means of both."""
    image = picture(90, 101)
    write(tmp_path / "whole.tif", image)
    write(tmp_path / "left.tif", image[:, :51])
    write(
        tmp_path / "right.tif",
        image[:, 51:],
        transform=rasterio.Affine(0.5, 0, 500_025.5, 0, -0.5, 4_000_000),
    )
    (tmp_path / "list.txt").write_text("left.tif\nright.tif\n")
    with open_scene(tmp_path / "whole.tif", pixel_size=0.8) as reader:
        wanted, _ = reader.read(Box(0, 0, *reader.size))
    with open_scene(f"@{tmp_path / 'list.txt'}", pixel_size=0.8) as reader:
        found, empty = reader.read(Box(0, 0, *reader.size))
    assert empty is None
    assert np.array_equal(found, wanted)


def test_a_map_is_that_of_the_resampled_scene(model: Segmenter, tmp_path: Path) -> None:
    """Tile by tile, over processes and after an interruption: labels are those of the whole image at that size."""
    image = picture(2200, 160)
    scene = write(tmp_path / "a.tif", image)
    with open_scene(scene, pixel_size=1.0) as reader:
        small, _ = reader.read(Box(0, 0, *reader.size))
    options = SceneOptions(TileOptions(core=512), resample=True)
    result = predict_scene(model, scene, tmp_path / "b.tif", options=options)
    assert result.tiles > 1
    assert any("resampled from pixels of 0.5 m to 1 m: 1100 x 80" in note for note in result.notes)
    with rasterio.open(tmp_path / "b.tif") as found:
        labels, transform, bounds = found.read(1), found.transform, found.bounds
    with rasterio.open(scene) as source:
        assert bounds == source.bounds
    assert (transform.a, transform.e) == (1.0, -1.0)
    assert (labels == predict(model, small)).mean() > 0.999
    job = SceneJob(str(scene), tmp_path / "c.tif", options)
    crew = LocalCrew(setup_of(model, engine="eager", precision=None, threads=1), 1)
    (outcome,) = predict_scenes(model, [job], crew=crew)
    assert outcome.error is None
    with rasterio.open(tmp_path / "c.tif") as found:
        assert (found.read(1) == labels).mean() > 0.9999


def test_a_scene_of_that_size_is_left_as_it_is(model: Segmenter, tmp_path: Path) -> None:
    near = rasterio.Affine(1.004, 0, 500_000, 0, -1.004, 4_000_000)
    scene = write(tmp_path / "a.tif", picture(70, 90), transform=near)
    predict_scene(model, scene, tmp_path / "b.tif", options=SceneOptions(resample=True))
    predict_scene(model, scene, tmp_path / "c.tif")
    assert (tmp_path / "b.tif").read_bytes() == (tmp_path / "c.tif").read_bytes()


def test_the_pixel_size_is_that_of_the_images_a_run_has_seen() -> None:
    """Training stores it in the fingerprint of its images; the bundle may say another one."""
    options = NetworkOptions(encoder_width=0.125)
    made = build("unet", encoder="resnet18", classes=3, options=options).eval()
    seen = Fingerprint.model_construct(pixel_size=0.25)
    made.facts = BundleFacts().model_copy(update={"fingerprint": seen})
    assert wanted_pixel_size(made) == 0.25
    made.facts = made.facts.model_copy(update={"pixel_size": 2.0})
    assert wanted_pixel_size(made) == 2.0


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_cannot_be_resampled_says_why(model: Segmenter, tmp_path: Path) -> None:
    options = SceneOptions(resample=True)
    scene = write(tmp_path / "a.tif", picture(40, 50))
    nowhere = write(tmp_path / "n.tif", picture(40, 50), crs=None, transform=None)
    unknowing = build(
        "unet", encoder="resnet18", classes=3, options=NetworkOptions(encoder_width=0.125)
    ).eval()
    with pytest.raises(DataError, match="does not say how large its pixels are"):  # of one scene among others
        predict_scene(model, nowhere, tmp_path / "b.tif", options=options)
    with pytest.raises(OptionError, match="does not know how large a pixel"):
        predict_scene(unknowing, scene, tmp_path / "b.tif", options=options)
    model.facts = BundleFacts(pixel_size=1e-9)
    try:
        with pytest.raises(DataError, match="would have 20000000000 x 25000000000 pixels"):
            predict_scene(model, scene, tmp_path / "b.tif", options=options)
    finally:
        model.facts = BundleFacts(pixel_size=1.0)
    assert not (tmp_path / "b.tif").exists()
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(OptionError, match=r"photo\.png does not say how large its pixels are"):
        told_apart([tmp_path / "photo.png"], tmp_path / "out", resample=True)
    small = told_apart([scene], tmp_path / "out", resample=True)
    assert [source for source, _ in small.scenes] == [str(scene)]
    assert not small.images
