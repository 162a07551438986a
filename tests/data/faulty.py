"""Ways to spoil a small sound dataset, for the catalogue of bad inputs; each plants one fault below a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plant = Callable[[Path], Any]
SIZE = (40, 48)
B, M = "images/b.png", "masks/b.png"
SUFFIX = {"PNG": "png", "JPEG": "jpg", "TIFF": "tif", "WEBP": "webp", "BMP": "bmp", "GIF": "gif"}


def labels(name: str) -> NDArray[np.uint8]:
    """Ground, a roof and a road, elsewhere in each image."""
    rng = np.random.default_rng(list(name.encode()))
    array = np.zeros(SIZE, np.uint8)
    top, left = rng.integers(2, 18), rng.integers(2, 22)
    array[top : top + 16, left : left + 20] = 1
    array[:, int(rng.integers(0, 44)) :][:, :4] = 2
    return array


def picture(array: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    rng = np.random.default_rng([7, *name.encode()])
    colors = np.array([[90, 130, 60], [180, 70, 60], [110, 110, 120]])
    noise = rng.normal(0, 6, (*array.shape, 3))
    return (colors[array] + noise).clip(0, 255).astype(np.uint8)


def save(path: Path, array: NDArray[Any], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def both(*plants: Plant) -> Plant:
    return lambda root: [plant(root) for plant in plants][-1]


def content(name: str, data: bytes) -> Plant:
    return lambda root: (root / name).write_bytes(data) and None


def classes(text: str) -> Plant:
    return content("classes.yaml", text.encode())


def ignoring(value: int) -> Plant:
    return classes(f"{{classes: [ground, roof, road], ignore: [{value}]}}")


def no_classes(plant: Plant) -> Plant:
    return both(plant, lambda root: (root / "classes.yaml").unlink())


def remove(name: str) -> Plant:
    return lambda root: (root / name).unlink()


def copy(source: str, target: str) -> Plant:
    return lambda root: shutil.copyfile(root / source, root / target) and None


def link(name: str, target: str) -> Plant:
    def plant(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)

    return plant


def pipe(name: str) -> Plant:
    def plant(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        os.mkfifo(root / name)

    return plant


def folder_for(name: str) -> Plant:
    def plant(root: Path) -> None:
        (root / name).unlink()
        (root / name).mkdir()

    return plant


def link_outside(root: Path) -> None:
    (root / B).rename(root.parent / "elsewhere.png")
    (root / B).symlink_to(root.parent / "elsewhere.png")


def tree(root: Path) -> str:
    """A digest over names, kinds and contents of all that lies below a folder; pipes and devices are not read."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        total.update(os.fsencode(path.relative_to(root)))
        total.update(str(path.lstat().st_mode).encode())
        if path.is_symlink():
            total.update(str(path.readlink()).encode())
        elif path.is_file():
            total.update(path.read_bytes())
    return total.hexdigest()


def sound(root: Path) -> Path:
    """Six pairs with labels that follow the images, and a classes.yaml of three classes."""
    for name in "abcdef":
        truth = labels(name)
        save(root / f"images/{name}.png", picture(truth, name))
        save(root / f"masks/{name}.png", truth)
    (root / "classes.yaml").write_text("[ground, roof, road]\n")
    return root
