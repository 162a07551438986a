"""Copies of a dataset at another size: every image resized as a whole, or cut into tiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

import pixelwise as pw
from pixelwise.files import write_text
from pixelwise.types import Sample


def resized(sample: Sample, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (averaged over areas) and labels (nearest) of a sample at `size` rows x columns."""
    shape = (size[1], size[0])
    image = PIL.Image.fromarray(sample.image).resize(shape, PIL.Image.Resampling.BOX)
    labels = PIL.Image.fromarray(sample.labels).resize(shape, PIL.Image.Resampling.NEAREST)
    return np.asarray(image), np.asarray(labels)


def tiles(sample: Sample, size: tuple[int, int]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """The whole tiles of `size` rows x columns that fit into a sample, edge to edge."""
    height, width = sample.labels.shape
    for top in range(0, height - size[0] + 1, size[0]):
        for left in range(0, width - size[1] + 1, size[1]):
            part = np.s_[top : top + size[0], left : left + size[1]]
            yield sample.image[part], sample.labels[part]


def prepare(
    data: pw.Dataset, out: Path, *, size: tuple[int, int] | None, cut: tuple[int, int] | None
) -> Path:
    """Write `data` to `out` as images/ and masks/ by split, once; masks hold class indices and 255."""
    done = out / "classes.yaml"
    if done.exists():
        return out
    for split in data.splits:
        for sample in split:
            pairs = [resized(sample, size)] if size else list(tiles(sample, cut or sample.labels.shape))
            for index, (image, labels) in enumerate(pairs):
                stem = Path(sample.name).name + (f"_{index:02d}" if len(pairs) > 1 else "")
                for kind, values in (("images", image), ("masks", labels)):
                    path = out / kind / split.name / f"{stem}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    PIL.Image.fromarray(values).save(path)
    lines = "".join(f'- {{name: {spec.name}, color: "{spec.color}"}}\n' for spec in data.classes)
    write_text(done, lines)
    return out
