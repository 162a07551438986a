"""The catalogue of bad inputs, planted one by one in a small sound folder: see docs/catalogue.md.

Each variant names its row, how it is planted, and what must come of it: `error CODE NAME`, `warning CODE NAME`,
`raises CODE` where the folder as a whole is refused, or `ok`, and then the labels that come out.
"""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faulty as f  # these four lie beside this file
import faulty_folders as d
import faulty_images as i
import faulty_masks as m
import numpy as np
import pytest
import tifffile
from faulty import labels, picture, save

from pixelwise.data import read
from pixelwise.data.check import CheckReport, check_dataset
from pixelwise.data.checkpage import write_check
from pixelwise.data.dataset import open_dataset
from pixelwise.errors import PixelwiseError

Plant = Callable[[Path], Any]
B = "images/b.png"  # the image and the mask that most faults are planted in
M = "masks/b.png"


@dataclass(frozen=True)
class Variant:
    """`labels` are the distinct labels that pair b must give; `trained`: reading it in training is refused too."""

    row: str
    what: str
    plant: Plant
    expect: str
    labels: tuple[int, ...] | None = None
    trained: bool = True


V = Variant
IMG = [
    V("IMG-01", "zero bytes", f.content(B, b""), "error unreadable b.png"),
    V("IMG-01", "text", f.content(B, b"no image at all\n"), "error unreadable b.png"),
    V("IMG-01", "web page", f.content(B, b"<!DOCTYPE html><html></html>"), "error unreadable b.png"),
    V("IMG-01", "zeros", f.content(B, bytes(500)), "error unreadable b.png"),
    V("IMG-01", "signature alone", f.content(B, b"\x89PNG\r\n\x1a\n"), "error unreadable b.png"),
    *(V("IMG-02", f"cut off {form} at {share}", i.cut_off("images", form, share), "error unreadable b.*")
      for form in ("PNG", "JPEG", "TIFF", "WEBP", "BMP") for share in (0.3, 0.7)),
    V("IMG-02", "bit flipped in the pixels of a PNG", i.flip(B, -40), "error unreadable b.png"),
    *(V("IMG-03", f"orientation {n} in both", i.oriented(n), "ok", (0, 1, 2)) for n in range(1, 9)),
    V("IMG-03", "orientation 6, mask not turned", i.oriented(6, mask=False), "error mask-size b.png"),
    V("IMG-03", "orientation 3, mask without a tag", i.oriented(3, mask=False), "warning mask-turned b.png", (0, 1, 2)),
    V("IMG-04", "16-bit grey", i.all_images(i.sixteen(1)), "ok", (0, 1, 2)),
    V("IMG-05", "16-bit colours", i.all_images(i.sixteen(3)), "ok", (0, 1, 2)),
    V("IMG-06", "RGBA", i.all_images(i.mode("RGBA")), "warning image-alpha a.png", (0, 1, 2)),
    V("IMG-06", "LA", i.all_images(i.mode("LA")), "warning image-alpha a.png", (0, 1, 2)),
    V("IMG-06", "palette with transparency", i.all_images(i.mode("PT")), "warning image-alpha a.png", (0, 1, 2)),
    V("IMG-07", "CMYK JPEG", i.image("b.jpg", "CMYK", "JPEG"), "ok", (0, 1, 2)),
    V("IMG-07", "1 bit", i.all_images(i.mode("1")), "ok", (0, 1, 2)),
    V("IMG-07", "palette", i.image("b.png", "P", "PNG"), "ok", (0, 1, 2)),
    V("IMG-07", "0 is white in one TIFF", i.white, "warning image-white b.tif", (0, 1, 2)),
    V("IMG-07", "CMYK TIFF", i.image("b.tif", "CMYK", "TIFF"), "error unreadable b.tif"),
    V("IMG-07", "YCbCr TIFF", i.tiff("images/b.tif", bands=3, photometric="ycbcr"), "error unreadable b.tif"),
    V("IMG-08", "one grey among colours", i.image("b.png", "L", "PNG"), "error image-kinds b.png"),
    V("IMG-08", "four bands among three", i.tiff("images/b.tif", bands=4), "error image-kinds b.tif"),
    V("IMG-08", "16 bits among 8", i.one_image(i.sixteen(3)), "error image-kinds b.png"),
    V("IMG-09", "more pixels than the budget", i.large, "error unreadable b.png"),
    V("IMG-10", "PNG claims 60000 x 60000", i.claim_png, "error unreadable b.png"),
    V("IMG-11", "sparse TIFF of 200000 x 200000", i.claim_tiff, "error unreadable b.tif"),
    V("IMG-12", "a tile that inflates to 300 MB", i.bomb_tile, "error unreadable b.tif"),
    V("IMG-12", "text chunk that inflates to 300 MB", i.bomb_chunk(b"zTXt", b"a\0\0"), "bounded"),
    V("IMG-12", "colour profile that inflates to 300 MB", i.bomb_chunk(b"iCCP", b"a\0\0"), "bounded"),
    *(V("IMG-13", f"five frames, {form}", i.frames(form), "error unreadable b.*")
      for form in ("TIFF", "GIF", "PNG", "WEBP")),
    V("IMG-14", "5 bands of 8 bit", i.all_images(i.bands(5, np.uint8)), "ok", (0, 1, 2)),
    V("IMG-14", "3 bands of float", i.all_images(i.bands(3, np.float32)), "ok", (0, 1, 2)),
    *(V("IMG-15", f"float with {value}", i.floats(value), "error image-number b.tif")
      for value in (float("nan"), float("inf"), float("-inf"))),
    V("IMG-15", "float with -9999", i.floats(-9999.0), "error image-blank b.tif"),
    V("IMG-15", "-9999 declared", i.floats(-9999.0, declared="-9999"), "ok", (0, 1, 2, 255)),
    V("IMG-15", "NaN declared", i.floats(float("nan"), declared="nan"), "ok", (0, 1, 2, 255)),
    V("IMG-15", "-9999 declared in a TIFF named .png", i.floats(-9999.0, "-9999", ".png"),
      "warning file-name a.png", (0, 1, 2, 255)),
    V("IMG-15", "0 declared, 8 bit", i.declared(np.uint8, 0), "ok", (0, 1, 2, 255)),
    V("IMG-15", "65535 declared, 16 bit", i.declared(np.uint16, 65535), "ok", (0, 1, 2, 255)),
    *(V("IMG-15", f"{value} in arrays", d.arrays(value=value), f"error {code} a.npz")
      for value, code in ((float("nan"), "image-number"), (float("inf"), "image-number"), (-9999.0, "image-blank"))),
    *(V("IMG-16", f"{h} x {w}", i.resized(h, w), "ok", None) for h, w in ((1, 1), (1, 500), (31, 33))),
    V("IMG-16", "no area", i.no_area, "error unreadable b.png"),
    V("IMG-17", "one colour", i.constant, "warning image-constant b.png", (0, 1, 2)),
    V("IMG-17", "a band that is empty everywhere", i.all_images(i.dead_band), "warning band-constant a.png", (0, 1, 2)),
    V("IMG-18", "JPEG named .png", i.misnamed, "warning file-name b.png", (0, 1, 2)),
    *(V("IMG-18", f"named {name}", i.image(name, "RGB", form), "ok", (0, 1, 2))
      for name, form in (("b.PNG", "PNG"), ("b.TIF", "TIFF"), ("b.jpeg", "JPEG"), ("b.jfif", "JPEG"))),
    *(V("IMG-19", f"named {name[:12]!r}", i.renamed(name), "ok", None)
      for name in ("łódź", "a b", unicodedata.normalize("NFD", "é"), "x" * 240, "-rf", "%s{}", "a'b\"c", "<b>",
                   *(["\udcff\udcfe"] if sys.platform == "linux" else []))),  # no UTF-8
    V("IMG-20", "BMP, stored as BGR", i.image("b.bmp", "RGB", "BMP"), "ok", (0, 1, 2)),
]  # fmt: skip
MSK = [
    V("MSK-01", "value 3 of 3 classes", m.spoil(3), "error mask-value b.png"),
    V("MSK-01", "value 99", m.spoil(99), "error mask-value b.png"),
    V("MSK-02", "0 and 255, not declared", m.binary(""), "error mask-binary b.png"),
    V("MSK-02", "0 and 255, declared", m.binary("values: {0: ground, 255: roof}"), "ok", (0, 1)),
    V("MSK-03", "palette", m.palette_mask, "ok", (0, 1, 2)),
    V("MSK-03", "palette that shows another class", m.palette_swapped, "warning mask-palette b.png", (0, 1, 2)),
    V("MSK-04", "exact colours", m.colored(0), "ok", (0, 1, 2)),
    V("MSK-04", "colour off by one", m.colored(1), "error mask-color b.png"),
    V("MSK-04", "colours without colours in classes.yaml", m.colored(0, declared=False), "error mask-color b.png"),
    V("MSK-05", "JPEG", m.mask_as("b.jpg", "JPEG"), "error mask-lossy b.jpg"),
    V("MSK-05", "JPEG named .png", m.mask_as("b.png", "JPEG"), "error mask-lossy b.png"),
    V("MSK-05", "lossy WebP", m.mask_as("b.webp", "WEBP"), "error mask-lossy b.webp"),
    V("MSK-05", "JPEG in a TIFF", m.tiff_mask(compression="jpeg"), "error mask-lossy b.tif"),
    *(V("MSK-05", f"{name} in a TIFF {options}", m.packed_mask(name, **options), "error mask-lossy b.tif")
      for name, options in (
          ("jpeg2000", {"level": 40}), ("jpegxr", {"level": 50}), ("jpegxl", {"level": 80}), ("lerc", {"level": 2.0}),
          ("lerc", {"level": 2.0, "compression": "deflate"}), ("lerc", {"level": 2.0, "compression": "zstd"}),
          ("lerc", {"level": 0.1, "dtype": np.float32}))),
    *(V("MSK-05", f"LERC without loss {options}", m.packed_mask("lerc", level=0, **options), "ok", (0, 1, 2))
      for options in ({}, {"compression": "deflate"}, {"compression": "zstd"}, {"dtype": np.float32})),
    V("MSK-05", "JPEG saved as PNG, classes next to one another", m.mixed(m.through_jpeg),
      "warning mask-smooth b.png"),
    V("MSK-06", "resized with a smooth filter", m.smoothed, "error mask-value b.png"),
    V("MSK-06", "the same, classes next to one another", m.mixed(m.halved_and_back), "warning mask-smooth b.png"),
    V("MSK-07", "transposed", m.mask_array(lambda a: a.T), "error mask-size b.png"),
    V("MSK-07", "off by one", m.mask_array(lambda a: a[:-1]), "error mask-size b.png"),
    V("MSK-07", "half size", m.mask_array(lambda a: a[::2, ::2]), "error mask-size b.png"),
    V("MSK-08", "all ignored", m.mask_array(lambda a: a * 0 + 255), "warning mask-ignored b.png", (255,)),
    V("MSK-08", "all background", m.mask_array(lambda a: a * 0), "ok", (0,)),
    V("MSK-08", "one class absent", m.mask_array(lambda a: np.minimum(a, 1)), "ok", (0, 1)),
    V("MSK-09", "class in no training file", m.only_in_val, "warning class-unseen -", None),
    V("MSK-10", "class in no file", f.classes("[ground, roof, road, boat]"), "warning class-unseen -", (0, 1, 2)),
    V("MSK-11", "16 bits", m.mask_array(lambda a: a.astype(np.uint16)), "ok", (0, 1, 2)),
    V("MSK-11", "32 bits", m.tiff_mask(np.int32), "ok", (0, 1, 2)),
    V("MSK-11", "value 300, mapped", m.wide("values: {0: ground, 300: roof, 2: road}"), "ok", (0, 1, 2)),
    V("MSK-11", "value 300, not mapped", m.wide(""), "error mask-value b.tif"),
    V("MSK-11", "value 300, no classes.yaml", f.no_classes(m.wide("")), "error mask-value a.tif"),
    V("MSK-12", "whole floats", m.tiff_mask(np.float32), "ok", (0, 1, 2)),
    V("MSK-12", "0.5", m.tiff_mask(np.float32, 0.5), "error mask-number b.tif"),
    V("MSK-12", "NaN", m.tiff_mask(np.float32, float("nan")), "error mask-number b.tif"),
    V("MSK-12", "infinity", m.tiff_mask(np.float64, float("inf")), "error mask-number b.tif"),
    V("MSK-13", "-1", m.tiff_mask(np.int16, -1), "error mask-value b.tif"),
    V("MSK-13", "-1, ignored", f.both(m.tiff_mask(np.int16, -1), f.ignoring(-1)), "ok", (0, 1, 2, 255)),
    V("MSK-13", "-1 without classes.yaml", f.no_classes(m.tiff_mask(np.int16, -1)), "error mask-value b.tif"),
    V("MSK-14", "nodata 9", m.tiff_mask(np.uint8, 9, nodata="9"), "ok", (0, 1, 2, 255)),
    V("MSK-14", "nodata is a class", m.tiff_mask(np.uint8, nodata="0"), "error mask-nodata b.tif"),
    V("MSK-14", "nodata is a class by declaration",
      f.both(m.tiff_mask(np.uint8, nodata="0"), f.classes("{classes: [ground, roof, road], "
      "values: {0: ground, 1: roof, 2: road}}")), "ok", (0, 1, 2)),
    V("MSK-14", "255 is ignored and a class", f.classes(
        "{classes: [ground, roof], ignore: [255], values: {0: ground, 255: roof}}"), "error classes classes.yaml"),
    V("MSK-15", "same place", m.placed(0, 0), "ok", (0, 1, 2)),
    V("MSK-15", "half a pixel east", m.placed(0.5, 0), "error mask-place b.tif"),
    V("MSK-15", "100 km north", m.placed(0, 100_000), "error mask-place b.tif"),
    V("MSK-15", "south up", m.placed(0, 0, flipped=True), "error mask-place b.tif"),
    V("MSK-15", "another coordinate system", m.placed(0, 0, crs=32634), "error mask-place b.tif"),
    V("MSK-15", "another pixel size", m.placed(0, 0, scale=2), "error mask-place b.tif"),
    V("MSK-16", "RGBA", m.colored(0, alpha=True), "warning mask-alpha a.png", (0, 1, 2)),
    V("MSK-16", "LA", m.mask_as("b.png", "PNG", mode="LA"), "warning mask-alpha b.png", (0, 1, 2)),
    *(V("MSK-16", f"one-hot stack of {n}", m.one_hot(n), "error mask-* b.tif") for n in (2, 3, 4, 5)),
    V("MSK-18", "a copy of the image", f.copy(B, M), "error mask-copy b.png"),
    V("MSK-18", "a photograph", m.photograph, "error mask-value b.png"),
    V("MSK-18", "masks exchanged", m.exchanged, "warning mask-other b.png"),
    V("MSK-18", "a mask moved", m.moved, "warning mask-moved b.png"),
]  # fmt: skip
DAT = [
    V("DAT-01", "image without mask", f.remove(M), "error lone-image b.png"),
    V("DAT-01", "mask without image", f.remove(B), "error lone-mask b.png"),
    V("DAT-01", "a pair of .ppm", d.unread(".ppm"), "warning passed-over b.ppm", (0, 1, 2)),
    V("DAT-01", "a pair without suffix", d.unread(""), "warning passed-over b", (0, 1, 2)),
    V("DAT-01", "a pair seven folders deep", d.deep, "warning passed-over 6", (0, 1, 2)),
    V("DAT-01", "a third folder of images", lambda root: save(root / "more/x.png", picture(labels("x"), "x")),
      "warning passed-over x.png", (0, 1, 2)),
    V("DAT-01", "a .jp2 image", d.unread(".jp2", "images"), "error lone-mask b.png"),
    V("DAT-02", "a.jpg and a.png", i.image("b.jpg", "RGB", "JPEG", keep=True), "error name-clash b.jpg"),
    V("DAT-03", "1, 2, 10 with masks 01, 02, 10", d.numbered, "error lone-image 1.png"),
    V("DAT-04", "what systems leave behind", d.junk, "ok", (0, 1, 2)),
    V("DAT-05", "names equal after case", d.renamed_copy("B"), "error name-clash B.png"),
    V("DAT-05", "names equal after NFC", d.normal_forms, "error name-clash *"),
    V("DAT-06", "empty folder", d.emptied(0), "raises layout"),
    V("DAT-06", "folders without files", d.emptied(-1), "raises layout"),
    V("DAT-06", "one pair", d.emptied(1), "ok", (0, 1, 2)),
    V("DAT-06", "two pairs", d.emptied(2), "ok", (0, 1, 2)),
    V("DAT-06", "empty test folder", d.empty_split, "ok", None),
    V("DAT-06", "no training images", d.no_train, "error split-empty data", trained=False),
    V("DAT-07", "one image in train and val", d.same_in_splits, "warning split-copy *", None),
    V("DAT-07", "one ground in train and val", d.same_ground, "warning split-ground train.tif", None),
    V("DAT-08", "link out of the folder", f.link_outside, "warning link-outside b.png", (0, 1, 2)),
    V("DAT-08", "link to itself", f.link(B, "b.png"), "error unreadable b.png"),
    V("DAT-08", "dangling link", f.link(B, "nowhere.png"), "error unreadable b.png"),
    V("DAT-08", "link to a folder above", f.link("images/more", ".."), "error link-loop more"),
    V("DAT-08", "named pipe for an image", f.pipe(B), "error unreadable b.png"),
    V("DAT-08", "named pipe for a mask", f.pipe(M), "error unreadable b.png"),
    V("DAT-08", "named pipe for the classes", f.pipe("classes.yaml"), "error classes classes.yaml"),
    V("DAT-08", "named pipe for a list", f.pipe("train.txt"), "ok", (0, 1, 2)),
    V("DAT-08", "endless device", f.link(B, "/dev/zero"), "error unreadable b.png"),
    V("DAT-08", "a folder named like an image", f.folder_for(B), "error lone-mask b.png"),
    V("DAT-11", "zip", d.archive("zip"), "raises archive"),
    V("DAT-11", "tar", d.archive("tar"), "raises archive"),
    V("DAT-11", "tar.gz", d.archive("gz"), "raises archive"),
    V("DAT-11", "npz of a pickle", d.arrays(pickled=True), "raises unreadable"),
    V("DAT-11", "npz cut off", d.arrays(cut=True), "raises unreadable"),
    V("DAT-11", "npz of too many bytes", d.arrays(huge=True), "raises unreadable"),
    V("DAT-12", "arrays that changed", d.arrays(changed=True), "ok", None),
]  # fmt: skip
CATALOGUE = IMG + MSK + DAT


@pytest.mark.parametrize("variant", CATALOGUE, ids=[f"{v.row} {v.what}" for v in CATALOGUE])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_catalogue(variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_PIXELS", 1_000_000)
    root = f.sound(tmp_path / "data")
    root = variant.plant(root) or root
    before = f.tree(tmp_path)
    kind, *rest = variant.expect.split()
    if kind == "raises":
        with pytest.raises(PixelwiseError) as caught:
            check_dataset(root)
        assert caught.value.code == rest[0] and caught.value.remedy
        assert caught.value.file is not None
    elif kind == "bounded":  # what matters is that memory is not filled; the picture itself may be sound
        report = check_dataset(root)
        assert len(report.errors) <= 1
    else:
        report = check_dataset(root, workers=2)
        expect_findings(report, kind, rest)
        expect_same(report, check_dataset(root, workers=1))
        expect_training(variant, root, kind)
        page = write_check(report, tmp_path / "page").read_text(encoding="utf-8")
        assert all(finding.problem.code in page for finding in report.findings)
        shutil.rmtree(tmp_path / "page")
    assert f.tree(tmp_path) == before


def expect_findings(report: CheckReport, kind: str, rest: list[str]) -> None:
    if kind == "ok":
        assert report.ok, report.errors
        return
    code, name = rest
    findings = report.errors if kind == "error" else report.warnings
    assert kind == "error" or report.ok, report.errors
    matching = [
        finding.problem
        for finding in findings
        if Path(finding.problem.code).match(code)
        and (name == "-" or (finding.problem.file is not None and finding.problem.file.match(name)))
    ]
    assert matching, [(finding.problem.code, str(finding.problem)) for finding in report.findings]
    problem = matching[0]
    assert problem.found and problem.remedy
    if code in ("mask-value", "mask-color", "mask-number", "mask-nodata", "image-number", "image-blank"):
        assert problem.value is not None and (problem.count or 0) > 0
        assert problem.position is not None and min(problem.position) >= 0
    json.dumps(problem.as_dict(), allow_nan=False)


def expect_same(first: CheckReport, second: CheckReport) -> None:
    """Threads change nothing."""
    assert json.dumps(first.as_dict()) == json.dumps(second.as_dict())


def expect_training(variant: Variant, root: Path, kind: str) -> None:
    """What check refuses, training refuses too, typed; what it accepts gives the labels it should."""
    refused = kind == "error" and variant.trained
    try:
        data = open_dataset(root)
        seen = {sample.name: sample for split in data.splits for sample in split}
    except PixelwiseError:
        assert refused
        return
    assert not refused, "training does not see what check refuses"
    if variant.labels is not None:
        name = "b" if "b" in seen else min(seen)
        assert tuple(np.unique(seen[name].labels).tolist()) == variant.labels


def test_pixels_of_the_catalogue_are_read_as_stored(tmp_path: Path) -> None:
    """IMG-04, IMG-05, IMG-20: 16 bits stay, and red stays red whatever the format."""
    root = f.sound(tmp_path)
    labels = f.labels("b")
    i.all_images(i.sixteen(3))(root)
    assert read.read_image(root / B).max() > 255
    i.image("b.bmp", "RGB", "BMP")(root)
    assert np.array_equal(read.read_image(root / "images/b.bmp"), f.picture(labels, "b"))


def test_a_file_that_vanishes_between_scan_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DAT-09."""
    root = f.sound(tmp_path)

    def vanish(done: int, total: int) -> None:
        for name in ("images/e.png", "masks/f.png"):
            (root / name).unlink(missing_ok=True)

    data = open_dataset(root)
    report = check_dataset(root, progress=vanish, workers=1)
    gone = {finding.problem.file.name for finding in report.errors if finding.problem.file}
    assert gone == {"e.png", "f.png"} and all("no such file" in str(e.problem) for e in report.errors)
    with pytest.raises(PixelwiseError, match=r"[ef]\.png: no such file"):
        [sample for split in data.splits for sample in split]


def test_the_catalogue_is_complete_and_documented() -> None:
    """Every row has a variant here or another test, and docs/catalogue.md names it."""
    rows = {variant.row for variant in CATALOGUE}
    elsewhere = {"MSK-17", "DAT-09", "DAT-10"}
    every = {
        f"{kind}-{n:02d}"
        for kind, last in (("IMG", 20), ("MSK", 18), ("DAT", 12))
        for n in range(1, last + 1)
    }
    assert rows | elsewhere == every and len(CATALOGUE) >= 120
    page = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text()
    assert all(f"| {row} |" in page for row in every)


def test_helpers_of_this_file_see_a_change(tmp_path: Path) -> None:
    root = f.sound(tmp_path)
    before = f.tree(root)
    tifffile.imwrite(root / "images" / "b.png", np.zeros((3, 3), np.uint8))
    assert f.tree(root) != before
    assert zipfile.is_zipfile(d.archive("zip")(root))
