"""Patches: what is read is what was written, originals stay, and nothing wrong is applied."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pixelwise as pw
from pixelwise.errors import DataError, OptionError, OutputError, UnreadableError
from pixelwise.review.patch import (
    Correction,
    Patch,
    accepting,
    apply_patch,
    from_runs,
    parse_ranks,
    read_patch,
    to_runs,
    write_patch,
)

NAMES = ["ground", "box", "disc"]
REGION: dict[str, Any] = {
    "rank": 1,
    "image": "a",
    "box": [1, 1, 3, 3],
    "runs": [0, 3, 1],  # all but the lower right pixel
    "given": "box",
    "suggested": "disc",
    "score": 0.5,
    "accept": True,
}


def write_data(root: Path, *, mode: str = "L") -> Path:
    """Two images of 4 x 5 pixels: ground around a box of two by three pixels."""
    labels = np.zeros((4, 5), np.uint8)
    labels[1:3, 1:4] = 1
    labels[3, 4] = 255
    for name in ("a", "b"):
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(root / "images" / f"{name}.png")
        if mode == "L":
            PIL.Image.fromarray(labels).save(root / "masks" / f"{name}.png")
        else:
            table = np.zeros((256, 3), np.uint8)
            table[:3] = [[8, 8, 8], [16, 0, 0], [0, 16, 0]]
            PIL.Image.fromarray(table[labels]).save(root / "masks" / f"{name}.png")
    colors = ["#080808", "#100000", "#001000"]
    lines = "".join(f"  - {{name: {n}, color: '{c}'}}\n" for n, c in zip(NAMES, colors, strict=True))
    ignore = "['#000000']" if mode == "RGB" else "[255]"
    (root / "classes.yaml").write_text(f"classes:\n{lines}ignore: {ignore}\n")
    return root


def patch_of(**changes: Any) -> Patch:
    document = {"version": 1, "dataset": "data", "classes": NAMES, "regions": [{**REGION, **changes}]}
    return Patch.model_validate_json(json.dumps(document))


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_runs_are_the_shape(shape: np.ndarray) -> None:
    runs = to_runs(shape)
    assert sum(runs) == shape.size
    assert sum(runs[1::2]) == shape.sum()
    assert all(run > 0 for run in runs[1:])  # as short as can be
    assert np.array_equal(from_runs(runs, shape.shape), shape)


@pytest.mark.parametrize("runs", [[3], [0, 5], [-1, 5], []])
def test_runs_that_do_not_fill_the_box_are_refused(runs: list[int]) -> None:
    with pytest.raises(DataError, match="run lengths"):
        from_runs(runs, (2, 2))


def test_a_patch_comes_back_as_written(tmp_path: Path) -> None:
    patch = patch_of(score=1 / 3)
    write_patch(tmp_path / "patch.json", patch)
    assert read_patch(tmp_path / "patch.json") == patch


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_accepted_regions_are_corrected_in_copies(tmp_path: Path, mode: str) -> None:
    data = write_data(tmp_path / "data", mode=mode)
    before = digests(data)
    dataset = pw.open_dataset(data)
    done = apply_patch(patch_of(), dataset, tmp_path / "out")
    assert digests(data) == before
    assert done.as_dict() == {"masks": 2, "changed": 1, "regions": 1, "pixels": 3}
    expected = np.zeros((4, 5), np.uint8)
    expected[1:3, 1:4] = 1
    expected[3, 4] = 255
    other = expected.copy()
    expected[1, 1] = expected[1, 2] = expected[2, 1] = 2
    assert np.array_equal(np.array(PIL.Image.open(tmp_path / "out" / "masks" / "a.png")), expected)
    assert np.array_equal(np.array(PIL.Image.open(tmp_path / "out" / "masks" / "b.png")), other)
    (tmp_path / "out" / "images").symlink_to(data / "images")  # the copies are a dataset with the images
    again = pw.open_dataset(tmp_path / "out")
    assert [spec.name for spec in again.classes] == NAMES
    found = {sample.name: sample.labels for split in again.splits for sample in split}
    assert np.array_equal(found["a"], expected)


def test_regions_that_are_not_accepted_stay(tmp_path: Path) -> None:
    dataset = pw.open_dataset(write_data(tmp_path / "data"))
    done = apply_patch(patch_of(accept=False), dataset, tmp_path / "out")
    assert (done.changed, done.pixels) == (0, 0)


def test_a_region_can_be_made_to_count_nowhere(tmp_path: Path) -> None:
    dataset = pw.open_dataset(write_data(tmp_path / "data"))
    apply_patch(patch_of(suggested="ignore"), dataset, tmp_path / "out")
    assert np.array(PIL.Image.open(tmp_path / "out" / "masks" / "a.png"))[1, 1] == 255


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": "c"}, "not in the dataset"),
        ({"suggested": "boat"}, "'boat'"),
        ({"box": [1, 1, 3, 9]}, "box"),
        ({"box": [2, 1, 2, 3]}, "box"),
        ({"runs": [0, 9]}, "run lengths"),
        ({"given": "ground"}, "not labelled ground"),
        ({"box": [0, 0, 2, 2]}, "3 pixels|2 pixels"),  # beside the region
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    dataset = pw.open_dataset(write_data(tmp_path / "data"))
    with pytest.raises(DataError, match=said):
        apply_patch(patch_of(**changes), dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_originals_are_never_the_target(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    before = digests(data)
    with pytest.raises(OutputError, match="take the place"):
        apply_patch(patch_of(), pw.open_dataset(data), data)
    assert digests(data) == before


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"regions": [{**REGION, "color": "red"}]}, "regions.1.color"),
        ({"regions": [{**REGION, "accept": "yes"}]}, "regions.1.accept"),
        ({"regions": [{**REGION, "runs": [0.5]}]}, "regions.1.runs.1"),
        ({"version": 2}, "version"),
        ({"more": 1}, "more"),
    ],
)
def test_the_schema_is_closed(tmp_path: Path, change: dict[str, Any], place: str) -> None:
    document = {"version": 1, "dataset": "data", "classes": NAMES, "regions": [REGION], **change}
    (tmp_path / "patch.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=place):
        read_patch(tmp_path / "patch.json")


def test_a_file_that_is_no_patch(tmp_path: Path) -> None:
    (tmp_path / "patch.json").write_text("{")
    with pytest.raises(DataError, match="no whole patch"):
        read_patch(tmp_path / "patch.json")
    with pytest.raises(UnreadableError):
        read_patch(tmp_path / "none.json")


def test_other_classes_are_refused(tmp_path: Path) -> None:
    dataset = pw.open_dataset(write_data(tmp_path / "data"))
    patch = patch_of().model_copy(update={"classes": ["ground", "disc", "box"]})
    with pytest.raises(DataError, match="for the classes"):
        apply_patch(patch, dataset, tmp_path / "out")


@given(st.sets(st.integers(1, 30), min_size=1))
def test_ranks_are_read_as_written(ranks: set[int]) -> None:
    assert parse_ranks(",".join(str(rank) for rank in ranks), range(1, 31)) == ranks
    low, high = min(ranks), max(ranks)
    assert parse_ranks(f"{low}-{high}", range(1, 31)) == set(range(low, high + 1))


@pytest.mark.parametrize("text", ["", "0", "4", "2-1", "1-9", "a", "1;2", "-1"])
def test_unknown_ranks_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--accept"):
        parse_ranks(text, {1, 2, 3})


def test_accepting_replaces_what_the_patch_said() -> None:
    patch = patch_of()
    regions = [patch.regions[0].model_copy(update={"rank": rank}) for rank in (1, 2, 3)]
    chosen = accepting(patch.model_copy(update={"regions": regions}), {2})
    assert [region.accept for region in chosen.regions] == [False, True, False]
    assert isinstance(chosen.regions[0], Correction)
