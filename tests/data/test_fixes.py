from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from faulty import labels, sound, tree
from PIL import Image

from pixelwise.data.check import check_dataset
from pixelwise.data.fixes import apply, mend
from pixelwise.data.fixrecipe import Step, read_recipe
from pixelwise.errors import OptionError, OutputError


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
