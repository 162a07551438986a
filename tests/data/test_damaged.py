from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data import read
from pixelwise.data.read import image_size, read_image, read_mask
from pixelwise.errors import UnreadableError

RNG = np.random.default_rng(7)


def rgb(height: int = 40, width: int = 50) -> Any:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp", "gif"])
def test_cut_off_files(tmp_path: Path, suffix: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(rgb(60, 60)).save(
        stream, format={"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    )
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with pytest.raises(UnreadableError, match="cut off"):
        read_image(path)


@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}, {"tile": (16, 16)}, {"rowsperstrip": 4}])
def test_cut_off_tiffs(tmp_path: Path, options: Any) -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, rgb(60, 60), photometric="rgb", **options)
    path = tmp_path / "a.tif"
    path.write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with pytest.raises(UnreadableError, match="cut off") as caught:
        read_image(path)
    assert caught.value.file == path


def test_a_little_cut_off_a_jpeg_in_a_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb(60, 60), photometric="rgb", compression="jpeg", tile=(16, 16))
    path.write_bytes(path.read_bytes()[:-100])  # the decoder of the last tile would not notice
    with pytest.raises(UnreadableError, match="should have at least"):
        read_image(path)


def test_cut_off_sixteen_bits(tmp_path: Path) -> None:
    data = imagecodecs.png_encode(RNG.integers(0, 65536, (30, 30, 3), dtype=np.uint16))
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableError, match="cut off"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "found"), [(b"", r"empty \(0 bytes\)"), (b"not an image\n", "begins with b'not an image'")]
)
def test_no_image_inside(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for call in (read_image, read_mask, image_size):
        with pytest.raises(UnreadableError, match=found):
            call(tmp_path / "a.png")


def test_missing_file_and_pipe(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no such file"):
        read_image(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")
    with pytest.raises(UnreadableError, match="a folder, not an image"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.tif", "a.webp"])
def test_several_frames(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(rgb(9, 9)) for _ in range(5)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    for call in (read_image, read_mask, image_size):
        with pytest.raises(UnreadableError, match="holds 5 pages or frames, 1 is expected"):
            call(tmp_path / name)


def bomb_png(path: Path) -> None:
    head = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(10))
    body = b"IDAT" + data
    chunks = ((13, head), (len(data), body), (0, b"IEND"))
    parts = (struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk)) for size, chunk in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def bomb_tiff(path: Path) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(np.zeros((16, 16), np.uint8), tile=(16, 16))
    data = path.read_bytes()
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page: Any = tiff.pages[0]
        for tag in ("ImageWidth", "ImageLength"):
            page.tags[tag].overwrite(200_000)
    assert data != path.read_bytes()


@pytest.mark.parametrize(("name", "make"), [("a.png", bomb_png), ("a.tif", bomb_tiff)])
def test_pixel_budget_before_decoding(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    make(tmp_path / name)
    for call in (read_image, read_mask, image_size):
        with pytest.raises(UnreadableError, match="00 pixels are more than the 300,000,000"):
            call(tmp_path / name)


def test_images_beyond_the_limit_of_pillow_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(rgb()).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (40, 50, 3)
    monkeypatch.setattr(read, "MAX_PIXELS", 1999)
    with pytest.raises(UnreadableError, match="50 x 40 pixels"):
        read_image(tmp_path / "a.png")


def without_tag(path: Path, tag: int) -> None:
    """A TIFF whose tag `tag` has a type that there is not."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, rgb(), photometric="rgb")
    data = bytearray(stream.getvalue())
    start = struct.unpack("<I", data[4:8])[0] + 2
    place = next(at for at in range(start, len(data), 12) if struct.unpack("<H", data[at : at + 2])[0] == tag)
    data[place + 2 : place + 4] = b"\xff\x7f"
    path.write_bytes(data)


@pytest.mark.parametrize("tag", [256, 257])
def test_a_tiff_that_has_lost_its_size(tmp_path: Path, tag: int) -> None:
    without_tag(tmp_path / "a.tif", tag)
    for call in (read_image, read_mask, image_size):
        with pytest.raises(UnreadableError, match="which is nothing"):
            call(tmp_path / "a.tif")


def test_damaged_tags_are_told_once_and_not_on_standard_error(tmp_path: Path) -> None:
    without_tag(tmp_path / "a.tif", 257)
    code = "import sys; from pixelwise.data.read import read_image; read_image(sys.argv[1])"
    call = [sys.executable, "-c", code, str(tmp_path / "a.tif")]
    said = subprocess.run(call, capture_output=True, text=True, check=False).stderr
    assert "UnreadableError" in said and "<TiffTag" not in said
