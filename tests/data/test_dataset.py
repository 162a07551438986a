from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data import photos
from pixelwise.data.check import check_dataset
from pixelwise.data.classfile import parse_document
from pixelwise.data.dataset import open_dataset
from pixelwise.data.items import Pair
from pixelwise.data.stats import class_counts, normalization
from pixelwise.errors import ClassesError, DataError, LayoutError, MaskError, PixelwiseError

Writer = Callable[..., Path]
THREE = "[a, b, c]\n"


def test_a_sample(write_pairs: Writer) -> None:
    root = write_pairs("a", "b", "c")
    (root / "classes.yaml").write_text(THREE)
    data = open_dataset(root)
    assert (data.task, data.bands, data.dtype) == ("segment", 3, "uint8")
    sample = data.train[0]
    assert sample.name == data.train.names[0]
    with Image.open(root / "images" / f"{sample.name}.png") as picture:
        assert np.array_equal(sample.image, np.asarray(picture))
    with Image.open(root / "masks" / f"{sample.name}.png") as picture:
        assert np.array_equal(sample.labels, np.asarray(picture))
    assert [s.name for s in data.val] == list(data.val.names)
    assert data.train[-1].name == data.train.names[-1]
    with pytest.raises(IndexError):
        data.train[99]


def test_opening_decodes_nothing_when_the_classes_are_known(
    write_pairs: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_pairs("a", "b", "c")
    (root / "classes.yaml").write_text(THREE)

    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(photos, "image", refuse)
    monkeypatch.setattr(photos, "mask", refuse)
    data = open_dataset(root)
    assert data.notes[0] == "classes from classes.yaml"
    with pytest.raises(DataError, match="decoded"):
        data.train[0]


def test_a_split_is_made_and_said(write_pairs: Writer) -> None:
    root = write_pairs(*(f"i{n}" for n in range(20)))
    data = open_dataset(root, seed=3)
    assert [len(split) for split in data.splits] == [14, 3, 3]
    assert data.split_origin == "seeded 70/15/15, seed 3"
    assert any("70/15/15" in note for note in data.notes)
    assert open_dataset(root, seed=3).split_names() == data.split_names()
    assert open_dataset(root, seed=4).split_names() != data.split_names()
    again = open_dataset(root, split=data.split_names())
    assert again.split_names() == data.split_names() and again.split_origin == "given"


def test_val_is_taken_from_train(write_pairs: Writer) -> None:
    write_pairs(*(f"a{n}" for n in range(20)), images="images/train", masks="masks/train")
    root = write_pairs("b", images="images/test", masks="masks/test")
    data = open_dataset(root)
    assert [len(split) for split in data.splits] == [17, 3, 1]
    assert data.split_origin == "folders; val: 15 % of train, seed 0"
    assert data.test.names == ("b",)


def test_train_alone_is_split_and_missing_test_stays_empty(write_pairs: Writer) -> None:
    root = write_pairs(*(f"a{n}" for n in range(20)), images="images/train", masks="masks/train")
    assert [len(split) for split in open_dataset(root).splits] == [14, 3, 3]
    write_pairs("b", images="images/val", masks="masks/val")
    data = open_dataset(root)
    assert [len(split) for split in data.splits] == [20, 1, 0]
    assert "the test split is empty" in data.notes


def test_blocks_and_tables(write_pairs: Writer) -> None:
    root = write_pairs(*(f"i{n}" for n in range(10)))
    assert open_dataset(root, split="blocks").test.names == ("i8", "i9")
    (root / "s.csv").write_text(
        "name,split\n" + "".join(f"i{n},{'test' if n > 6 else 'train'}\n" for n in range(9))
    )
    data = open_dataset(root, split=root / "s.csv")
    assert data.test.names == ("i7", "i8") and len(data.val) == 1
    assert data.split_origin == "table s.csv, column split; val: 15 % of train, seed 0"
    assert "left out 1 images that the split does not name" in data.notes


def test_classes_given_by_the_caller(write_pairs: Writer, tmp_path: Path) -> None:
    root = write_pairs("a")
    (root / "classes.yaml").write_text("[x]")
    (tmp_path / "other.yaml").write_text(THREE)
    assert open_dataset(root, classes=tmp_path / "other.yaml").table.names == ("a", "b", "c")
    table = parse_document(["p", "q", "r"])
    assert open_dataset(root, classes=table).table is table
    (root / "classes.yaml").unlink()
    (root / "codes.txt").write_text("u\nv\nw\n")
    assert open_dataset(root).table.names == ("u", "v", "w")
    (root / "codes.txt").unlink()
    assert open_dataset(root).table.names == ("class_0", "class_1", "class_2")


def test_palette_masks_among_color_masks_are_colors(write_pairs: Writer) -> None:
    root = write_pairs("a", "b")
    (root / "classes.yaml").write_text("[{name: x, color: '#0a0000'}, {name: y, color: '#000b00'}]")
    picture = Image.fromarray(np.array([[0, 1]] * 2, np.uint8).repeat(4, 1).repeat(3, 0)).convert("P")
    picture.putpalette([0, 11, 0, 10, 0, 0])
    for name in "ab":
        picture.save(root / "masks" / f"{name}.png")
    as_indices = open_dataset(root, split={"train": ["a", "b"]})
    assert as_indices.train[0].labels[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    picture.convert("RGB").save(root / "masks" / "b.png")
    as_colors = open_dataset(root, split={"train": ["a", "b"]})
    assert [sample.labels[0].tolist() for sample in as_colors.train] == [[1, 1, 1, 1, 0, 0, 0, 0]] * 2


def test_all_files_without_a_partner_are_in_one_error(write_pairs: Writer, write_image: Writer) -> None:
    root = write_pairs("a")
    for name in ("p", "q"):
        write_image(f"images/{name}.png")
    write_image("masks/r.png")
    with pytest.raises(LayoutError) as caught:
        open_dataset(root)
    assert "this image has no mask: p.png, q.png" in str(caught.value)
    assert "this mask has no image: r.png" in str(caught.value)


def test_wrong_size_bands_and_values_surface_with_the_file(
    write_pairs: Writer, write_image: Writer, write_mask: Writer
) -> None:
    root = write_pairs("a", "b", "c", "d")
    write_image("images/b.png", bands=1)
    write_mask("masks/c.png", size=(8, 6))
    write_mask("masks/d.png", [0, 1, 9])
    (root / "classes.yaml").write_text(THREE)
    train = open_dataset(root, split={"train": list("abcd")}).train
    for index, kind, found in (
        (1, DataError, "1 bands"),
        (2, MaskError, "exchanged"),
        (3, MaskError, "value 9"),
    ):
        with pytest.raises(kind, match=found) as caught:
            train[index]
        assert isinstance(caught.value, PixelwiseError)
        assert caught.value.file is not None and caught.value.file.stem == "abcd"[index]


def test_classification_from_folders(write_image: Writer, tmp_path: Path) -> None:
    for index in range(6):
        write_image(f"{'cat' if index % 2 else 'dog'}/{index}.png")
    data = open_dataset(tmp_path, split="blocks")
    assert data.task == "classify" and data.table.names == ("cat", "dog")
    assert data.train.targets == tuple(int("dog" in name) for name in data.train.names)
    one = data.train.classified(0)
    assert one.target == data.train.targets[0] and one.image.shape == (6, 8, 3)
    with pytest.raises(DataError, match="class per image"):
        data.train[0]
    (tmp_path / "classes.yaml").write_text("[cat, fish]")
    with pytest.raises(ClassesError, match="cat, fish, the folders cat, dog"):
        open_dataset(tmp_path)


def test_segmentation_from_arrays(tmp_path: Path) -> None:
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3
    np.savez(tmp_path / "set.npz", images=np.zeros((2, 3, 4), np.uint16), labels=labels)
    data = open_dataset(tmp_path / "set.npz", split={"train": ["set/000001"], "val": ["set/000000"]})
    assert data.task == "segment" and data.train.pairs == () and len(data.classes) == 3
    assert np.array_equal(data.train[0].labels, labels[1])
    assert data.train[0].image.shape == (3, 4, 1) and data.dtype == "uint16"
    assert class_counts(data.train).pixels.tolist() == [4, 4, 4]


def test_numbers_in_arrays_that_are_no_measurements(tmp_path: Path) -> None:
    images = np.ones((3, 4, 5, 2), np.float32)
    images[1, 2, 3, 1] = np.nan
    np.savez(tmp_path / "train.npz", images=images, labels=np.zeros((3, 4, 5), np.uint8))
    data = open_dataset(tmp_path, split={"train": [f"train/00000{row}" for row in range(3)]})
    assert data.train[0].image.shape == (4, 5, 2)
    with pytest.raises(
        DataError, match=r"images\[1\]: 1 pixels are NaN or infinite \(first at row 2, column 3\)"
    ):
        data.train[1]


def test_arrays_that_change_are_read_again(tmp_path: Path) -> None:
    for value in (1, 2):
        np.savez(
            tmp_path / "set.npz", images=np.full((3, 2, 2 + value), value, np.uint8), labels=np.arange(3)
        )
        assert open_dataset(tmp_path).train.classified(0).image.flat[0] == value


def test_digest_depends_on_bytes_and_split(write_pairs: Writer, write_mask: Writer) -> None:
    root = write_pairs("a", "b", "c")
    first = open_dataset(root).digest()
    assert open_dataset(root).digest() == first
    assert open_dataset(root, split={"train": ["a", "b", "c"]}).digest() != first
    write_mask("masks/a.png", [2, 1, 0])
    assert open_dataset(root).digest() != first


def test_evenly(write_pairs: Writer) -> None:
    train = open_dataset(
        write_pairs(*(f"{n}" for n in range(10))), split={"train": [f"{n}" for n in range(10)]}
    ).train
    assert train.evenly(3).names == ("0", "3", "6")
    assert train.evenly(99).names == train.names
    assert isinstance(train.evenly(1).items[0], Pair)


def test_statistics_equal_numpy(write_pairs: Writer, write_image: Writer) -> None:
    root = write_pairs("a", "b", "c", values=(0, 1, 1, 255))
    write_image("images/c.png", size=(6, 8))
    train = open_dataset(root, split={"train": list("abc")}).train
    pixels = np.concatenate([sample.image.reshape(-1, 3) for sample in train]).astype(float)
    values = normalization(train)
    assert np.allclose(values.mean, pixels.mean(axis=0)) and np.allclose(values.std, pixels.std(axis=0))
    counts = class_counts(train)
    labels = np.stack([sample.labels for sample in train])
    assert counts.pixels.tolist() == [(labels == 0).sum(), (labels == 1).sum()]
    assert (counts.ignored, counts.total) == ((labels == 255).sum(), labels.size)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", 0), ("uint16", 65535), ("int16", -32768), ("float32", -9999)]
)
def test_pixels_declared_empty_count_nowhere(write_pairs: Writer, dtype: str, nodata: int) -> None:
    root = write_pairs("a", "b", values=(0, 1))
    rng = np.random.default_rng(5)
    kept = []
    for name in "ab":
        image = rng.integers(1, 200, (6, 8, 3)).astype(dtype)
        image[:2] = nodata  # sixteen pixels
        if nodata >= 0:
            image[4, 4, 1] = nodata  # in one band: a measurement
        (root / f"images/{name}.png").unlink()
        tags = [(42113, "s", 0, str(nodata), True)]
        tifffile.imwrite(root / f"images/{name}.tif", image, photometric="rgb", extratags=tags)
        kept.append(image[2:].reshape(-1, 3))
    data = open_dataset(root, split={"train": ["a", "b"]})
    for index, sample in enumerate(data.train):
        assert (sample.labels[:2] == 255).all() and (sample.labels[2:] != 255).all()
        assert np.array_equal(data.train.labels(index), sample.labels)
        assert not sample.image[:2].any() and np.array_equal(sample.image[2:].reshape(-1, 3), kept[index])
    pixels = np.concatenate(kept).astype(float)
    values = normalization(data.train)
    assert np.allclose(values.mean, pixels.mean(axis=0)) and np.allclose(values.std, pixels.std(axis=0))
    report = check_dataset(root, split={"train": ["a", "b"]})
    assert report.ok and report.normalization == values and report.ignored == 32
    assert "32 pixels without data (as declared) count nowhere: 2 (a.tif, b.tif)" in report.notes
    assert all(band.low >= 0 for band in report.histograms)


def test_a_constant_band_does_not_divide_by_zero(write_pairs: Writer) -> None:
    root = write_pairs("a")
    Image.fromarray(np.full((6, 8, 3), 77, np.uint8)).save(root / "images" / "a.png")
    values = normalization(open_dataset(root, split={"train": ["a"]}).train)
    assert values.mean == (77.0, 77.0, 77.0) and values.std == (1.0, 1.0, 1.0)
    with pytest.raises(DataError, match="no image"):
        normalization(open_dataset(root, split={"train": ["a"]}).val)
