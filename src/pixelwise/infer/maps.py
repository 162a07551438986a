"""What a Segmenter writes: class maps, overlays, confidence, uncertainty, and the objects of the maps."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import tifffile
from numpy.typing import NDArray

from pixelwise.errors import OptionError, close_matches
from pixelwise.infer.augmented import Averaged, Opinion
from pixelwise.infer.engine import Engine
from pixelwise.infer.jobs import Job
from pixelwise.infer.predictor import set_threshold_of, temperatures_of
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.objects import Connectivity, objects
from pixelwise.report.frames import framed
from pixelwise.report.pictures import display_rgb, index_png, overlay, png
from pixelwise.report.tables import csv_text
from pixelwise.types import Image, Labels


@dataclass(frozen=True)
class ObjectOptions:
    """Which connected pixels of a class map are objects.

    Attributes:
        skip: Names of classes that are none, such as the background.
        min_area: Smaller ones are left out, in pixels.
        connectivity: 8 joins pixels that share a side or a corner, 4 only those that share a side.
    """

    skip: tuple[str, ...] = ()
    min_area: int = 1
    connectivity: Connectivity = 8

    def __post_init__(self) -> None:
        if self.min_area < 1:
            raise OptionError(f"min_area is {self.min_area}", remedy="give a number of pixels of at least 1")
        if self.connectivity not in (4, 8):
            raise OptionError(f"connectivity is {self.connectivity}", remedy="give 4 or 8")


@dataclass(frozen=True)
class Sureness:
    """What is told of how sure a class map is.

    Attributes:
        confidence: The probability of each label.
        sets: How many classes are in each label set.
    """

    confidence: bool = False
    sets: bool = False


class Maps:
    """The class maps of a Segmenter, and with `objects` what is in them."""

    def __init__(
        self,
        model: Segmenter,
        engine: Engine,
        *,
        overlays: bool,
        sureness: Sureness,
        objects: ObjectOptions | None,
    ) -> None:
        self.model, self.engine, self.overlays, self.sureness = model, engine, overlays, sureness
        self.options = objects
        self.threshold = set_threshold_of(model) if sureness.sets else None
        averaged = isinstance(engine, Averaged)
        self.calibrated = temperatures_of(model) is not None and not averaged
        names = [spec.name for spec in model.classes]
        for name in objects.skip if objects is not None else ():
            if name not in names:
                raise OptionError(f"no class {name!r}", remedy=close_matches(name, names))
        self.skip = {k for k, name in enumerate(names) if objects is not None and name in objects.skip}
        self.images: list[dict[str, Any]] = []
        self.rows: list[list[object]] = []

    def add(self, job: Job, image: Image) -> list[tuple[Path, bytes]]:
        """The pictures of one image and their paths."""
        model, files = self.model, []
        certainty = sets = None
        if self.sureness.sets:
            labels, certainty, sets = self.engine.with_sets(image)
        elif isinstance(self.engine, Averaged) and self.engine.uncertainty:
            opinion = self.engine.opinion(image)
            labels, certainty = opinion.labels, opinion.probabilities.max(axis=0)
            files.append((Path("uncertainty") / f"{job.name}.tif", _uncertainty_tiff(opinion)))
        elif self.sureness.confidence:
            labels, certainty = self.engine.with_confidence(image)
        else:
            labels = self.engine(image)
        pictures = [("labels", index_png(labels, model.classes))]
        if self.overlays:
            pictures.append(("overlay", png(overlay(display_rgb(image), labels, model.classes))))
        if certainty is not None and self.sureness.confidence:
            grey = np.round(certainty * 255).astype(np.uint8)
            pictures.append(("confidence", _grey_png(grey, calibrated=str(self.calibrated).lower())))
        if sets is not None:
            pictures.append(("sets", _grey_png(sets, threshold=f"{self.threshold:.6g}")))
        if self.options is not None:
            pictures.append(("objects", self._objects(job, image, labels, self.options)))
        return [*((Path(folder) / f"{job.name}.png", data) for folder, data in pictures), *files]

    def tables(self) -> dict[str, str]:
        """The files about all images."""
        if self.options is None:
            return {}
        document = {
            "skip": list(self.options.skip),
            "min_area": self.options.min_area,
            "connectivity": self.options.connectivity,
            "images": self.images,
        }
        head = ("image", "class", "top", "left", "bottom", "right", "area", "centroid_row", "centroid_column")
        return {
            "objects.json": json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n",
            "objects.csv": csv_text(head, self.rows),
        }

    def _objects(self, job: Job, image: Image, labels: Labels, options: ObjectOptions) -> bytes:
        """Note the objects of a class map and draw their boxes."""
        found = objects(labels, connectivity=options.connectivity, min_area=options.min_area, skip=self.skip)
        classes = self.model.classes
        self.images.append(
            {
                "image": job.label,
                "height": labels.shape[0],
                "width": labels.shape[1],
                "objects": [
                    {
                        "class": classes[one.class_index].name,
                        "box": list(one.box),
                        "area": one.area,
                        "centroid": [round(value, 3) for value in one.centroid],
                        "outline": one.geometry,
                    }
                    for one in found
                ],
            }
        )
        self.rows += [
            [
                job.label,
                classes[one.class_index].name,
                *one.box,
                one.area,
                *(f"{x:.3f}" for x in one.centroid),
            ]
            for one in found
        ]
        return png(framed(display_rgb(image), [(one.box, classes[one.class_index]) for one in found]))


def _grey_png(values: NDArray[np.uint8], **texts: str) -> bytes:
    """Grey values [H, W] as PNG, with texts that say what they are."""
    told = PIL.PngImagePlugin.PngInfo()
    for key, text in texts.items():
        told.add_text(key, text)
    stream = io.BytesIO()
    PIL.Image.fromarray(values).save(stream, "PNG", compress_level=1, pnginfo=told)
    return stream.getvalue()


def _uncertainty_tiff(opinion: Opinion) -> bytes:
    """Entropy and mutual information as two bands of float32."""
    stream = io.BytesIO()
    bands = np.stack([opinion.entropy, opinion.mutual_information])
    described = "entropy of the mean and mutual information between views, in nats"
    tifffile.imwrite(
        stream,
        bands,
        photometric="minisblack",
        planarconfig="separate",
        compression="zlib",
        description=described,
    )
    return stream.getvalue()
