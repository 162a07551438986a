"""Ways to spoil the masks of a small sound dataset, for the catalogue of bad inputs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from faulty import SIZE, M, Plant, both, classes, labels, picture, save
from numpy.typing import NDArray
from PIL import Image


def mask_array(change: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> Plant:
    return lambda root: save(root / M, np.ascontiguousarray(change(labels("b"))))


def spoil(value: int) -> Plant:
    def change(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        array[5, 7:10] = value
        return array

    return mask_array(change)


def binary(values: str) -> Plant:
    def plant(root: Path) -> None:
        for path in (root / "masks").iterdir():
            save(path, (np.asarray(Image.open(path)) > 0).astype(np.uint8) * 255)
        (root / "classes.yaml").write_text(f"{{classes: [ground, roof]{', ' if values else ''}{values}}}")

    return plant


def _with_palette(array: NDArray[np.uint8], colors: list[int]) -> Any:
    kind = Image.fromarray(array).convert("P")
    kind.putpalette(colors)
    return kind


def palette_mask(root: Path) -> None:
    _with_palette(labels("b"), [0, 0, 0, 9, 9, 9, 40, 40, 40]).save(root / M)


def palette_swapped(root: Path) -> None:
    classes("[{name: ground, color: '#000000'}, {name: roof, color: '#ff0000'}, road]")(root)
    _with_palette(labels("b"), [255, 0, 0, 0, 0, 0, 1, 2, 3]).save(root / M)


COLORS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 200]], np.uint8)


def colored(off: int, *, declared: bool = True, alpha: bool = False) -> Plant:
    """All masks in colours; some pixels of b are `off` by one."""

    def plant(root: Path) -> None:
        for path in (root / "masks").iterdir():
            array = COLORS[labels(path.stem)].copy()
            if path.stem == "b" and off:
                array[2, 3, 1] += off
            if alpha:
                array = np.dstack([array, np.full(SIZE, 200, np.uint8)])
            save(path, array)
        if declared:
            colors = zip(("ground", "roof", "road"), ("000000", "ff0000", "0000c8"), strict=True)
            classes("".join(f"- {{name: {name}, color: '#{color}'}}\n" for name, color in colors))(root)

    return plant


def mask_as(name: str, form: str, *, mode: str = "L") -> Plant:
    def plant(root: Path) -> None:
        (root / M).unlink()
        Image.fromarray(labels("b")).convert(mode).save(root / "masks" / name, format=form)

    return plant


def tiff_mask(
    dtype: Any = np.uint8, value: float | None = None, *, nodata: str = "", compression: str | None = None
) -> Plant:
    def plant(root: Path) -> None:
        (root / M).unlink()
        array = labels("b").astype(dtype)
        if value is not None:
            array[6, 4:8] = value
        tags = [(42113, "s", 0, nodata, True)] if nodata else []
        options = {"tile": (16, 16)} if compression else {}
        tifffile.imwrite(root / "masks/b.tif", array, extratags=tags, compression=compression, **options)

    return plant


def packed_mask(scheme: str, dtype: Any = np.uint8, **options: Any) -> Plant:
    """Mask b as a TIFF of a compression that may lose values."""

    def plant(root: Path) -> None:
        (root / M).unlink()
        array = labels("b").astype(dtype)
        path = root / "masks/b.tif"
        tifffile.imwrite(path, array, compression=scheme, tile=(16, 16), compressionargs=options)

    return plant


def wide(values: str) -> Plant:
    def plant(root: Path) -> None:
        for path in sorted((root / "masks").iterdir()):
            array = labels(path.stem).astype(np.uint16)
            array[array == 1] = 300
            path.unlink()
            tifffile.imwrite(path.with_suffix(".tif"), array)
        text = f"{{classes: [ground, roof, road]{', ' if values else ''}{values}}}"
        (root / "classes.yaml").write_text(text)

    return both(plant)


def smoothed(root: Path) -> None:
    classes("{classes: [ground, roof, road], values: {0: ground, 100: roof, 200: road}}")(root)
    for path in (root / "masks").iterdir():
        array = labels(path.stem) * np.uint8(100)
        kind = Image.fromarray(array)
        if path.stem == "b":
            kind = kind.resize((24, 20), Image.Resampling.BICUBIC).resize((48, 40), Image.Resampling.BICUBIC)
        kind.save(path)


def patches(name: str, classes: int, size: int = 160) -> NDArray[np.uint8]:
    """Rectangles of classes that follow one another in number."""
    rng = np.random.default_rng([5, *name.encode()])
    array = np.zeros((size, size), np.uint8)
    for _ in range(30):
        top, left = rng.integers(0, size - 20, 2)
        height, width = rng.integers(15, 60, 2)
        array[top : top + height, left : left + width] = rng.integers(0, classes)
    return array


def mixed(change: Callable[[Image.Image], Image.Image]) -> Plant:
    """Larger pairs of six classes, mask b changed."""

    def plant(root: Path) -> None:
        for name in "abcdef":
            array = patches(name, 6)
            noise = np.random.default_rng(list(name.encode())).integers(0, 9, array.shape, np.uint8)
            save(root / f"images/{name}.png", np.dstack([array * 30 + noise] * 3))
            save(root / f"masks/{name}.png", array)
        kind = change(Image.fromarray(patches("b", 6)))
        save(root / M, np.asarray(kind).clip(0, 5))
        classes("[ground, roof, road, tree, water, soil]")(root)

    return plant


def halved_and_back(kind: Image.Image) -> Image.Image:
    small = kind.resize((kind.width // 2, kind.height // 2), Image.Resampling.BILINEAR)
    return small.resize(kind.size, Image.Resampling.BILINEAR)


def through_jpeg(kind: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    kind.save(stream, "JPEG", quality=90)
    return Image.open(stream)


def only_in_val(root: Path) -> None:
    for name in "abcdef":
        split = "val" if name in "ef" else "test" if name == "d" else "train"
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(exist_ok=True)
            (root / kind / f"{name}.png").rename(root / kind / split / f"{name}.png")
        if split == "train":
            save(root / "masks" / split / f"{name}.png", np.minimum(labels(name), 1))


def placed(
    shift: float, north: float, *, flipped: bool = False, crs: int = 32633, scale: float = 1.0
) -> Plant:
    """Image and mask b as GeoTIFFs, the mask `shift` pixels to the east and `north` metres to the north."""

    def plant(root: Path) -> None:
        for name, east, up, code, down, size in (
            ("images/b", 0.0, 0.0, 32633, True, 1.0),
            ("masks/b", shift * 0.5, north, crs, not flipped, scale),
        ):
            (root / f"{name}.png").unlink()
            array = picture(labels("b"), "b") if name.startswith("images") else labels("b")
            pixel = 0.5 * size
            matrix = (pixel, 0, 0, 300000 + east, 0, -pixel if down else pixel, 0, 5000000 + up, *[0] * 7, 1)
            keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, code)
            tags = [(34264, "d", 16, matrix, True), (34735, "H", len(keys), keys, True)]
            tifffile.imwrite(root / f"{name}.tif", array, extratags=tags, metadata=None)

    return plant


def one_hot(count: int) -> Plant:
    def plant(root: Path) -> None:
        (root / M).unlink()
        stack = (labels("b")[..., None] == np.arange(count)).astype(np.uint8)
        tifffile.imwrite(root / "masks/b.tif", stack, photometric="minisblack", planarconfig="contig")

    return plant


def photograph(root: Path) -> None:
    save(root / M, picture(labels("c"), "c")[..., 0])


def moved(root: Path) -> None:
    """Twenty-four pairs of larger images of which one mask is moved by 16 rows and 24 columns."""
    rng = np.random.default_rng(4)
    for name in "abcdefghijklmnopqrstuvwx":
        array = np.zeros((160, 160), np.uint8)
        for _ in range(12):
            top, left = rng.integers(0, 130, 2)
            array[top : top + 24, left : left + 30] = rng.integers(0, 3)
        save(root / f"images/{name}.png", picture(array, name))
        save(root / f"masks/{name}.png", np.roll(array, (-16, 24), (0, 1)) if name == "b" else array)


def exchanged(root: Path) -> None:
    """Masks b and c of larger images exchanged; the others fit."""
    rng = np.random.default_rng(3)
    arrays = {}
    for name in "abcdef":
        array = np.zeros((160, 160), np.uint8)
        for _ in range(12):
            top, left = rng.integers(0, 130, 2)
            array[top : top + 24, left : left + 30] = rng.integers(0, 3)
        arrays[name] = array
        save(root / f"images/{name}.png", picture(array, name))
    for name, other in zip("abcdef", "acbdef", strict=True):
        save(root / f"masks/{name}.png", arrays[other])
