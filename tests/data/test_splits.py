from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.data.splits import block_split, given_split, run_split, seeded_split, table_split
from pixelwise.errors import LayoutError, OptionError, UnreadableError

Writer = Callable[..., Path]
names = st.lists(st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True), max_size=60, unique=True)


@given(names=names, seed=st.integers(0, 1000), data=st.data())
def test_a_seeded_split_is_a_partition_whatever_the_order(
    names: list[str], seed: int, data: st.DataObject
) -> None:
    split = seeded_split(names, seed=seed)
    assert sorted(name for part in split.values() for name in part) == sorted(names)
    assert seeded_split(data.draw(st.permutations(names)), seed=seed) == split
    if len(names) >= 3:
        assert all(split.values())
    if len(names) >= 20:
        assert abs(len(split["val"]) - 0.15 * len(names)) <= 1 and len(split["test"]) == len(split["val"])


def test_another_seed_is_another_split() -> None:
    many = [f"t{i}" for i in range(100)]
    assert seeded_split(many, seed=0) != seeded_split(many, seed=1)


def test_one_more_image_moves_few() -> None:
    many = [f"t{i}" for i in range(100)]
    before, after = seeded_split(many), seeded_split([*many, "new"])
    moved = sum(len(set(before[split]) ^ set(after[split])) for split in before)
    assert moved <= 7


@given(names=names)
def test_blocks_are_contiguous(names: list[str]) -> None:
    split = block_split(names)
    assert [name for part in split.values() for name in part] == list(
        block_split(names[::-1])["train"]
    ) + list(split["val"]) + list(split["test"])
    assert len(set(names)) == sum(len(part) for part in split.values())


def test_blocks_of_thirty_slices() -> None:
    split = block_split([f"{i}" for i in range(30)])
    assert [list(map(int, part)) for part in split.values()] == [
        list(range(21)), [21, 22, 23], list(range(24, 30)),
    ]  # fmt: skip


def test_given_names(tmp_path: Path) -> None:
    split = given_split({"train": ["b", "a.png"], "valid": ["x/c"]}, ["a", "b", "x/c"], root=tmp_path)
    assert split == {"train": ("a", "b"), "val": ("x/c",), "test": ()}
    assert given_split({"train": ["images/c.png"]}, ["x/c"], root=tmp_path)["train"] == ("x/c",)
    with pytest.raises(OptionError, match="'tarin' is no split") as caught:
        given_split({"tarin": []}, [], root=tmp_path)
    assert "did you mean 'train'" in caught.value.remedy
    with pytest.raises(LayoutError, match="2 images that are not in the dataset: y, z"):
        given_split({"train": ["y", "a"], "val": ["z"]}, ["a"], root=tmp_path)
    with pytest.raises(LayoutError, match="'a' is in both train and val"):
        given_split({"train": ["a"], "val": ["a"]}, ["a"], root=tmp_path)


def test_a_stem_of_two_images_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="not in the dataset: c"):
        given_split({"train": ["c"]}, ["x/c", "y/c"], root=tmp_path)


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("stem,split_a,split_b\na,train,test\nb,,Valid\n")
    split, origin = table_split("s.csv:split_b", tmp_path)
    assert split == {"train": [], "val": ["b"], "test": ["a"]} and origin == "table s.csv, column split_b"
    assert table_split(f"{tmp_path / 's.csv'}:split_a", Path())[0]["train"] == ["a"]
    with pytest.raises(LayoutError, match="several columns") as caught:
        table_split(tmp_path / "s.csv", tmp_path)
    assert "s.csv:split_a" in caught.value.remedy
    with pytest.raises(LayoutError, match="no column 'split_c'"):
        table_split("s.csv:split_c", tmp_path)
    (tmp_path / "both.csv").write_text("stem,split,split_b\na,val,test\n")
    assert table_split("both.csv", tmp_path)[0]["val"] == ["a"]
    (tmp_path / "t.csv").write_text("name,split\na,train\nb,hold\n")
    with pytest.raises(LayoutError, match="line 3: 'hold' is no split"):
        table_split(tmp_path / "t.csv", tmp_path)
    (tmp_path / "u.csv").write_text("picture,split\n")
    with pytest.raises(LayoutError, match="no column of names"):
        table_split("u.csv", tmp_path)
    (tmp_path / "capitals.csv").write_text("Name,Split\na,train\n")
    assert table_split("capitals.csv", tmp_path)[0]["train"] == ["a"]
    (tmp_path / "short.csv").write_text("split,name\ntrain,a\nval\n")
    with pytest.raises(LayoutError, match="line 3: no name"):
        table_split("short.csv", tmp_path)
    with pytest.raises(UnreadableError, match="no such split table"):
        table_split("block", tmp_path)


def test_the_split_of_a_run_is_taken_from_its_config(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("options: {}\nsplit: {train: [a, b], val: ['001'], test: []}\n")
    assert run_split(config) == {"train": ["a", "b"], "val": ["001"], "test": []}
    for text in ("options: {}\n", "split: [a]\n", "split: {train: a}\n", "split: {train: [1]}\n"):
        config.write_text(text)
        with pytest.raises(OptionError, match="holds no split"):
            run_split(config)
