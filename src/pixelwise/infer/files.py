"""Image files and folders in, class maps out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.folders import IMAGE_SUFFIXES, list_folders
from pixelwise.data.read import read_image
from pixelwise.errors import DataError, OutputError, UnreadableError
from pixelwise.files import locked, write_bytes
from pixelwise.infer.ahead import ahead
from pixelwise.infer.predictor import predict, predict_with_confidence
from pixelwise.models.segmenter import Segmenter
from pixelwise.report.pictures import display_rgb, index_png, overlay, png
from pixelwise.types import Image


@dataclass(frozen=True)
class Job:
    """One image file and the name its results get: a path without suffix, below each result folder."""

    image: Path
    name: Path


def predict_files(
    model: Segmenter,
    inputs: Sequence[Path],
    out: Path,
    *,
    overlays: bool = True,
    confidence: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Map image files and folders of them; the results have the size of the upright image.

    Writes `labels/STEM.png` (index image: pixel = class index, palette = class colours), `overlay/STEM.png`
    with `overlays`, and `confidence/STEM.png` with `confidence` (grey, value / 255 = probability). Folders
    are searched with their subfolders; when two images share a stem, all results keep their subfolders.
    A file that cannot be mapped does not stop the others.

    Args:
        model: Runs on the device it is on.
        inputs: Image files and folders.
        out: Folder for the results; it may not contain the inputs.
        overlays: Also write the class colours laid over each image.
        confidence: Also write the probability of the class of each pixel.
        progress: Called with the images done and their number.

    Returns:
        The files written, in natural order of the images.

    Raises:
        UnreadableError: an input is missing; nothing is written.
        DataError: no image found, or some images could not be mapped; all others are then written.
        OutputError: `out` contains an input, is in use or full, or two images would get one result.
    """
    jobs = find_jobs(inputs, out)
    written: list[Path] = []
    failures: list[DataError] = []
    with locked(out):
        for done, (job, image) in enumerate(ahead(lambda job: read_image(job.image), jobs), start=1):
            try:
                pictures = _pictures(model, image(), overlays=overlays, confidence=confidence)
            except DataError as error:
                error.file = error.file or job.image
                failures.append(error)
            else:
                for folder, data in pictures:
                    path = out / folder / f"{job.name}.png"
                    write_bytes(path, data)
                    written.append(path)
            if progress is not None:
                progress(done, len(jobs))
    if failures:
        raise _joined(failures, len(jobs))
    return written


def find_jobs(inputs: Sequence[Path], out: Path) -> list[Job]:
    """The images below `inputs`, without those below `out`, each with the name of its results.

    Raises:
        UnreadableError, DataError, OutputError: see `predict_files`.
    """
    images: dict[Path, None] = {}  # a set that keeps its order: a file given twice is mapped once
    target = out.resolve()
    for given in inputs:
        if not given.exists():
            raise UnreadableError("no such file or folder", file=given, remedy="check the path")
        if given.resolve().is_relative_to(target):
            raise OutputError(
                f"the output folder contains the input {given}",
                file=out,
                remedy="choose another folder with -o, such as -o predictions",
            )
        found = _images(given, target) if given.is_dir() else [given]
        images.update(dict.fromkeys(image.absolute() for image in found))
    if not images:
        raise DataError(
            f"no image in {', '.join(str(given) for given in inputs) or 'no input'}",
            remedy=f"give image files ({' '.join(sorted(IMAGE_SUFFIXES))}) or folders that contain some",
        )
    return _named(list(images))


def _images(folder: Path, target: Path) -> list[Path]:
    images = [image for found in list_folders(folder)[0] for image in found.files]
    return [image for image in images if not image.resolve().is_relative_to(target)]


def _named(images: list[Path]) -> list[Job]:
    names = [Path(image.stem) for image in images]
    # Compared without case: on many disks A.png and a.png are one file.
    if len({str(name).casefold() for name in names}) < len(names):
        root = Path(os.path.commonpath([image.parent for image in images]))
        names = [image.relative_to(root).with_name(image.stem) for image in images]
    counts = Counter(str(name).casefold() for name in names)
    for image, name in zip(images, names, strict=True):
        if counts[str(name).casefold()] > 1:
            raise OutputError(
                f"more than one image would be written to {name}.png",
                file=image,
                remedy="rename one of them, or map them one after the other into two folders",
            )
    return [Job(image, name) for image, name in zip(images, names, strict=True)]


def _pictures(model: Segmenter, image: Image, *, overlays: bool, confidence: bool) -> list[tuple[str, bytes]]:
    if confidence:
        labels, certainty = predict_with_confidence(model, image)
    else:
        labels, certainty = predict(model, image), None
    pictures = [("labels", index_png(labels, model.classes))]
    if overlays:
        pictures.append(("overlay", png(overlay(display_rgb(image), labels, model.classes))))
    if certainty is not None:
        pictures.append(("confidence", png(np.round(certainty * 255).astype(np.uint8))))
    return pictures


def _joined(failures: Sequence[DataError], total: int) -> DataError:
    if len(failures) == 1 and total == 1:
        return failures[0]
    lines = "".join(f"\n  {error.file}: {error.found}" for error in failures)
    remedies = dict.fromkeys(error.remedy for error in failures if error.remedy)
    return DataError(
        f"{len(failures)} of {total} images could not be mapped; the others were written{lines}",
        remedy="; ".join(remedies),
    )
