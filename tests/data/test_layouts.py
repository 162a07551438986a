from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.data.items import Labelled, Pair
from pixelwise.data.layouts import Layout, find_pairs
from pixelwise.errors import LayoutError, UnreadableError

Writer = Callable[..., Path]


def stems(layout: Layout) -> dict[str | None, list[tuple[str, str, str]]]:
    """Name, image file and mask file of each pair by split."""
    return {
        split: [(item.name, item.image.name, item.mask.name) for item in items if isinstance(item, Pair)]
        for split, items in layout.groups.items()
    }


def names(layout: Layout) -> dict[str | None, list[str]]:
    """Names of the items by split."""
    return {split: [item.name for item in items] for split, items in layout.groups.items()}


@pytest.mark.parametrize(("images", "masks"), [
    ("images", "masks"), ("Images", "Labels"), ("IMAGES", "annotations"), ("img_dir", "ann_dir"),
    ("imgs", "gt"),
    ("JPEGImages", "SegmentationClass"), ("image", "ground_truth"), ("some name", "masks"),
    ("images", "masks_rgb"),
    ("outer/images", "outer/masks"), (".", "masks"), ("rgb_images", "label"),
])  # fmt: skip
def test_folder_names(write_pairs: Writer, images: str, masks: str) -> None:
    layout = find_pairs(write_pairs("a", "b", images=images, masks=masks))
    assert list(layout.groups) == [None]
    assert [image for _, image, _ in stems(layout)[None]] == ["a.png", "b.png"]
    assert not layout.problems


@pytest.mark.parametrize(("images", "masks"), [
    ("images/{}", "masks/{}"), ("{}/images", "{}/masks"), ("{}", "{}annot"), ("{}", "{}_labels"),
    ("{}_images", "{}_masks"), ("images_{}", "labels_{}"), ("data/{}/img", "data/{}/label"),
])  # fmt: skip
@pytest.mark.parametrize("words", [("train", "val", "test"), ("Training", "validation", "testing"),
                                   ("train", "valid", "test")])  # fmt: skip
def test_split_folders(write_pairs: Writer, images: str, masks: str, words: tuple[str, ...]) -> None:
    for number, word in enumerate(words):
        root = write_pairs(f"a{number}", images=images.format(word), masks=masks.format(word))
    layout = find_pairs(root)
    found = {split: [image for _, image, _ in pairs] for split, pairs in stems(layout).items()}
    assert found == {"train": ["a0.png"], "val": ["a1.png"], "test": ["a2.png"]}
    assert layout.origin == "folders"


def test_nnunet_words(write_pairs: Writer) -> None:
    write_pairs("case_1_0000", images="imagesTr", masks="drop")
    root = write_pairs("case_1", images="drop", masks="labelsTr")
    shutil.rmtree(root / "drop")
    assert stems(find_pairs(root)) == {"train": [("case_1_0000", "case_1_0000.png", "case_1.png")]}


@pytest.mark.parametrize(("image", "mask"), [
    ("1", "1_mask"), ("1", "1_P"), ("1", "1_label"), ("1", "1_gt"), ("1", "1-mask"), ("1", "1_L"),
    ("1", "mask_1"),
    ("image_1", "mask_1"), ("1_sat", "1_mask"), ("1", "1_segmentation"), ("A1", "a1"),
    ("x_leftImg8bit", "x_gtFine_labelTrainIds"),
])  # fmt: skip
def test_affixes(write_image: Writer, write_mask: Writer, tmp_path: Path, image: str, mask: str) -> None:
    write_image(f"images/{image}.jpg")
    write_mask(f"masks/{mask}.png")
    layout = find_pairs(tmp_path)
    assert stems(layout)[None] == [(image, f"{image}.jpg", f"{mask}.png")]
    assert not layout.problems


def test_exact_names_win_over_affixes(write_pairs: Writer) -> None:
    layout = find_pairs(write_pairs("a", "a_label"))
    assert stems(layout)[None] == [("a", "a.png", "a.png"), ("a_label", "a_label.png", "a_label.png")]


def test_pairs_by_name_and_not_by_order(write_pairs: Writer, write_image: Writer, write_mask: Writer) -> None:
    root = write_pairs("1", "2", "10")
    write_image("images/3.png")
    write_mask("masks/0.png")
    layout = find_pairs(root)
    assert [(image, mask) for _, image, mask in stems(layout)[None]] == [
        (f"{n}.png", f"{n}.png") for n in (1, 2, 10)
    ]
    assert sorted(problem.file.name for problem in layout.problems if problem.file) == ["0.png", "3.png"]
    assert "has no mask" in str(layout.problems[0]) and "has no image" in str(layout.problems[1])


def test_masks_beside_the_images(write_image: Writer, write_mask: Writer, tmp_path: Path) -> None:
    for name in ("7_sat", "8_sat"):
        write_image(f"train/{name}.jpg")
        write_mask(f"train/{name[0]}_mask.png")
    pairs = [(f"{n}_sat", f"{n}_sat.jpg", f"{n}_mask.png") for n in (7, 8)]
    assert stems(find_pairs(tmp_path)) == {"train": pairs}


def test_several_mask_folders(write_pairs: Writer, write_mask: Writer) -> None:
    root = write_pairs("a")
    write_mask("masks_rgb/a.png")
    write_mask("labels/a.png")
    layout = find_pairs(root)
    assert layout.groups[None][0] == Pair(root / "images/a.png", root / "masks/a.png", "a")
    assert layout.notes == ["used masks/; left out labels/, masks_rgb/"]


def test_pictures_of_masks_are_no_masks(write_pairs: Writer) -> None:
    root = write_pairs("a", masks="mask_overlays")
    with pytest.raises(LayoutError, match="no folder of masks"):
        find_pairs(root)


def test_folders_without_meaning_are_part_of_the_name(write_pairs: Writer) -> None:
    write_pairs("p1", "p2", images="Tile 1/images", masks="Tile 1/masks")
    root = write_pairs("p1", images="Tile 2/images", masks="Tile 2/masks")
    layout = find_pairs(root)
    assert [item.name for item in layout.items] == ["Tile 1/p1", "Tile 1/p2", "Tile 2/p1"]


def test_names_repeated_across_splits_carry_the_split(write_pairs: Writer) -> None:
    write_pairs("1", "2", images="train/images", masks="train/masks")
    root = write_pairs("1", images="val/images", masks="val/masks")
    assert [item.name for item in find_pairs(root).items] == ["train/1", "train/2", "val/1"]


def test_junk_is_passed_over(write_pairs: Writer) -> None:
    root = write_pairs("a")
    for name in (".DS_Store", "._a.png", "Thumbs.db", "desktop.ini", ".hidden.png"):
        (root / "images" / name).write_bytes(b"x")
    (root / "__MACOSX" / "images").mkdir(parents=True)
    (root / "__MACOSX" / "images" / "a.png").write_bytes(b"x")
    layout = find_pairs(root)
    assert len(layout.items) == 1 and not layout.problems


def test_same_stem_twice_is_ambiguous(write_pairs: Writer, write_image: Writer) -> None:
    root = write_pairs("a", "b")
    write_image("images/a.jpg")
    layout = find_pairs(root)
    assert [problem.found for problem in layout.problems] == [
        "ambiguous images: a.jpg, a.png have the same stem"
    ]
    assert [item.name for item in layout.items] == ["b"]


@pytest.mark.parametrize(("first", "second"), [
    ("Ort", "ort"), (unicodedata.normalize("NFC", "\u00e9"), unicodedata.normalize("NFD", "\u00e9")),
])  # fmt: skip
def test_names_equal_after_folding(write_pairs: Writer, first: str, second: str) -> None:
    layout = find_pairs(write_pairs(first, second))
    assert len(layout.problems) == 2  # images and masks
    assert "differ only by case or Unicode form" in layout.problems[0].found


def test_unicode_forms_pair(write_image: Writer, write_mask: Writer, tmp_path: Path) -> None:
    write_image(f"images/{unicodedata.normalize('NFC', 'é')}.png")
    write_mask(f"masks/{unicodedata.normalize('NFD', 'é')}.png")
    assert len(find_pairs(tmp_path).items) == 1


def test_a_split_without_masks_is_left_out(write_pairs: Writer, write_image: Writer) -> None:
    root = write_pairs("a", images="images/train", masks="masks/train")
    write_image("images/test/x.png")
    layout = find_pairs(root)
    assert list(layout.groups) == ["train"] and not layout.problems
    assert layout.notes == ["left out the test split: 1 images without any mask"]


def test_unlabelled_folder_beside_is_no_split(write_pairs: Writer, write_image: Writer) -> None:
    root = write_pairs("a")
    write_image("test_images_unlabelled/x.png")
    layout = find_pairs(root)
    assert list(layout.groups) == [None] and not layout.problems


def test_classes_by_folder(write_image: Writer, tmp_path: Path) -> None:
    for name in (
        "train/cat/1.jpg",
        "train/dog/1.jpg",
        "val/dog/2.jpg",
        "train/cat10/3.jpg",
        "train/cat2/3.jpg",
    ):
        write_image(name)
    layout = find_pairs(tmp_path)
    assert layout.task == "classify"
    assert layout.class_names == ("cat", "cat2", "cat10", "dog")
    assert names(layout) == {"train": ["cat/1", "cat2/3", "cat10/3", "dog/1"], "val": ["dog/2"]}
    assert [item.target for item in layout.groups["train"] if isinstance(item, Labelled)] == [0, 1, 2, 3]


def test_arrays(tmp_path: Path) -> None:
    for name, count in (("digits_train", 3), ("digits_test", 2)):
        np.savez(tmp_path / f"{name}.npz", images=np.zeros((count, 4, 5), np.uint8), labels=np.arange(count))
    layout = find_pairs(tmp_path)
    assert layout.task == "classify"
    assert {split: len(items) for split, items in layout.groups.items()} == {"test": 2, "train": 3}
    assert find_pairs(tmp_path / "digits_test.npz").items[1].name == "digits_test/000001"


@pytest.mark.parametrize(("arrays", "found"), [
    ({"images": np.zeros((2, 3, 3), np.uint8)}, "no array 'labels'"),
    ({"images": np.zeros((2, 3, 3), np.uint8), "labels": np.zeros(3, int)}, "do not fit"),
    ({"images": np.zeros((2, 3, 3), np.uint8), "labels": np.zeros((2, 3, 4), int)}, "do not fit"),
    ({"images": np.zeros((2, 3, 3), np.uint8), "labels": np.zeros(2)}, "do not fit"),
    ({"images": np.zeros((2, 3, 3), complex), "labels": np.zeros(2, int)}, "images are complex128"),
    ({"images": np.zeros((0, 3, 3), np.uint8), "labels": np.zeros(0, int)}, "holds no images"),
])  # fmt: skip
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, Any], found: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(LayoutError, match=found):
        find_pairs(tmp_path)


def test_pickles_and_damage_in_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.array([{}], object), labels=np.zeros(1, int))
    with pytest.raises(UnreadableError, match="pickle"):
        find_pairs(tmp_path)
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(UnreadableError, match="cannot be read"):
        find_pairs(tmp_path / "b.npz")


def test_folders_that_are_no_dataset(tmp_path: Path, write_image: Writer, write_mask: Writer) -> None:
    with pytest.raises(LayoutError, match="no such folder"):
        find_pairs(tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(LayoutError, match="is no folder"):
        find_pairs(tmp_path / "file")
    with pytest.raises(LayoutError, match=r"holds no images \(only 1 without suffix\)"):
        find_pairs(tmp_path)
    write_mask("masks/a.png")
    with pytest.raises(LayoutError, match="masks but no images"):
        find_pairs(tmp_path)
    write_image("alone/images/a.png")
    with pytest.raises(LayoutError, match="no folder of masks"):
        find_pairs(tmp_path / "alone")


def test_what_is_passed_over_is_told(write_pairs: Writer, write_image: Writer) -> None:
    root = write_pairs("a", "b", "c", "d")
    for name in "bc":
        for kind in ("images", "masks"):
            (root / kind / f"{name}.png").rename(root / kind / f"{name}.ppm")
    write_image("more/x.png")
    write_image("images/1/2/3/4/5/6/y.png")
    for name in (
        "README",
        "LICENSE.txt",
        "classes.yaml",
        "table.csv",
        "images/a.png.aux.xml",
        "images/a.pgw",
    ):
        (root / name).write_text("x")
    layout = find_pairs(root)
    (warning,) = layout.warnings
    assert [item.name for item in layout.items] == ["a", "d"] and not layout.problems
    assert warning.code == "passed-over" and warning.count == 6
    assert warning.found == (
        "passed over: 4 .ppm (images/b.ppm, images/c.ppm, masks/b.ppm ...); 1 images in more/ (x.png); "
        "1 folders more than 6 deep (images/1/2/3/4/5/6/)"
    )


@pytest.mark.parametrize("name", ["test_images_unlabelled", "SegmentationObject", "scene"])
def test_a_folder_that_says_what_it_is_gives_a_note(
    write_pairs: Writer, write_image: Writer, name: str
) -> None:
    root = write_pairs("a")
    write_image(f"{name}/x.png")
    layout = find_pairs(root)
    assert not layout.warnings and layout.notes == [f"left out {name}/: 1 images"]


@pytest.mark.parametrize(("kind", "suffix", "told"), [
    ("images", ".jp2", "this mask has no image: images/b.jp2 lies there, a .jp2 file"),
    ("masks", "", "this image has no mask: masks/b lies there, without suffix"),
])  # fmt: skip
def test_a_partner_that_is_not_read_is_named(write_pairs: Writer, kind: str, suffix: str, told: str) -> None:
    root = write_pairs("a", "b")
    (root / kind / "b.png").rename(root / kind / f"b{suffix}")
    (problem,) = find_pairs(root).problems
    assert problem.found.startswith(told) and "add" not in problem.remedy


def test_images_that_are_all_of_another_kind(write_pairs: Writer) -> None:
    root = write_pairs("a")
    (root / "images/a.png").rename(root / "images/a.avif")
    with pytest.raises(LayoutError, match=r"masks but no images \(and 1 \.avif, not read\)"):
        find_pairs(root)


def test_links_in_a_circle_and_dangling(write_pairs: Writer) -> None:
    root = write_pairs("a")
    (root / "images" / "again").symlink_to(root, target_is_directory=True)
    (root / "images" / "b.png").symlink_to(root / "nowhere.png")
    layout = find_pairs(root)
    assert [item.name for item in layout.items] == ["a"]
    assert [problem.file and problem.file.name for problem in layout.problems] == ["b.png", "again"]
