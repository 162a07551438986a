"""Faults planted in small copies of published datasets: all are found, and the untouched sets have no error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.check import CheckReport, check_dataset

Shared = Callable[[str], Path]
RECIPES = Path(__file__).parents[2] / "recipes"
COUNT = 6


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def write(path: Path, array: np.ndarray, form: str | None = None) -> None:
    Image.fromarray(array).save(path, format=form)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil(path: Path, value: int) -> None:
    array = read(path)
    array[10, 20:25] = value
    write(path, array)


def only(path: Path, values: tuple[int, int]) -> None:
    write(path, np.where(read(path) == 0, *values).astype(np.uint8))


Fault = tuple[str, Callable[[Path, Path], object], str]
FAULTS: tuple[Fault, ...] = (
    ("empty image", lambda i, m: i.write_bytes(b""), "unreadable"),
    ("text for an image", lambda i, m: i.write_text("hello"), "unreadable"),
    ("image cut off", lambda i, m: half(i), "unreadable"),
    ("mask cut off", lambda i, m: half(m), "unreadable"),
    ("image missing", lambda i, m: i.unlink(), "lone-mask"),
    ("mask missing", lambda i, m: m.unlink(), "lone-image"),
    ("second image of the name", lambda i, m: write(i.with_suffix(".bmp"), read(i)), "name-clash"),
    ("grey among colours", lambda i, m: write(i, read(i)[..., 0]), "image-kinds"),
    ("several frames", lambda i, m: Image.fromarray(read(i)).save(
        i, "GIF", save_all=True, append_images=[Image.new("RGB", (9, 9))]), "unreadable"),
    ("pixel budget", lambda i, m: Image.new("1", (20000, 15001)).save(i, "PNG"), "unreadable"),
    ("dangling link", lambda i, m: (i.unlink(), i.symlink_to("nowhere")), "unreadable"),
    ("image of one colour", lambda i, m: write(i, read(i) * 0 + 7), "image-constant"),
    ("wrong suffix", lambda i, m: write(i, read(i), "BMP"), "file-name"),
    ("value in no class", lambda i, m: spoil(m, 77), "mask-value"),
    ("0 and 255 alone", lambda i, m: only(m, (0, 255)), "mask-binary"),
    ("JPEG mask", lambda i, m: write(m, read(m), "JPEG"), "mask-lossy"),
    ("transposed mask", lambda i, m: write(m, read(m).T), "mask-size"),
    ("mask off by one", lambda i, m: write(m, read(m)[1:]), "mask-size"),
    ("mask of ignored pixels", lambda i, m: write(m, read(m) * 0 + 255), "mask-ignored"),
    ("mask resized smoothly", lambda i, m: write(m, np.array(Image.fromarray(read(m) * 20).resize(
        read(m).shape[::-1], Image.Resampling.BICUBIC, box=(0.5, 0.5, 90, 90)))), "mask-value"),
    ("the image as its mask", lambda i, m: shutil.copyfile(i, m), "mask-*"),
)  # fmt: skip


@pytest.fixture(params=["camvid", "aerial"])
def small(request: pytest.FixtureRequest, shared_data: Shared, tmp_path: Path) -> tuple[str, Path]:
    """A copy of some pairs of a published dataset."""
    name = request.param
    root = shared_data(name)
    part = "train" if name == "camvid" else ""
    sizes = [(path.stat().st_size, path) for path in (root / "images" / part).iterdir()]
    for _, image in sorted(sizes)[:COUNT]:
        mask = root / "masks" / part / f"{image.stem}.png"
        for kind, file in (("images", image), ("masks", mask)):
            (tmp_path / kind).mkdir(exist_ok=True)
            shutil.copyfile(file, tmp_path / kind / file.name)
    return name, tmp_path


def checked(name: str, root: Path) -> CheckReport:
    return check_dataset(root, classes=RECIPES / name / "classes.yaml")


def test_planted_faults_are_all_found(small: tuple[str, Path]) -> None:
    name, root = small
    assert checked(name, root).ok
    image = min((root / "images").iterdir())
    mask = root / "masks" / f"{image.stem}.png"
    saved = image.read_bytes(), mask.read_bytes()
    for what, plant, code in FAULTS:
        plant(image, mask)
        report = checked(name, root)
        found = [f.problem for f in report.findings if Path(f.problem.code).match(code)]
        assert found, (what, [str(finding.problem) for finding in report.findings])
        assert any(problem.file is not None and problem.file.stem == image.stem for problem in found), what
        for path in root.glob(f"*/{image.stem}.*"):
            path.unlink()
        image.write_bytes(saved[0])
        mask.write_bytes(saved[1])


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("camvid", "aerial")), "membrane"]
)
def test_published_sets_have_no_error(shared_data: Shared, name: str) -> None:
    root = shared_data(name)
    report = checked(name, root)
    assert report.ok, report.errors
