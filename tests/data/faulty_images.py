"""Ways to spoil the images of a small sound dataset, for the catalogue of bad inputs."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from faulty import SIZE, SUFFIX, B, M, Plant, labels, picture, save
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Exif


def image(name: str, mode: str, form: str, *, keep: bool = False) -> Plant:
    """Image b in another mode, format and name."""

    def plant(root: Path) -> None:
        kind = Image.fromarray(picture(labels("b"), "b")).convert(mode)
        if not keep:
            (root / B).unlink()
        kind.save(root / "images" / name, format=form)

    return plant


def all_images(change: Callable[[NDArray[np.uint8], Path], Any]) -> Plant:
    def plant(root: Path) -> None:
        for path in sorted((root / "images").iterdir()):
            change(np.asarray(Image.open(path)), path)

    return plant


def one_image(change: Callable[[NDArray[np.uint8], Path], Any]) -> Plant:
    return lambda root: change(np.asarray(Image.open(root / B)), root / B)


def sixteen(bands: int) -> Callable[[NDArray[np.uint8], Path], Any]:
    def change(array: NDArray[np.uint8], path: Path) -> None:
        wide = array.astype(np.uint16) * 200
        path.write_bytes(imagecodecs.png_encode(wide if bands == 3 else np.ascontiguousarray(wide[..., 0])))

    return change


def mode(name: str) -> Callable[[NDArray[np.uint8], Path], Any]:
    def change(array: NDArray[np.uint8], path: Path) -> None:
        kind = Image.fromarray(array)
        if name == "PT":
            kind.convert("P").save(path, transparency=0)
            return
        if name in ("RGBA", "LA"):
            kind.putalpha(Image.fromarray(np.where(array[..., 0] > 100, 0, 255).astype(np.uint8)))
        kind.convert(name).save(path)

    return change


def bands(count: int, dtype: Any) -> Callable[[NDArray[np.uint8], Path], Any]:
    def change(array: NDArray[np.uint8], path: Path) -> None:
        path.unlink()
        stack = np.dstack([array, array])[..., :count].astype(dtype)
        tifffile.imwrite(path.with_suffix(".tif"), stack, photometric="minisblack", planarconfig="contig")

    return change


def dead_band(array: NDArray[np.uint8], path: Path) -> None:
    dead = array.copy()
    dead[..., 1] = 7
    Image.fromarray(dead).save(path)


def cut_off(where: str, form: str, share: float) -> Plant:
    def plant(root: Path) -> None:
        stream = io.BytesIO()
        Image.fromarray(picture(labels("b"), "b")).save(stream, format=form)
        (root / where / "b.png").unlink()
        data = stream.getvalue()
        (root / where / f"b.{SUFFIX[form]}").write_bytes(data[: int(len(data) * share)])

    return plant


def flip(name: str, place: int) -> Plant:
    def plant(root: Path) -> None:
        data = bytearray((root / name).read_bytes())
        data[place] ^= 16
        (root / name).write_bytes(bytes(data))

    return plant


def oriented(number: int, *, mask: bool = True) -> Plant:
    def plant(root: Path) -> None:
        exif = Exif()
        exif[0x0112] = number
        for name in (B, M) if mask else (B,):
            array = np.asarray(Image.open(root / name))
            Image.fromarray(array).save(root / name, exif=exif)

    return plant


def tiff(name: str, *, bands: int = 3, **options: Any) -> Plant:
    def plant(root: Path) -> None:
        (root / B).unlink()
        array = picture(labels("b"), "b")
        stack = np.dstack([array, array])[..., :bands]
        tifffile.imwrite(root / name, stack, planarconfig="contig", **{"photometric": "rgb", **options})

    return plant


def chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def claim_png(root: Path) -> None:
    (root / B).write_bytes(png(60000, 60000, chunk(b"IDAT", zlib.compress(bytes(10)))))


def no_area(root: Path) -> None:
    (root / B).write_bytes(png(0, 10, chunk(b"IDAT", zlib.compress(b""))))


def large(root: Path) -> None:
    Image.new("L", (1001, 1000)).save(root / B)  # the tests set the budget to a million


def claim_tiff(root: Path) -> None:
    (root / B).unlink()
    path = root / "images" / "b.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(np.zeros((16, 16), np.uint8), tile=(16, 16))
    with tifffile.TiffFile(path, mode="r+") as file:
        page: Any = file.pages[0]
        for tag in ("ImageWidth", "ImageLength"):
            page.tags[tag].overwrite(200_000)


def bomb_tile(root: Path) -> None:
    """A tile of 16 x 16 pixels whose stream inflates to 300 MB."""
    (root / B).unlink()
    path = root / "images" / "b.tif"
    bomb = zlib.compress(bytes(300_000_000), 9)

    def tiles() -> Any:
        yield bomb

    tifffile.imwrite(path, tiles(), shape=(16, 16), dtype=np.uint8, tile=(16, 16), compression="deflate")


def bomb_chunk(tag: bytes, head: bytes) -> Plant:
    def plant(root: Path) -> None:
        data = (root / B).read_bytes()
        (root / B).write_bytes(
            data[:33] + chunk(tag, head + zlib.compress(bytes(300_000_000), 9)) + data[33:]
        )

    return plant


def frames(form: str) -> Plant:
    def plant(root: Path) -> None:
        (root / B).unlink()
        many = [Image.fromarray(picture(labels(name), name)) for name in "bcdef"]
        path = root / "images" / f"b.{SUFFIX[form]}"
        many[0].save(path, format=form, save_all=True, append_images=many[1:])

    return plant


def floats(value: float, declared: str = "", suffix: str = ".tif") -> Plant:
    """All images as float TIFF; one pixel of b, of label 0, holds `value`."""

    def plant(root: Path) -> None:
        for path in sorted((root / "images").iterdir()):
            array = np.asarray(Image.open(path)).astype(np.float32) / 255
            if path.stem == "b":
                array[3, 5] = value
            path.unlink()
            tags = [(42113, "s", 0, declared, True)] if declared else []
            tifffile.imwrite(path.with_suffix(suffix), array, photometric="rgb", extratags=tags)

    return plant


def declared(dtype: Any, value: int, suffix: str = ".tif") -> Plant:
    """All images as TIFF of integers that declare `value` empty; one pixel of b has it in all bands, one in one."""

    def plant(root: Path) -> None:
        for path in sorted((root / "images").iterdir()):
            array = np.asarray(Image.open(path)).astype(dtype)
            if path.stem == "b":
                array[3, 5] = value
                array[4, 5, 1] = value
            path.unlink()
            tags = [(42113, "s", 0, str(value), True)]
            tifffile.imwrite(path.with_suffix(suffix), array, photometric="rgb", extratags=tags)

    return plant


def white(root: Path) -> None:
    """All images grey; b is a TIFF in which 0 is white."""
    for path in sorted((root / "images").iterdir()):
        grey = np.asarray(Image.open(path).convert("L"))
        if path.stem == "b":
            path.unlink()
            tifffile.imwrite(path.with_suffix(".tif"), 255 - grey, photometric="miniswhite")
        else:
            save(path, grey)


def resized(height: int, width: int) -> Plant:
    def plant(root: Path) -> None:
        rows = np.arange(height) % SIZE[0]
        columns = np.arange(width) % SIZE[1]
        save(root / B, picture(labels("b"), "b")[rows][:, columns])
        save(root / M, labels("b")[rows][:, columns])

    return plant


def constant(root: Path) -> None:
    save(root / B, np.full((*SIZE, 3), 9, np.uint8))


def misnamed(root: Path) -> None:
    Image.fromarray(picture(labels("b"), "b")).save(root / B, format="JPEG")


def renamed(name: str) -> Plant:
    def plant(root: Path) -> None:
        for folder in ("images", "masks"):
            (root / folder / "b.png").rename(root / folder / f"{name}.png")

    return plant
