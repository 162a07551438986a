"""The published datasets beside the project, read and judged by what their description says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.check import check_dataset
from pixelwise.data.classes import ClassTable
from pixelwise.data.classfile import parse_document
from pixelwise.data.dataset import open_dataset
from pixelwise.data.read import read_image, read_mask
from pixelwise.data.stats import class_counts
from pixelwise.errors import MaskError

Shared = Callable[[str], Path]

CAMVID = parse_document({
    "classes": ["sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car",
                "pedestrian", "bicyclist"],
    "ignore": [11],
})  # fmt: skip
CAMVID_SHARES = {
    "train": [16.85, 23.26, 0.98, 31.66, 4.49, 9.72, 1.17, 1.13, 5.87, 0.64, 0.29, 3.95],
    "val": [9.18, 25.96, 0.56, 28.95, 8.72, 16.34, 0.89, 3.08, 1.75, 0.65, 2.22, 1.70],
    "test": [17.07, 24.61, 1.18, 25.81, 9.27, 11.25, 1.01, 1.18, 3.97, 0.63, 0.19, 3.83],
}
AERIAL = {
    "classes": [
        {"name": name, "color": color}
        for name, color in (
            ("building", "#3C1098"), ("land", "#8429F6"), ("road", "#6EC1E4"), ("vegetation", "#FEDD3A"),
            ("water", "#E2A929"), ("unlabeled", "#9B9B9B"),
        )
    ],
    "ignore": ["#000000"],
}  # fmt: skip


def test_camvid(shared_data: Shared) -> None:
    data = open_dataset(shared_data("camvid"), classes=CAMVID)
    assert [len(split) for split in data.splits] == [367, 101, 233]
    assert data.split_origin == "folders"
    for split in data.splits:
        counts = class_counts(split)
        shares = [*counts.pixels / counts.total * 100, counts.ignored / counts.total * 100]
        assert np.allclose(shares, CAMVID_SHARES[split.name], atol=0.006)


def test_aerial_by_index(shared_data: Shared) -> None:
    root = shared_data("aerial")
    data = open_dataset(root, split=f"{root / 'splits.csv'}:split_by_tile")
    assert [len(split) for split in data.splits] == [54, 9, 9]
    assert "used masks/; left out masks_rgb/" in data.notes
    counts = [class_counts(split) for split in data.splits]
    pixels, total = sum(part.pixels for part in counts), sum(part.total for part in counts)
    assert np.allclose(pixels / total * 100, [13.31, 52.36, 9.35, 10.31, 13.61, 0.51], atol=0.006)
    assert sum(part.ignored for part in counts) / total * 100 == pytest.approx(0.56, abs=0.006)


def test_aerial_by_color(shared_data: Shared, tmp_path: Path) -> None:
    root = shared_data("aerial")
    (tmp_path / "images").symlink_to(root / "images")
    shutil.copytree(root / "masks_rgb", tmp_path / "masks")
    everything = {"train": [file.stem for file in (root / "masks").iterdir()]}
    by_color = open_dataset(tmp_path, classes=parse_document(AERIAL), split=everything).train
    assert by_color.table.by_color  # tiles 2 and 4 are palette images
    for index, pair in enumerate(by_color.pairs):
        expected = np.asarray(Image.open(root / "masks" / f"{pair.name}.png"))
        assert np.array_equal(by_color.labels(index), expected), pair.name
    again = ClassTable.from_dict(by_color.table.as_dict())
    assert np.array_equal(again.to_labels(read_mask(by_color.pairs[20].mask)), by_color.labels(20))


def test_aerial_drone(shared_data: Shared) -> None:
    report = check_dataset(shared_data("aerial_drone"))
    assert report.ok and report.images == {"train": 182, "val": 39, "test": 39}
    shares = [share.share * 100 for share in report.classes]
    assert np.allclose(shares, [6.89, 1.88, 28.42, 0.23, 62.42, 0.15], atol=0.006)
    assert [share.images for share in report.classes] == [53, 123, 217, 12, 257, 16]


def test_membrane(shared_data: Shared) -> None:
    root = shared_data("membrane")
    with pytest.raises(MaskError, match="only the values 0 and 255") as caught:
        open_dataset(root)
    assert "values: {0: background, 255: foreground}" in caught.value.remedy
    table = parse_document({"classes": ["membrane", "cell"], "values": {0: "membrane", 255: "cell"}})
    data = open_dataset(root, classes=table, split="blocks")
    assert [len(split) for split in data.splits] == [21, 3, 6]
    assert data.test.names == ("24", "25", "26", "27", "28", "29")
    counts = sum(class_counts(split).pixels for split in data.splits)
    assert np.allclose(counts / np.sum(counts) * 100, [21.96, 78.04], atol=0.006)


def test_voc(shared_data: Shared) -> None:
    root = shared_data("formats/voc")
    data = open_dataset(root, split={"train": ["2011_000003", "2011_000006", "2011_000025"]})
    assert len(data.classes) == 21 and data.classes[15].name == "person"
    for sample in data.train:
        with Image.open(root / "SegmentationClass" / f"{sample.name}.png") as mask:
            assert mask.mode == "P"
            assert np.array_equal(sample.labels, np.asarray(mask))
    assert read_mask(root / "SegmentationClass" / "2011_000003.png").palette[15] == "#c08080"  # type: ignore[index]


def test_digits(shared_data: Shared) -> None:
    data = open_dataset(shared_data("digits"))
    assert data.task == "classify" and (data.bands, data.dtype) == (1, "uint8")
    assert [len(split) for split in data.splits] == [17000, 3000, 10000]
    assert np.bincount(data.test.targets).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.test.classified(0).target == 7 and data.test.classified(0).image.shape == (28, 28, 1)


def test_xray(shared_data: Shared) -> None:
    data = open_dataset(shared_data("xray"))
    assert data.table.names == ("normal", "pneumonia")
    counts = [np.bincount(split.targets).tolist() for split in data.splits]
    assert counts == [[931, 930], [145, 134], [264, 277]]
    assert data.val.classified(0).image.shape == (128, 128, 1)


@pytest.mark.parametrize("scene", [
    "eye_in_the_sky_multispectral/scene.tif", "eye_in_the_sky_multispectral/gt_rgb.tif",
    "landsat_rgb/RGB.byte.tif",
    "spacenet_atlanta_pan/scene.tif", "naip_4band/naip_2018.tif",
])  # fmt: skip
def test_scenes_read_as_rasterio_reads_them(shared_data: Shared, scene: str) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = shared_data(f"geo/{scene}")
    with rasterio.open(path) as source:
        expected = np.moveaxis(source.read(), 0, 2)
    image = read_image(path)
    assert image.dtype == expected.dtype and np.array_equal(image, expected)
