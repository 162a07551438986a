from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pixelwise.data.layouts import Layout, find_pairs
from pixelwise.errors import LayoutError

Writer = Callable[..., Path]


def names(layout: Layout) -> dict[str | None, list[str]]:
    """Names of the items by split."""
    return {split: [item.name for item in items] for split, items in layout.groups.items()}


def test_lists_of_voc(write_pairs: Writer, write_image: Writer) -> None:
    root = write_pairs("a", "b", "c", "d", images="JPEGImages", masks="SegmentationClass")
    write_image("JPEGImages/detection_only.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    (lists / "trainval.txt").write_text("a\nb\nc\n")
    layout = find_pairs(root)
    assert names(layout) == {"train": ["a", "b"], "val": ["c"]}
    assert layout.origin == "lists ImageSets/Segmentation/train.txt, ImageSets/Segmentation/val.txt"
    assert not layout.problems
    assert "left out 1 pairs that no list names" in layout.notes


@pytest.mark.parametrize(
    "line", ["b", "b.png", "images/b.png", "./images/b.png", "/x/images/b.png /x/masks/b.png"]
)
def test_a_list_of_val_alone(write_pairs: Writer, line: str) -> None:
    root = write_pairs("a", "b", "c d")
    (root / "valid.txt").write_text(f"{line}\nc d.png\n")
    layout = find_pairs(root)
    assert names(layout) == {"val": ["b", "c d"], "train": ["a"]}


def test_lists_that_are_wrong(write_pairs: Writer, write_image: Writer) -> None:
    root = write_pairs("a", "b")
    write_image("images/lonely.png")
    (root / "train.txt").write_text("a\nlonely\nzzz\nyyy\n")
    layout = find_pairs(root)
    assert [problem.found for problem in layout.problems] == [
        "lists 2 names that are not in the dataset: zzz, yyy", "this image has no mask",
    ]  # fmt: skip
    (root / "val.txt").write_text("a\n")
    with pytest.raises(LayoutError, match=r"'a' is listed in train\.txt as well"):
        find_pairs(root)


def test_lists_tell_folders_apart(write_pairs: Writer) -> None:
    write_pairs("1", "2", images="x/images", masks="x/masks")
    root = write_pairs("1", images="y/images", masks="y/masks")
    (root / "train.txt").write_text("x/1\n2\n")
    (root / "val.txt").write_text("y/1\n")
    assert names(find_pairs(root)) == {"train": ["x/1", "x/2"], "val": ["y/1"]}
    (root / "val.txt").write_text("1\n")
    assert [problem.found for problem in find_pairs(root).problems] == [
        "lists 1 names that are not in the dataset: 1"
    ]


def test_lists_of_images_that_all_lack_masks(write_pairs: Writer, write_image: Writer) -> None:
    root = write_pairs("other")
    write_image("images/a.png")
    (root / "test.txt").write_text("a\n")
    (root / "train.txt").write_text("")
    with pytest.raises(LayoutError, match="no image has a mask: left out the test split"):
        find_pairs(root)
