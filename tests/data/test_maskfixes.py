"""Masks mended by a recipe: what is written is judged by plain NumPy and by the masks from before."""

from __future__ import annotations

from pathlib import Path

import faulty_masks as m
import numpy as np
import pytest
import yaml
from faulty import classes, labels, sound, tree
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage

from pixelwise.data.check import CheckReport, check_dataset
from pixelwise.data.fixes import apply, mend
from pixelwise.data.fixrecipe import Step
from pixelwise.data.specks import find_specks
from pixelwise.errors import OptionError

THREE = "{classes: [ground, roof, road], values: {0: ground, 100: roof, 200: road}}"


def by_recipe(root: Path, out: Path) -> tuple[dict[str, object], CheckReport, list[str]]:
    """The first step of the proposal that is no guess to leave a file out; the copy by it, and what was said."""
    before, recipe = tree(root), out.with_suffix(".yaml")
    mend(check_dataset(root), recipe, None)
    document = yaml.safe_load(recipe.read_text())
    (step,) = document["steps"]
    assert step["enabled"] is False, "a guess is not acted on by itself"
    step["enabled"] = True
    recipe.write_text(yaml.safe_dump(document))
    said = mend(check_dataset(root), recipe, out)
    assert tree(root) == before
    return step, check_dataset(out), said


def test_a_lossy_mask_is_snapped_to_values_far_apart(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    classes(THREE)(root)
    for path in (root / "masks").iterdir():
        Image.fromarray(labels(path.stem) * np.uint8(100)).save(path)
    (root / "masks/b.png").unlink()
    Image.fromarray(labels("b") * np.uint8(100)).save(root / "masks/b.jpg", quality=70)
    step, report, said = by_recipe(root, tmp_path / "out")
    assert step["do"] == "snap" and step["classes"] == [0, 100, 200] and step["within"] == 25
    assert report.ok
    mended = np.asarray(Image.open(tmp_path / "out/masks/b.png")).astype(int)
    compressed = np.asarray(Image.open(root / "masks/b.jpg")).astype(int)
    distance = np.abs(compressed[..., None] - [0, 100, 200])
    expected = np.where(distance.min(axis=2) <= 25, distance.argmin(axis=2) * 100, 255)
    assert np.array_equal(mended, expected)
    assert any(f"{(mended == 255).sum()} pixels near no class" in line for line in said)
    truth = labels("b").astype(int) * 100
    assert ((mended == truth) | (mended == 255)).mean() > 0.99 and (mended == truth).mean() > 0.95


def test_a_mask_resized_smoothly_is_snapped(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    m.smoothed(root)
    step, report, _ = by_recipe(root, tmp_path / "out")
    assert step["do"] == "snap" and report.ok


def test_values_next_to_one_another_cannot_be_snapped(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    m.mask_as("b.jpg", "JPEG")(root)
    step, report, _ = by_recipe(root, tmp_path / "out")
    assert step["do"] == "drop" and report.ok and sum(report.images.values()) == 5


def test_colours_that_are_nearly_right_become_indices(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    m.colored(1)(root)
    step, report, said = by_recipe(root, tmp_path / "out")
    assert step["do"] == "to_index" and step["colors"] == {"#000000": 0, "#ff0000": 1, "#0000c8": 2}
    assert report.ok and not any("near no class" in line for line in said)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/masks/b.png")), labels("b"))


def test_a_palette_that_shows_other_classes_is_read_by_its_colours(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    m.palette_swapped(root)
    step, report, said = by_recipe(root, tmp_path / "out")
    assert step["do"] == "to_index" and step["within"] == 0 and report.ok
    mended = np.asarray(Image.open(tmp_path / "out/masks/b.png"))
    # the file shows 0 in the colour of the roof, 1 in that of the ground, and 2 in one of no class
    assert np.array_equal(mended, np.array([1, 0, 255])[labels("b")])
    assert any(f"{(labels('b') == 2).sum()} pixels near no class" in line for line in said)


def test_every_stray_value_is_in_the_step(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    array = labels("b")
    array[3, 4], array[5, 6:9] = 9, 77
    Image.fromarray(array).save(root / "masks/b.png")
    step, report, _ = by_recipe(root, tmp_path / "out")
    assert step["values"] == {9: 255, 77: 255} and report.ok and report.ignored == 4


def test_a_stray_value_never_becomes_a_class(tmp_path: Path) -> None:
    """Where 255 is a class it cannot be what counts nowhere."""
    root = sound(tmp_path / "data")
    m.binary("values: {0: ground, 255: roof}")(root)
    array = np.array(Image.open(root / "masks/b.png"))
    array[3:5, 4:9] = 128
    Image.fromarray(array).save(root / "masks/b.png")
    step, report, _ = by_recipe(root, tmp_path / "out")
    assert step["do"] == "drop" and report.ok and sum(report.images.values()) == 5


def test_holes_are_found_and_closed(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    classes("{classes: [void, roof, road], ignore: [7]}")(root)
    array = np.full((40, 48), 1, np.uint8)
    array[:, 30:] = 2
    whole = array.copy()
    array[5, 5], array[9:11, 9:13], array[20, 40] = 0, 255, 7  # 1, 8 and 1 pixels
    kept = (
        (0, 20),
        (29, 29),
        (slice(30, 33), slice(3, 6)),
    )  # at the border, between two classes, of 9 pixels
    for place in kept:
        array[place] = whole[place] = 255
    Image.fromarray(array).save(root / "masks/b.png")
    (finding,) = [f.problem for f in check_dataset(root).warnings if f.problem.code == "mask-specks"]
    assert finding.file == root / "masks/b.png" and finding.count == 10 and finding.position == (5, 5)
    assert finding.found.startswith("3 holes")
    step, report, _ = by_recipe(root, tmp_path / "out")
    assert step["do"] == "fill_specks" and step["of"] == [0, 7, 255] and step["up_to"] == 8
    assert not report.findings
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/masks/b.png")), whole)


@pytest.mark.parametrize("name", ["background", "none", "ground"])
def test_a_hole_of_a_class_is_no_speck(tmp_path: Path, name: str) -> None:
    """A yard in a building is background, and closing it would make a right label wrong."""
    root = sound(tmp_path / "data")
    classes(f"[{name}, roof, road]")(root)
    array = np.full((40, 48), 1, np.uint8)
    array[5, 5:8] = 0
    Image.fromarray(array).save(root / "masks/b.png")
    assert not [f for f in check_dataset(root).warnings if f.problem.code == "mask-specks"]
    (root / "classes.yaml").unlink()  # class_0 ...
    assert not [f for f in check_dataset(root).warnings if f.problem.code == "mask-specks"]


@given(arrays(np.uint8, (9, 9), elements=st.sampled_from([0, 1, 1, 1, 1, 2, 255])), st.integers(1, 9))
def test_holes_equal_what_is_found_one_by_one(values: np.ndarray, most: int) -> None:
    parts, count = ndimage.label(np.isin(values, [0, 255]))
    expected = {}
    for part in range(1, count + 1):
        pixels = parts == part
        ring = ndimage.binary_dilation(pixels) & ~pixels
        at_border = pixels[[0, -1]].any() or pixels[:, [0, -1]].any()
        if pixels.sum() <= most and not at_border and len(around := np.unique(values[ring])) == 1:
            expected |= {(y, x): int(around[0]) for y, x in np.argwhere(pixels).tolist()}
    found = find_specks(values, (0, 255), most=most)
    got = {} if found is None else dict(
        zip(zip(found.rows.tolist(), found.columns.tolist(), strict=True), found.around.tolist(), strict=True)
    )  # fmt: skip
    assert got == expected


def test_several_steps_for_one_mask_are_done_in_order(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    m.colored(0)(root)
    file = ("masks/b.png",)
    with pytest.raises(OptionError, match="one band"):
        apply(root, [Step("map_values", file, values=((1, 2),))], tmp_path / "bad")
    steps = [
        Step("to_index", file, colors=(("#000000", 0), ("#ff0000", 1), ("#0000c8", 2))),
        Step("map_values", file, values=((1, 2),)),
    ]
    assert "to_index, map_values masks/b.png" in apply(root, steps, tmp_path / "out")
    got = np.asarray(Image.open(tmp_path / "out/masks/b.png"))
    assert np.array_equal(got, np.array([0, 2, 2])[labels("b")])


def test_two_files_never_become_one(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    Image.fromarray(labels("b")).save(root / "masks/b.bmp")
    steps = [Step("map_values", ("masks/b.bmp",), values=((1, 2),))]
    with pytest.raises(OptionError, match="both become"):
        apply(root, steps, tmp_path / "out")
