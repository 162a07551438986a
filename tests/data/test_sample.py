"""The generated town: the same bytes from the same seed, exact labels, in the right place, and hard."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from scipy import ndimage

from pixelwise.data.sample import CLASSES, write_sample
from pixelwise.data.sample.paint import road_mask
from pixelwise.data.sample.render import draw_weather, render
from pixelwise.data.sample.write import sample_town
from pixelwise.errors import OptionError, OutputError
from pixelwise.geo import raster
from pixelwise.types import SPLITS

needs_geo = pytest.mark.skipif(not raster.available(), reason="rasterio is not installed")


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def read(path: Path) -> np.ndarray:
    return tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".tif", ".png"))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample") / "town", tiles=(12, 6, 6), scene=600)


def test_the_layout_is_the_documented_one(town: Path) -> None:
    for split, count in zip(SPLITS, (12, 6, 6), strict=True):
        images, masks = pictures(town / "images" / split), pictures(town / "masks" / split)
        assert [path.name for path in images] == [path.name for path in masks]
        assert len(images) == count
        assert read(images[0]).shape == (512, 512, 3)
    scene, labels = sorted(pictures(town / "scene"), key=lambda path: path.stem != "scene")
    assert read(scene).shape == (600, 600, 3)
    assert read(labels).shape == (600, 600)
    names = [entry["name"] for entry in yaml.safe_load((town / "classes.yaml").read_text())]
    assert names == [spec.name for spec in CLASSES]
    assert names == ["background", "building", "road", "tree", "water", "soil"]
    assert sorted(path.name for path in town.iterdir()) == ["classes.yaml", "images", "masks", "scene"]


def test_every_class_has_its_share_in_every_split_and_nothing_else_occurs(town: Path) -> None:
    for folder in [*(town / "masks" / split for split in SPLITS)]:
        counts = sum(np.bincount(read(path).ravel(), minlength=6) for path in pictures(folder))
        assert len(counts) == 6
        assert (counts / counts.sum() > 0.01).all(), (folder, counts / counts.sum())


def test_same_seed_same_bytes_whatever_else_is_written(tmp_path: Path) -> None:
    first = digests(write_sample(tmp_path / "a", tiles=(3, 1, 1), size=96, scene=128, seed=5))
    again = digests(write_sample(tmp_path / "b", tiles=(3, 1, 1), size=96, scene=128, seed=5))
    fewer = digests(write_sample(tmp_path / "c", tiles=(2, 0, 1), size=96, scene=0, seed=5))
    other = digests(write_sample(tmp_path / "d", tiles=(3, 1, 1), size=96, scene=128, seed=6))
    assert first == again
    assert fewer.items() <= first.items()
    assert len(fewer) == 7
    assert all(other[name] != digest for name, digest in first.items() if name.startswith("images"))


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    alone = digests(write_sample(tmp_path / "a", tiles=(1, 1, 0), size=64, scene=0))
    assert digests(write_sample(tmp_path / "b", tiles=(1, 1, 0), size=64, scene=0, workers=2)) == alone


def test_splits_and_scene_show_different_towns() -> None:
    plans = [sample_town(0, part, number, 512).lattice.nodes for part in range(4) for number in range(2)]
    for one, two in itertools.combinations(plans, 2):
        assert one.shape != two.shape or np.abs(one - two).mean() > 10


@pytest.mark.parametrize("seed", range(3))
def test_the_roads_of_a_scene_hang_together(seed: int) -> None:
    mask = road_mask(sample_town(seed, 3, 0, 2048))
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3)))
    assert count == 1, np.bincount(pieces.ravel())[1:]
    assert mask.mean() > 0.08


def test_windows_in_the_same_weather_fit_together() -> None:
    plan, weather = sample_town(0, 0, 0, 512), draw_weather(np.random.default_rng(0))
    whole, labels = render(plan, weather, left=100, top=200, width=200, height=120)
    part, part_labels = render(plan, weather, left=180, top=230, width=90, height=70)
    assert np.array_equal(labels[30:100, 80:170], part_labels)
    # Polygons are rasterised in the window's own coordinates: a handful of edge pixels may round otherwise.
    assert (whole[30:100, 80:170] == part).mean() > 0.99


@needs_geo
def test_tiles_lie_side_by_side_on_the_map(town: Path) -> None:
    import rasterio

    places = []
    for number in (0, 1, 4):
        with rasterio.open(town / "images" / "train" / f"train_{number:03d}.tif") as source:
            assert source.crs.to_epsg() == 32631
            places.append((source.bounds, source.res))
        with rasterio.open(town / "masks" / "train" / f"train_{number:03d}.tif") as source:
            assert (source.bounds, source.res) == places[-1]
            assert source.colormap(1)[4][:3] == CLASSES[4].rgb
    (first, res), (right, _), (below, _) = places
    assert 0.2 < res[0] < 0.5
    assert right.left == pytest.approx(first.right)
    assert right.top == pytest.approx(first.top)
    assert below.top == pytest.approx(first.bottom)
    assert below.left == pytest.approx(first.left)


def test_without_rasterio_there_are_png_files_with_world_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiffs = write_sample(tmp_path / "tif", tiles=(2, 0, 0), size=96, scene=0)
    monkeypatch.setattr(raster, "available", lambda: False)
    folder = write_sample(tmp_path / "png", tiles=(2, 0, 0), size=96, scene=0)
    assert not list(folder.rglob("*.tif"))
    world = [
        [float(line) for line in (folder / "images" / "train" / f"train_00{i}.pgw").read_text().split()]
        for i in range(2)
    ]
    size = world[0][0]
    assert world[0][1:4] == [0.0, 0.0, -size]
    assert world[1][4] - world[0][4] == pytest.approx(96 * size)
    assert world[1][5] == world[0][5]
    # A world file names the centre of the first pixel, and the first town of train has its corner here.
    assert world[0][4:] == pytest.approx([400_000 + size / 2, 5_000_000 - size / 2], abs=1e-5)
    mask = Image.open(folder / "masks" / "train" / "train_000.png")
    assert mask.mode == "P"
    assert tuple(mask.getpalette()[3:6]) == CLASSES[1].rgb
    for one, two in zip(
        pictures(folder / "masks" / "train"), pictures(tiffs / "masks" / "train"), strict=True
    ):
        assert np.array_equal(read(one), read(two))


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_sample(
        tmp_path, tiles=(1, 1, 1), size=64, scene=64, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_folder_that_holds_a_dataset_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(OutputError, match="images"):
        write_sample(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize(
    "options",
    [{"seed": -1}, {"tiles": (1, 2)}, {"tiles": (1, -1, 0)}, {"size": 8}, {"scene": 5}, {"workers": 0}],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        write_sample(tmp_path / "x", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


def test_colour_alone_does_not_solve_it(town: Path) -> None:
    forests = pytest.importorskip("sklearn.ensemble")

    def pixels(split: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng, colors, truth = np.random.default_rng(seed), [], []
        for path in pictures(town / "images" / split):
            spots = rng.integers(0, 512 * 512, size=1500)
            colors.append(read(path).reshape(-1, 3)[spots])
            truth.append(read(town / "masks" / split / path.name).ravel()[spots])
        return np.concatenate(colors), np.concatenate(truth)

    forest = forests.RandomForestClassifier(20, min_samples_leaf=5, random_state=0).fit(*pixels("train", 0))
    colors, truth = pixels("test", 1)
    confusion = np.zeros((6, 6))
    np.add.at(confusion, (truth, forest.predict(colors)), 1)
    iou = np.diag(confusion) / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion))
    assert 0.1 < iou.mean() < 0.55
