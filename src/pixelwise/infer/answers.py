"""What is written of the tasks that answer per image: classes, reconstructions, boxes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Protocol

import imagecodecs
import numpy as np
import tifffile

from pixelwise.infer.images import classify, localize, reconstruct
from pixelwise.infer.jobs import Job
from pixelwise.models.autoencoder import Autoencoder
from pixelwise.models.classifier import Classifier
from pixelwise.models.localizer import Localizer
from pixelwise.report.frames import framed
from pixelwise.report.pictures import display_rgb, png
from pixelwise.report.tables import csv_text
from pixelwise.types import Image


class Answers(Protocol):
    """Answers to one image after the other, and tables about all of them."""

    def add(self, job: Job, image: Image) -> list[tuple[Path, bytes]]:
        """The files about one image: path below the result folder, and content."""
        ...

    def tables(self) -> dict[str, str]:
        """The files about all images: name and content."""
        ...


class Guesses:
    """The classes of a Classifier."""

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self.names = [spec.name for spec in model.classes]
        self.rows: list[list[object]] = []

    def add(self, job: Job, image: Image) -> list[tuple[Path, bytes]]:
        """Note the probabilities; no file is about one image."""
        shares = classify(self.model, image)
        best = int(shares.argmax())
        self.rows.append(
            [job.label, self.names[best], f"{shares[best]:.6f}", *(f"{share:.6f}" for share in shares)]
        )
        return []

    def tables(self) -> dict[str, str]:
        """Image, class, its probability, and the probability of each class."""
        return {"classes.csv": csv_text(["image", "class", "probability", *self.names], self.rows)}


class Copies:
    """The reconstructions of an Autoencoder."""

    def __init__(self, model: Autoencoder) -> None:
        self.model = model

    def add(self, job: Job, image: Image) -> list[tuple[Path, bytes]]:
        """The image as it comes back, with values of the kind it came with."""
        suffix, data = _encoded(reconstruct(self.model, image))
        return [(Path("reconstructions") / f"{job.name}{suffix}", data)]

    def tables(self) -> dict[str, str]:
        """None."""
        return {}


class Boxes:
    """The classes and boxes of a Localizer."""

    def __init__(self, model: Localizer) -> None:
        self.model = model
        self.rows: list[list[object]] = []

    def add(self, job: Job, image: Image) -> list[tuple[Path, bytes]]:
        """The image with the box drawn in; without one where the class is background."""
        index, probability, box = localize(self.model, image)
        spec, nothing = self.model.classes[index], index == self.model.options.background
        sides = [""] * 4 if nothing else [f"{value:.2f}" for value in box]
        self.rows.append([job.label, spec.name, f"{probability:.6f}", *sides])
        picture = framed(display_rgb(image), [] if nothing else [(box, spec)])
        return [(Path("boxes") / f"{job.name}.png", png(picture))]

    def tables(self) -> dict[str, str]:
        """Image, class, its probability, and the sides of the box; no sides where the class is background."""
        head = ("image", "class", "probability", "top", "left", "bottom", "right")
        return {"boxes.csv": csv_text(head, self.rows)}


def _encoded(image: Image) -> tuple[str, bytes]:
    """An image as PNG where that can hold it, else as TIFF; with the suffix."""
    bands = image.shape[2]
    values = np.ascontiguousarray(image[:, :, 0] if bands == 1 else image)
    if image.dtype.kind == "u" and bands in (1, 3):
        return ".png", bytes(imagecodecs.png_encode(values))
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric="minisblack", planarconfig=None if bands == 1 else "contig")
    return ".tif", stream.getvalue()
