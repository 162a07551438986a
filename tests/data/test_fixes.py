from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from faulty import labels, sound, tree
from faulty_images import frames
from PIL import Image

from pixelwise.data.check import check_dataset
from pixelwise.data.checkreport import Finding
from pixelwise.data.fixes import apply, mend, propose
from pixelwise.data.fixrecipe import Step, read_recipe
from pixelwise.data.layouts import find_pairs
from pixelwise.errors import OptionError, OutputError, UnreadableError


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """An empty image, a lone mask, a value in no class and a transposed mask."""
    root = sound(tmp_path / "data")
    (root / "images/a.png").write_bytes(b"")
    (root / "images/b.png").unlink()
    array = labels("c")
    array[3, 4] = 9
    Image.fromarray(array).save(root / "masks/c.png")
    Image.fromarray(labels("d").T.copy()).save(root / "masks/d.png")
    return root


def test_a_copy_by_an_edited_recipe_passes(spoilt: Path, tmp_path: Path) -> None:
    before = tree(spoilt)
    recipe, out = tmp_path / "fixes.yaml", tmp_path / "out"
    mend(check_dataset(spoilt), recipe, None)
    document = yaml.safe_load(recipe.read_text())
    enabled = {tuple(step["files"]): step["enabled"] for step in document["steps"]}
    assert enabled == {
        ("images/a.png", "masks/a.png"): True,
        ("masks/b.png",): True,
        ("masks/c.png",): False,
        ("masks/d.png",): False,
    }
    for step in document["steps"]:
        step["enabled"] = True
    recipe.write_text(yaml.safe_dump(document))
    said = mend(check_dataset(spoilt), recipe, out)
    report = check_dataset(out)
    assert report.ok and sum(report.images.values()) == 4
    assert "left out masks/b.png" in said and "transpose masks/d.png" in said
    mended = np.asarray(Image.open(out / "masks/c.png"))
    assert mended[3, 4] == 255 and np.array_equal(np.delete(mended.ravel(), 3 * 48 + 4),
                                                  np.delete(labels("c").ravel(), 3 * 48 + 4))  # fmt: skip
    assert np.array_equal(np.asarray(Image.open(out / "masks/d.png")), labels("d"))
    assert (out / "images/e.png").read_bytes() == (spoilt / "images/e.png").read_bytes()
    assert tree(spoilt) == before


def test_guesses_are_not_acted_on(spoilt: Path, tmp_path: Path) -> None:
    mend(check_dataset(spoilt), None, tmp_path / "out")
    codes = sorted(finding.problem.code for finding in check_dataset(tmp_path / "out").errors)
    assert codes == ["mask-size", "mask-value"]


@pytest.mark.parametrize("found", [
    "no permission to read the file", "holds 5 pages or frames, 1 is expected",
    "20000 x 20000 pixels are more than the 300,000,000 allowed for one image",
    "not an image: its content begins with b'\\0\\0\\0\\x0cjP  '", "does not fit in memory",
    "no such file",
])  # fmt: skip
def test_what_may_be_sound_is_not_left_out(tmp_path: Path, found: str) -> None:
    root = sound(tmp_path)
    report = check_dataset(root)
    report = replace(report, findings=(Finding("error", UnreadableError(found, file=root / "images/b.png")),))
    (step,) = propose(report, find_pairs(root))
    assert step.do == "drop" and step.files == ("images/b.png", "masks/b.png") and not step.enabled


def test_several_pages_stay_in_the_copy(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    frames("TIFF")(root)
    (root / "images/a.png").write_bytes((root / "images/a.png").read_bytes()[:200])
    (root / "images/c.png").rename(root / "images/c.jp2")
    said = mend(check_dataset(root), None, tmp_path / "out")
    assert [line for line in said if line.startswith("left out")] == [
        "left out images/a.png", "left out masks/a.png"
    ]  # fmt: skip
    left = {path.name for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    assert {"b.tif", "b.png", "c.png", "c.jp2"} <= left


@pytest.mark.parametrize("name", ["other.yaml", "names.txt", "labelmap.txt"])
def test_the_copy_has_the_classes_that_were_given(tmp_path: Path, name: str) -> None:
    root = sound(tmp_path / "data")
    (root / "classes.yaml").write_text("[wrong, names, altogether, and, too, many]\n")
    given = tmp_path / name
    given.write_text({
        "other.yaml": "{classes: [ground, roof, road], ignore: [9]}  # mine\n",
        "names.txt": "ground\nroof\nroad\n",
        "labelmap.txt": "ground:1,2,3::\nroof:4,5,6::\nroad:7,8,9::\n",
    }[name])  # fmt: skip
    array = labels("c")
    array[3, 4] = 9
    Image.fromarray(array).save(root / "masks/c.png")
    report = check_dataset(root, classes=given)
    mend(report, None, tmp_path / "out", classes=given)
    again = check_dataset(tmp_path / "out")
    assert again.table == report.table
    assert [f.problem.found for f in again.findings] == [f.problem.found for f in report.findings]
    assert (root / "classes.yaml").read_text().startswith("[wrong")


def test_nothing_is_copied_where_a_file_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = sound(tmp_path / "data")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "e.png")
    with pytest.raises(UnreadableError, match="no permission") as caught:
        apply(root, [], tmp_path / "out")
    assert caught.value.file == root / "images/e.png" and not (tmp_path / "out").exists()


def test_copies_hold_a_piece_of_a_file_at_a_time(tmp_path: Path) -> None:
    root = sound(tmp_path / "data")
    with (root / "scene.bin").open("wb") as stream:
        stream.truncate(40_000_000)
    tracemalloc.start()
    apply(root, [], tmp_path / "out")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "out/scene.bin").stat().st_size == 40_000_000 and most < 10_000_000


@pytest.mark.parametrize(
    "step",
    [
        "{do: delete, files: [a]}", "{do: drop, files: [../a]}", "{do: drop, files: [/etc/passwd]}", "{do: drop}",
        "{do: drop, files: [a], wy: b}", "{do: map_values, files: [a]}", "{do: drop, files: [a], values: {1: 2}}",
        "{do: map_values, files: [a], values: {1: -2}}", "{do: rename, files: [a], to: ../b}", "7",
        "{do: drop, files: [a], enabled: 3}", "{do: snap, files: [a]}", "{do: snap, files: [a], classes: [a]}",
        "{do: snap, files: [a], classes: [0], within: -1}", "{do: to_index, files: [a], colors: {red: 1}}",
        "{do: to_index, files: [a], colors: {'#ff0000': 70000}}", "{do: fill_specks, files: [a], of: 0}",
        "{do: fill_specks, files: [a], of: [0], up_to: 0}", "{do: drop, files: [a], within: 3}",
        "!!python/object:os.system {}",
    ],
)  # fmt: skip
def test_recipes_are_closed(tmp_path: Path, step: str) -> None:
    path = tmp_path / "fixes.yaml"
    path.write_text(f"version: 1\nsteps:\n- {step}\n")
    with pytest.raises(OptionError) as caught:
        read_recipe(path)
    assert caught.value.remedy


def test_places_that_would_harm_are_refused(spoilt: Path, tmp_path: Path) -> None:
    for out in (spoilt, spoilt / "inside", tmp_path):
        with pytest.raises(OutputError):
            apply(spoilt, [], out)
    with pytest.raises(OptionError, match="no such file"):
        apply(spoilt, [Step("drop", ("images/z.png",))], tmp_path / "out")
    (tmp_path / "there.yaml").write_text("mine")
    with pytest.raises(OutputError, match="there already"):
        mend(check_dataset(spoilt), tmp_path / "there.yaml", None)
