"""Ways to spoil the folders of a small sound dataset, for the catalogue of bad inputs."""

from __future__ import annotations

import shutil
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from faulty import B, Plant, labels, picture, save


def numbered(root: Path) -> None:
    for kind, names in (("images", ("1", "2", "10")), ("masks", ("01", "02", "10"))):
        for old, new in zip("abc", names, strict=True):
            (root / kind / f"{old}.png").rename(root / kind / f"{new}.png")


def junk(root: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "images/._a.png", "masks/desktop.ini", "images/.hidden.png"):
        (root / name).write_bytes(b"junk")
    (root / "__MACOSX").mkdir()


def renamed_copy(stem: str) -> Plant:
    def plant(root: Path) -> None:
        save(root / f"images/{stem}.png", picture(labels("z"), "z"))

    return plant


def unread(suffix: str, *kinds: str) -> Plant:
    """Image b, mask b or both under a name whose suffix is not read."""

    def plant(root: Path) -> None:
        for kind in kinds or ("images", "masks"):
            (root / kind / "b.png").rename(root / kind / f"b{suffix}")

    return plant


def deep(root: Path) -> None:
    for kind in ("images", "masks"):
        folder = root / kind / "1/2/3/4/5/6"
        folder.mkdir(parents=True)
        (root / kind / "b.png").rename(folder / "b.png")


def normal_forms(root: Path) -> None:
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "é") + ".png"
        save(root / "images" / name, picture(labels("y"), form))
    save(root / "masks" / (unicodedata.normalize("NFC", "é") + ".png"), labels("y"))


def emptied(pairs: int) -> Plant:
    """Only so many pairs; -1: folders without files; 0: nothing at all."""

    def plant(root: Path) -> None:
        for kind in ("images", "masks"):
            for name in "abcdef"[1 + pairs :] + "a" if pairs > 0 else "abcdef":
                (root / kind / f"{name}.png").unlink(missing_ok=True)
            if pairs == 0:
                (root / kind).rmdir()
        if pairs <= 0:
            (root / "classes.yaml").unlink()

    return plant


def _into_splits(root: Path) -> None:
    for name in "abcdef":
        split = "val" if name in "ef" else "train"
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(exist_ok=True)
            (root / kind / f"{name}.png").rename(root / kind / split / f"{name}.png")


def empty_split(root: Path) -> None:
    _into_splits(root)
    (root / "images/test").mkdir()
    (root / "masks/test").mkdir()


def no_train(root: Path) -> None:
    _into_splits(root)
    for kind in ("images", "masks"):
        (root / kind / "train").rename(root / kind / "test")


def same_in_splits(root: Path) -> None:
    _into_splits(root)
    shutil.copyfile(root / "images/train/b.png", root / "images/val/e.png")
    shutil.copyfile(root / "masks/train/b.png", root / "masks/val/e.png")


def same_ground(root: Path) -> None:
    """GeoTIFFs of a square of ground with other pixels, the one of val half a picture east of that of train."""
    from pixelwise.geo.raster import write_geotiff

    _into_splits(root)
    for split, east in (("train", 0), ("val", 24)):
        place = {"origin": (500_000 + east, 5_000_000), "pixel_size": 1.0, "crs": "EPSG:32631"}
        shown = labels(split)
        write_geotiff(root / f"images/{split}/{split}.tif", picture(shown, split), **place)
        write_geotiff(root / f"masks/{split}/{split}.tif", shown, **place)


def archive(kind: str) -> Callable[[Path], Path]:
    def plant(root: Path) -> Path:
        path = root.parent / f"data.{kind}"
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("../../evil.png", b"x")
                file.write(root / B, B)
        else:
            with tarfile.open(path, "w:gz" if kind == "gz" else "w") as tar:
                tar.add(root, "data")
        return path

    return plant


def arrays(
    *,
    pickled: bool = False,
    cut: bool = False,
    huge: bool = False,
    changed: bool = False,
    value: float | None = None,
) -> Callable[[Path], Path]:
    def plant(root: Path) -> Path:
        folder = root.parent / "arrays"
        folder.mkdir()
        path = folder / "a.npz"
        pictures = np.stack([picture(labels(name), name) for name in "abcdef"])
        truth = np.stack([labels(name) for name in "abcdef"])
        if value is not None:
            pictures = pictures.astype(np.float32)
            pictures[1, 3, 5] = value
        if pickled:
            np.savez(path, images=np.array([{"a": 1}], dtype=object), labels=np.zeros(1, np.uint8))
        elif huge:
            _huge(path)
        else:
            np.savez(path, images=pictures, labels=truth)
        if cut:
            path.write_bytes(path.read_bytes()[:3000])
        if changed:
            from pixelwise.data.check import check_dataset

            check_dataset(folder)
            np.savez(path, images=pictures[:3], labels=truth[:3])
            assert sum(check_dataset(folder).images.values()) == 3
        return folder

    return plant


def _huge(path: Path) -> None:
    """An archive whose directory claims more bytes than are allowed."""
    np.savez(path, images=np.zeros((1, 4, 4), np.uint8), labels=np.zeros(1, np.uint8))
    data = bytearray(path.read_bytes())
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        data[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)
        place = data.find(b"PK\x01\x02", place + 4)
    path.write_bytes(bytes(data))
