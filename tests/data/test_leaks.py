from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pixelwise.data.check import check_dataset
from pixelwise.data.dataset import open_dataset
from pixelwise.data.leaks import LeakReport, find_leaks
from pixelwise.data.regroup import propose
from pixelwise.geo.raster import available, write_geotiff
from pixelwise.types import SPLITS


def scene(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Blobs of several sizes, no two scenes alike."""
    rng = np.random.default_rng(seed)
    layers = [ndimage.gaussian_filter(rng.normal(size=(height, width)), s) * s for s in (2, 4, 9, 20)]
    grey = sum(layers)
    grey = 128 + 45 * grey / grey.std()
    tint = rng.uniform(0.7, 1.0, 3)
    return (grey[..., None] * tint).clip(0, 255).astype(np.uint8)


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write an image with a mask of one class into a split; `quality` makes it a JPEG."""
    (tmp_path / "classes.yaml").write_text("[ground, roof]\n")

    def write(split: str, name: str, array: NDArray[np.uint8], quality: int = 0) -> Path:
        image = tmp_path / "images" / split / (f"{name}.jpg" if quality else f"{name}.png")
        mask = tmp_path / "masks" / split / f"{name}.png"
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(image, **({"quality": quality} if quality else {}))
        Image.fromarray(np.zeros(array.shape[:2], np.uint8)).save(mask)
        return image

    return write


def fill(put: Callable[..., Path], first: int = 100) -> None:
    """Images that have nothing to do with anything."""
    words = ["ash", "elm", "fir", "oak", "yew", "box"]
    for number, (word, split) in enumerate(
        zip(words, ["train", "train", "train", "val", "test", "test"], strict=True)
    ):
        put(split, word, scene(200, 240, first + number))


def found(root: Path) -> tuple[LeakReport, dict[tuple[str, str], str]]:
    report = find_leaks(open_dataset(root))
    return report, {(min(x.first, x.second), max(x.first, x.second)): x.kind for x in report.leaks}


def resized(array: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    size = (round(array.shape[1] * factor), round(array.shape[0] * factor))
    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BILINEAR))


def test_unrelated_images_leak_nothing(put: Callable[..., Path], tmp_path: Path) -> None:
    fill(put)
    report, pairs = found(tmp_path)
    assert pairs == {} and set(report.proposal.groups.values()) == set(report.proposal.groups)


@pytest.mark.parametrize(
    ("kind", "change", "quality"),
    [
        ("copy", lambda a: a, 0),
        ("near duplicate", lambda a: a, 50),
        ("near duplicate", lambda a: resized(a, 0.5), 0),
        ("near duplicate", lambda a: resized(a, 2), 75),
        ("near duplicate", lambda a: np.rot90(a), 0),
        ("near duplicate", lambda a: a[:, ::-1], 90),
        ("overlap", lambda a: a[:, 110:], 0),
        ("overlap", lambda a: np.rot90(a[90:]), 80),
    ],
)
def test_what_was_made_from_an_image_is_found_in_another_split(
    put: Callable[..., Path],
    tmp_path: Path,
    kind: str,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    quality: int,
) -> None:
    fill(put)
    image = scene(260, 330, 1)
    put("train", "left", image if kind != "overlap" else image[:200, :220])
    put("test", "right", np.ascontiguousarray(change(image)), quality)
    report, pairs = found(tmp_path)
    assert pairs == {("left", "right"): kind}
    groups = report.proposal.groups
    assert groups["left"] == groups["right"]
    homes = [{"left", "right"} & set(report.proposal.names[split]) for split in SPLITS]
    assert sorted(len(home) for home in homes) == [0, 0, 2]


def test_the_shift_and_the_share_of_crops_are_those_they_were_cut_with(
    put: Callable[..., Path], tmp_path: Path
) -> None:
    image = scene(300, 400, 2)
    put("train", "one", image[:240, :300])
    put("test", "two", image[60:, 70:])
    put("val", "else", scene(200, 200, 3))
    report, _ = found(tmp_path)
    (leak,) = report.leaks
    assert leak.kind == "overlap" and leak.turn == 0 and leak.shift is not None
    assert leak.shift == pytest.approx((-60, -70), abs=1.5)
    assert leak.share == pytest.approx(180 * 230 / (240 * 300), abs=0.03)


def test_tiles_of_one_scene_are_known_by_their_borders(put: Callable[..., Path], tmp_path: Path) -> None:
    fill(put)
    image = scene(400, 480, 4)
    for name, split, row, column in (
        ("ant", "train", 0, 0),
        ("bee", "test", 0, 1),
        ("cow", "train", 1, 0),
        ("dog", "val", 1, 1),
    ):
        put(split, name, image[row * 200 : row * 200 + 200, column * 240 : column * 240 + 240])
    report, pairs = found(tmp_path)
    assert pairs == dict.fromkeys([("ant", "bee"), ("bee", "dog"), ("cow", "dog")], "side by side")
    shifts = {(leak.first, leak.second): leak.shift for leak in report.leaks}
    assert shifts[("ant", "bee")] == (0, -240)
    assert len({report.proposal.groups[name] for name in ("ant", "bee", "cow", "dog")}) == 1


def test_frames_of_one_film_are_a_group(put: Callable[..., Path], tmp_path: Path) -> None:
    for film in range(6):
        for frame in range(3):
            split = ("train", "val", "test")[frame] if film < 2 else "train"
            put(split, f"film{film}_{frame:03}", scene(120, 120, 10 * film + frame))
    report, pairs = found(tmp_path)
    assert set(pairs.values()) == {"same group"} and len(pairs) == 6
    for split in SPLITS:
        films = {name.split("_")[0] for name in report.proposal.names[split]}
        assert len(report.proposal.names[split]) == 3 * len(films)


@pytest.mark.skipif(not available(), reason="needs rasterio")
def test_the_same_ground_is_found_where_nothing_looks_the_same(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("[ground, roof]\n")
    places = {"near": ("train", 0.0), "over": ("test", 60.0), "beside": ("val", 164.0)}
    for number, (name, (split, east)) in enumerate(places.items()):
        for kind in ("images", "masks"):
            (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
        write_geotiff(
            tmp_path / "images" / split / f"{name}.tif",
            scene(104, 104, number),
            origin=(500_000 + east, 5_000_000),
            pixel_size=1.0,
            crs="EPSG:32631",
        )
        Image.fromarray(np.zeros((104, 104), np.uint8)).save(tmp_path / "masks" / split / f"{name}.png")
    report, pairs = found(tmp_path)
    assert pairs == {("near", "over"): "same ground"}
    assert report.leaks[0].share == pytest.approx(44 / 104, abs=1e-3)
    (warning,) = (f.problem for f in check_dataset(tmp_path).warnings if f.problem.code == "split-ground")
    assert "1 pair of images in train and test" in warning.found and warning.count == 1
    assert "near (train) and over (test), 42%" in warning.found and "--leaks" in warning.remedy


def test_check_warns_of_near_duplicates_once(put: Callable[..., Path], tmp_path: Path) -> None:
    fill(put)
    image = scene(200, 260, 5)
    put("train", "left", image)
    put("test", "right", image, 60)
    put("test", "also", resized(image, 0.5))
    report = check_dataset(tmp_path)
    texts = [
        finding.problem.found for finding in report.warnings if "near duplicates" in finding.problem.found
    ]
    assert len(texts) == 1 and texts[0].startswith("2 pairs of near duplicates in train and test")


def test_check_says_of_equal_files_only_that_they_are_equal(put: Callable[..., Path], tmp_path: Path) -> None:
    fill(put)
    image = scene(200, 260, 6)
    put("train", "left", image)
    put("test", "right", image)
    texts = [finding.problem.found for finding in check_dataset(tmp_path).warnings]
    assert sum("same image" in text for text in texts) == 1
    assert not any("near duplicates" in text for text in texts)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=25), st.integers(0, 10_000))
def test_a_proposed_split_keeps_groups_whole_and_shares_near(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = {f"g{g}_{n}": f"g{g}" for g, size in enumerate(sizes) for n in range(size)}
    shares = dict(zip(SPLITS, rng.dirichlet([4, 1, 1]).tolist(), strict=True))
    proposal = propose(groups, shares)
    home = {name: split for split in SPLITS for name in proposal.names[split]}
    assert home.keys() == groups.keys()
    by_group: dict[str, set[str]] = {}
    for name, group in proposal.groups.items():
        by_group.setdefault(group, set()).add(home[name])
    assert all(len(splits) == 1 for splits in by_group.values())
    assert sum(bool(names) for names in proposal.names.values()) == min(3, len(by_group))
    largest = max(list(proposal.groups.values()).count(group) for group in by_group)
    for split in SPLITS:  # no split is over its share by more than one group
        assert len(proposal.names[split]) <= shares[split] * len(groups) + largest + 1e-9


def test_the_table_of_a_proposal_is_read_as_a_split(put: Callable[..., Path], tmp_path: Path) -> None:
    fill(put)
    report, _ = found(tmp_path)
    table = tmp_path.parent / "split.csv"
    table.write_text(report.proposal.csv_text())
    assert open_dataset(tmp_path, split=str(table)).split_names() == {
        split: list(report.proposal.names[split]) for split in SPLITS
    }
    rows = list(csv.DictReader(io.StringIO(report.proposal.csv_text())))
    assert rows[0].keys() == {"name", "split", "group"}


def test_tiles_and_films_of_real_data(shared_data: Callable[[str], Path]) -> None:
    names = [f"tile{tile}_part0{part}" for tile in (1, 2) for part in range(1, 10)]
    split = {"train": names[::3] + names[1::3], "val": names[2::6], "test": names[5::6]}
    data = open_dataset(shared_data("aerial"), classes=Path("recipes/aerial/classes.yaml"), split=split)
    report = find_leaks(data)
    assert report.counts["side by side"] > 3
    tiles = [(leak.first[:5], leak.second[:5]) for leak in report.leaks]
    assert all(one == two for one, two in tiles)
    homes = {name: part for part in SPLITS for name in report.proposal.names[part]}
    for tile in (1, 2):
        assert len({homes[f"tile{tile}_part0{part}"] for part in range(1, 10)}) == 1
