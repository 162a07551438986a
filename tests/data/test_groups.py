"""Groups of images that belong together, found from tables, windows and names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.data.classes import ClassTable
from pixelwise.data.dataset import Split
from pixelwise.data.groups import find_groups
from pixelwise.data.items import LabelRules, Pair, Window
from pixelwise.errors import LayoutError
from pixelwise.ops.tiles import Box

NOWHERE = Path("/nonexistent")


def group_names(split: Split) -> tuple[str, ...]:
    return find_groups(split).names


def split_of(names, root=NOWHERE, task="segment"):
    items = tuple(Pair(root / f"{name}.png", root / f"{name}.png", name) for name in names)
    return Split("test", items, ClassTable.of_names(["a", "b"]), task, 3, "uint8", root)


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["0001TP_006690", "0001TP_006720", "Seq05VD_f00060"], ["0001TP", "0001TP", "Seq05VD"]),
        (["0016E5_07959"], ["0016E5"]),  # the only image of a film is still a frame of it
        (["tile1_part01", "tile1_part02", "tile2_part01"], ["tile1", "tile1", "tile2"]),
        (["image_tile_3_part_001", "image_tile_3_part_002"], ["image_tile_3", "image_tile_3"]),
        (["IM-0115-0001", "IM-0115-0002", "IM-0117-0001"], ["IM-0115", "IM-0115", "IM-0117"]),
        (["person14_virus_51", "person14_bacteria_7"], ["person14", "person14"]),
        (["1d4_F1BE-000000", "1d4_F1BE-000020"], ["1d4_F1BE", "1d4_F1BE"]),
        (["fr/fr_000000_000294", "fr/fr_000000_000310", "ulm/ulm_000001_000019"],
         ["fr/fr_000000", "fr/fr_000000", "ulm/ulm_000001"]),
        (["north/1", "north/2", "south/1"], ["north", "north", "south"]),
        (["top_potsdam_2_10_RGB", "top_potsdam_2_11_RGB"], ["top_potsdam_2", "top_potsdam_2"]),
    ],
)  # fmt: skip
def test_names_tell_the_group(names, groups):
    assert group_names(split_of(names)) == tuple(groups)


@pytest.mark.parametrize(
    "names",
    [
        ["img_001", "img_002", "img_003"],
        ["00", "01", "02"],
        ["austin1", "austin2", "vienna1"],
        ["2011_000003", "2011_000006"],
        ["house", "garden"],
        ["shape0_test", "shape1_test"],
    ],
)
def test_numbers_that_only_count_make_no_group(names):
    found = find_groups(split_of(names))
    assert found.names == tuple(names)
    assert found.origin == "each image by itself"


def test_map_tiles_make_blocks_of_the_grid():
    tiles = [(x, y) for x in range(1238424, 1238432) for y in range(1046544, 1046552)]
    found = find_groups(split_of([f"OAM-{x}-{y}-21" for x, y in tiles]))
    assert found.count == 4
    assert "map tiles" in found.origin
    for (x, y), group in zip(tiles, found.names, strict=True):
        assert group == f"19/{x // 4}-{y // 4}"
    # A coarser tile over the same ground is of the same block as the fine ones on it.
    mixed = group_names(split_of(["19-309606-261636", "21-1238424-1046544", "21-1238440-1046544"]))
    assert mixed[0] == mixed[1] != mixed[2]


def test_frames_are_no_map_tiles():
    assert group_names(split_of(["17-3-1", "17-3-2", "18-9-1"])) == ("17-3", "17-3", "18-9")


@given(st.lists(st.integers(0, 40), min_size=2, max_size=12), st.integers(1, 9))
def test_every_image_has_one_group_whatever_the_order(sequences, frames):
    names = [f"s{number}_f{frame:03d}" for number in sorted(set(sequences)) for frame in range(frames)]
    found = dict(zip(names, group_names(split_of(names)), strict=True))
    turned = dict(zip(names[::-1], group_names(split_of(names[::-1])), strict=True))
    assert found == turned
    if frames > 1:
        assert len(set(found.values())) == len(set(sequences))


def test_a_column_of_the_table_comes_first(tmp_path):
    (tmp_path / "list.csv").write_text("Image,Patient_ID\na_1_1.png,P1\nb_2_1.png,P1\nb_2_2.png,P2\n")
    found = find_groups(split_of(["a_1_1", "b_2_1", "b_2_2"], tmp_path))
    assert found.names == ("P1", "P1", "P2")
    assert found.origin == "list.csv, column Patient_ID"


def test_the_table_that_says_the_splits_may_say_the_groups(shapes, tmp_path):
    names = sorted(name for split in pw.open_dataset(shapes).splits for name in split.names)
    rows = [f"{name},{('train', 'train', 'val', 'test')[i % 4]},slab{i % 3}" for i, name in enumerate(names)]
    table = tmp_path / "elsewhere.csv"
    table.write_text("\n".join(["name,split,scene", *rows]) + "\n")
    found = find_groups(pw.open_dataset(shapes, split=table).train)
    assert found.origin == "elsewhere.csv, column scene"
    assert set(found.names) == {"slab0", "slab1", "slab2"}
    table.write_text("\n".join(["name,split", *(row.rpartition(",")[0] for row in rows)]) + "\n")
    assert "elsewhere.csv" not in find_groups(pw.open_dataset(shapes, split=table).train).origin


def test_a_table_that_misses_an_image_is_left_alone_unless_it_was_given(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("name,scene\na_1_1,S\n")
    split = split_of(["a_1_1", "b_2_1", "b_2_2"], tmp_path)
    assert group_names(split) == ("a_1", "b_2", "b_2")
    with pytest.raises(LayoutError, match="every image of the test split"):
        find_groups(split, table=table)


def test_a_folder_per_class_is_no_group():
    split = split_of(["cat/1", "cat/2", "dog/1", "dog/2"], task="classify")
    assert find_groups(split).origin == "each image by itself"
    split = split_of(["cat/p1_1", "cat/2", "dog/p1_2", "dog/2"], task="classify")
    assert group_names(split) == ("p1", "cat/2", "p1", "dog/2")


def test_a_large_scene_falls_into_blocks_of_windows():
    rules = LabelRules("", (), 1, 0)

    def windows(scene, rows, columns):
        return [
            Window(NOWHERE / scene, NOWHERE, Box(64 * r, 64 * c, 64 * r + 64, 64 * c + 64), rules, f"{scene}{r}.{c}")
            for r in range(rows)
            for c in range(columns)
        ]  # fmt: skip

    split = replace(split_of([]), items=(*windows("big.tif", 6, 8), *windows("small.tif", 2, 2)))
    found = find_groups(split)
    assert found.count == 5
    for item, group in zip(split.items, found.names, strict=True):
        block = f"/{item.box.top // 256}-{item.box.left // 256}" if item.image.name == "big.tif" else ""
        assert group == item.image.name + block
    assert set(group_names(replace(split, items=split.items[48:]))) == {"small.tif"}


def put_tiles(root, places, *, size=16, crs=32631):
    """GeoTIFFs of 0.5 m pixels, each with its upper left corner at (x, y) of a UTM zone; without one where crs is 0."""
    items = []
    for name, (x, y) in places.items():
        path = root / f"{name}.tif"
        keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, crs) if crs else (1, 1, 0, 1, 1024, 0, 1, 0)
        tags = [
            (33550, "d", 3, (0.5, 0.5, 0.0), False),
            (33922, "d", 6, (0.0, 0.0, 0.0, x, y, 0.0), False),
            (34735, "H", len(keys), keys, False),
        ]
        tifffile.imwrite(path, np.zeros((size, size), np.uint8), extratags=tags)
        items.append(Pair(path, path, name))
    return replace(split_of([]), items=tuple(items), root=root)


def test_tiles_that_touch_are_of_one_scene_whatever_their_names(tmp_path):
    """Two towns of 2 x 2 and 1 x 2 tiles of 8 m, a tile that overlaps the second town, and one that lies alone."""
    places = {
        "test_000": (0, 0), "test_001": (8, 0), "test_002": (0, -8), "test_003": (8.2, -8),
        "test_004": (500, 0), "test_005": (508, 0), "test_006": (514, 3), "test_007": (530, 0),
    }  # fmt: skip
    found = find_groups(put_tiles(tmp_path, places))
    assert found.names == ("test_000",) * 4 + ("test_004",) * 3 + ("test_007",)
    assert found.origin == "GeoTIFF tiles that touch or overlap"
    across, down = zip(*found.places[:3], strict=True)
    assert (across[1] - across[0], down[1] - down[0]) == (1, 0)
    assert (across[2] - across[0], down[2] - down[0]) == (0, 1)


def test_tiles_that_touch_join_what_their_names_keep_apart(tmp_path):
    places = {"a1_1": (0, 0), "a1_2": (100, 0), "b1_1": (8, 0), "b1_2": (200, 0), "c1_1": (300, 0)}
    found = find_groups(put_tiles(tmp_path, places))
    assert found.names == ("a1",) * 4 + ("c1",)
    assert "touch" in found.origin and "file names" in found.origin


def test_groups_of_a_table_have_places_too(tmp_path):
    split = put_tiles(tmp_path, {"a": (0, 0), "b": (24, 0), "c": (500, 0)})
    (tmp_path / "list.csv").write_text("name,scene\na,north\nb,north\nc,south\n")
    found = find_groups(split)
    assert found.names == ("north", "north", "south")
    assert found.places[1][0] - found.places[0][0] == 3


@pytest.mark.parametrize(("step", "crs"), [(9.5, 32631), (8, 0)])
def test_tiles_apart_or_without_a_coordinate_system_tell_nothing(tmp_path, step, crs):
    split = put_tiles(tmp_path, {f"t_{k}": (step * k, 0) for k in range(4)}, crs=crs)
    assert find_groups(split).origin == "each image by itself"


def test_real_datasets(shared_data):
    recipe = Path(__file__).parents[2] / "recipes" / "camvid" / "classes.yaml"
    camvid = pw.open_dataset(shared_data("camvid"), classes=recipe)
    assert [find_groups(split).count for split in camvid.splits] == [3, 1, 2]
    patients = find_groups(pw.open_dataset(shared_data("xray")).test)
    assert patients.origin == "index.csv, column patient_group"
    assert patients.count < len(patients.names)
