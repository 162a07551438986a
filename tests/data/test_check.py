from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.check import CheckReport, check_dataset, render
from pixelwise.data.checkreport import Finding
from pixelwise.data.dataset import open_dataset
from pixelwise.data.stats import normalization
from pixelwise.errors import LayoutError, MaskError, PixelwiseError

Writer = Callable[..., Path]
NAMES = [f"i{n}" for n in range(12)]


@pytest.fixture
def town(write_pairs: Writer) -> Path:
    root = write_pairs(*NAMES)
    (root / "classes.yaml").write_text("[ground, roof, road]\n")
    return root


def found(report: CheckReport, level: str = "error") -> dict[str, str]:
    """The sentence of each finding by the name of its file."""
    findings = report.errors if level == "error" else report.warnings
    return {
        finding.problem.file.name if finding.problem.file else "": finding.problem.found
        for finding in findings
    }


def test_a_sound_dataset(town: Path) -> None:
    report = check_dataset(town)
    assert report.ok and not report.findings
    assert report.images == {"train": 8, "val": 2, "test": 2}
    assert report.sizes == ((6, 8, 12),) and (report.bands, report.dtype) == (3, "uint8")
    assert [(share.name, share.pixels, share.share, share.images) for share in report.classes] == [
        (name, 12 * 16, 1 / 3, 12) for name in ("ground", "roof", "road")
    ]
    assert (report.pixels, report.ignored) == (12 * 48, 0)
    assert report.normalization == normalization(open_dataset(town).train)
    document = json.loads(json.dumps(report.as_dict()))
    assert document["ok"] is True and document["classes"][1]["name"] == "roof"
    text = render(report)
    assert "12 (train 8, val 2, test 2)" in text and "33.33%" in text and "0 errors, 0 warnings" in text


def test_many_findings_of_one_code_are_counted(town: Path) -> None:
    report = check_dataset(town)
    many = tuple(Finding("error", MaskError(f"wrong {n}", code="mask-value")) for n in range(20))
    rare = (Finding("error", MaskError("rare", code="mask-size")), Finding("warning", MaskError("odd")))
    text = render(replace(report, findings=many[:10] + rare + many[10:]))
    assert [f"error: wrong {n}" in text for n in range(20)] == [True] * 8 + [False] * 12
    assert "and 12 more of code mask-value" in text and "error: rare" in text and "warning: odd" in text
    assert "21 errors, 1 warning" in text


def test_a_split_without_training_images_is_not_ready(town: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    table.write_text("name,split\ni0,test\n")
    report = check_dataset(town, split=table)
    assert [finding.problem.code for finding in report.errors] == ["split-empty"]
    assert "ready to train" not in render(report)


def test_everything_wrong_in_one_pass(town: Path, write_image: Writer, write_mask: Writer) -> None:
    images, masks = town / "images", town / "masks"
    write_image("images/lone.png")
    write_mask("masks/only.png")
    write_mask("masks/i0.png", size=(8, 6))
    write_mask("masks/i1.png", [0, 1, 2, 1, 0, 2, 0, 99])
    write_mask("masks/i2.png", [0, 255])
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(masks / "i3.png", format="JPEG")
    data = (images / "i4.png").read_bytes()
    (images / "i4.png").write_bytes(data[: len(data) // 2])
    (images / "i5.png").write_bytes(b"")
    (images / "i6.png").write_text("not an image")
    write_image("images/i7.png", bands=1)
    write_mask("masks/i8.png", [255])
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "blue")]
    frames[0].save(images / "i9.png", save_all=True, append_images=frames[1:])
    tifffile.imwrite(masks / "i10.png", np.resize(np.array([0, -1], np.int16), (6, 8)))
    tifffile.imwrite(masks / "i11.png", np.resize(np.array([0, 0.5], np.float32), (6, 8)))
    report = check_dataset(town)
    errors = found(report)
    assert set(errors) == {f"i{n}.png" for n in range(12)} - {"i8.png"} | {"lone.png", "only.png"}
    for name, part in {
        "lone": "no mask", "only": "no image", "i0": "6 x 8 pixels, its image 8 x 6",
        "i2": "only the values 0 and 255",
        "i1": "value 99 is in no class: 6 pixels, first at row 0, column 7", "i3": "lossy JPEG",
        "i4": "cut off",
        "i5": "empty (0 bytes)", "i6": "not an image", "i9": "2 pages or frames",
        "i10": "value -1 is in no class: 24",
        "i7": "3 bands of uint8: 7 (i", "i11": "value 0.5",
    }.items():  # fmt: skip
        assert part in errors[f"{name}.png"], name
    assert "1 bands of uint8: 1 (i7.png)" in errors["i7.png"]
    assert found(report, "warning")["i8.png"] == "every pixel is ignored"
    assert all(finding.problem.remedy for finding in report.findings)
    assert "13 errors" in render(report)
    json.dumps(report.as_dict(), allow_nan=False)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cut_off_images(town: Path, suffix: str) -> None:
    (town / "images" / "i4.png").unlink()
    path = town / "images" / f"i4.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cut off" in found(check_dataset(town))[path.name]


def test_a_cut_off_mask(town: Path) -> None:
    path = town / "masks" / "i4.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cut off" in found(check_dataset(town))["i4.png"]


def test_ambiguous_and_folded_names(town: Path, write_pairs: Writer, write_image: Writer) -> None:
    write_image("images/i1.jpg")
    write_pairs("I2")
    errors = [finding.problem.found for finding in check_dataset(town).errors]
    assert errors == [
        "ambiguous images: i1.jpg, i1.png have the same stem",
        "ambiguous images: I2.png, i2.png differ only by case or Unicode form",
        "ambiguous masks: I2.png, i2.png differ only by case or Unicode form",
    ]


def test_classes_never_seen(town: Path, write_mask: Writer) -> None:
    (town / "classes.yaml").write_text("[ground, roof, road, car, boat]\n")
    test = open_dataset(town).test.names[0]
    write_mask(f"masks/{test}.png", [0, 3])
    warnings = [finding.problem.found for finding in check_dataset(town).warnings]
    assert warnings == [
        "classes that occur in no file: 4 boat",
        "classes that occur in no training file: 3 car",
    ]


def test_the_same_image_in_two_splits(town: Path) -> None:
    data = open_dataset(town)
    train, test = data.train.names[0], data.test.names[0]
    (town / "images" / f"{test}.png").write_bytes((town / "images" / f"{train}.png").read_bytes())
    report = check_dataset(town)
    assert report.ok
    (warning,) = found(report, "warning").values()
    assert warning.startswith("the same image is in several splits: ")
    assert f"train: 1 ({train}.png)" in warning and f"test: 1 ({test}.png)" in warning


def test_a_mask_that_is_a_copy_of_its_image(town: Path) -> None:
    (town / "masks" / "i1.png").write_bytes((town / "images" / "i1.png").read_bytes())
    problems = [finding.problem.found for finding in check_dataset(town).errors]
    assert "the mask is a copy of its image" in problems


def test_notes_on_orientation_and_alpha(town: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = np.random.default_rng(1).integers(0, 256, (8, 6, 4), dtype=np.uint8)
    Image.fromarray(noise[..., :3]).save(town / "images" / "i1.png", exif=exif)
    Image.fromarray(noise.swapaxes(0, 1)).save(town / "images" / "i2.png")
    report = check_dataset(town)
    assert report.ok and report.sizes == ((6, 8, 12),)
    assert "turned upright by their EXIF tag: 1 (i1.png)" in report.notes
    assert found(report, "warning")["i2.png"] == "alpha channel not read: 1 (i2.png)"


def test_palette_that_contradicts_the_classes(town: Path) -> None:
    (town / "classes.yaml").write_text("[{name: a, color: '#ff0000'}, {name: b, color: '#00ff00'}, c]\n")
    picture = Image.fromarray(np.resize(np.array([0, 1], np.uint8), (6, 8))).convert("P")
    picture.putpalette([0, 255, 0, 0, 0, 255])
    picture.save(town / "masks" / "i1.png")
    assert "value 0 is read as a but shown as b (#00ff00)" in found(check_dataset(town), "warning")["i1.png"]


def test_broken_classes_are_a_finding_and_the_rest_is_checked(town: Path) -> None:
    (town / "classes.yaml").write_text("[ground, no]\n")
    (town / "images" / "i5.png").write_bytes(b"")
    report = check_dataset(town)
    assert set(found(report)) == {"classes.yaml", "i5.png"}
    assert report.classes == () and "not known" in render(report)


def test_undeclared_binary_and_the_way_out(write_pairs: Writer) -> None:
    root = write_pairs("a", "b", "c", values=(0, 255))
    report = check_dataset(root)
    assert len(report.errors) == 1
    problem = report.errors[0].problem
    (root / "classes.yaml").write_text(problem.remedy.partition("\n")[2].partition("\n  or,")[0])
    report = check_dataset(root)
    assert report.ok and [share.share for share in report.classes] == [0.5, 0.5]


def test_data_that_cannot_be_used_raises(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no such folder"):
        check_dataset(tmp_path / "missing")
    with pytest.raises(LayoutError, match="holds no images"):
        check_dataset(tmp_path)


def test_progress_is_told(town: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_dataset(town, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n + 1, 12) for n in range(12)]


AS_NOBODY = """
import codecs, json, os, sys
import PIL.Image, tifffile, imagecodecs
from pixelwise.data.check import check_dataset
from pixelwise.errors import PixelwiseError

codecs.lookup("utf-8-sig")  # like the imports: the other user may not be allowed to read the installation
if os.getuid() == 0:
    os.setuid(65534)
try:
    print(json.dumps(check_dataset(sys.argv[1]).as_dict()["findings"]))
except PixelwiseError as error:
    print(json.dumps([error.as_dict()]))
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs the users of a POSIX system")
@pytest.mark.parametrize("what", ["images", "images/i3.png"])
def test_no_permission(town: Path, what: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(town, Path(folder) / "town"))
        Path(folder).chmod(0o755)
        root.chmod(0o755)
        closed = root / what
        closed.chmod(0)
        command = [sys.executable, "-c", AS_NOBODY, str(root)]
        paths = os.pathsep.join(sys.path)
        run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
        closed.chmod(0o755)
    assert run.returncode == 0, run.stderr
    (problem,) = json.loads(run.stdout)
    assert problem["file"] == str(closed) and problem["code"] == "unreadable"
    assert ("cannot be listed" if what == "images" else "no permission") in problem["found"]
    assert "chmod" in problem["remedy"]


def test_findings_are_typed(town: Path) -> None:
    (town / "images" / "i5.png").write_bytes(b"")
    finding = check_dataset(town).errors[0]
    assert isinstance(finding.problem, PixelwiseError)
    assert finding.as_dict()["level"] == "error" and finding.as_dict()["code"] == "unreadable"
