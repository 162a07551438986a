"""Which image files are scenes, and small georeferenced images whose maps get their place too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.read import read_mask
from pixelwise.errors import OptionError, PixelwiseError
from pixelwise.files import write_bytes
from pixelwise.geo import raster
from pixelwise.geo.facts import RasterFacts
from pixelwise.geo.mosaic import MARK, read_list
from pixelwise.geo.reader import REMOTE, open_raster
from pixelwise.geo.writer import MapLayer, encoded_layer
from pixelwise.infer.jobs import Job, find_jobs
from pixelwise.ops.tiles import Box
from pixelwise.types import IGNORE, ClassSpec

LARGE = 2048**2  # pixels from which on a georeferenced TIFF is a scene
HUGE = 8192**2  # pixels from which on any TIFF is
SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Inputs:
    """Inputs told apart; every name is that of the results, without suffix.

    Attributes:
        scenes: Georeferenced TIFFs of more than 2048 x 2048 pixels, any TIFF of more than 8192 x 8192, and addresses.
        placed: Smaller georeferenced TIFFs; they are images too.
        images: All that is no scene.
    """

    scenes: tuple[tuple[str, Path], ...]
    placed: tuple[Job, ...]
    images: tuple[Path, ...]


def listed(inputs: Sequence[Path]) -> list[Path]:
    """Inputs with every `@FILE` replaced by what that text file lists, see `read_list`.

    Raises:
        UnreadableError: there is no such list, it is no text, or empty.
    """
    found: list[Path] = []
    for given in inputs:
        if str(given).startswith(MARK) and not given.exists():
            found += read_list(Path(str(given)[len(MARK) :]))
        else:
            found.append(given)
    return found


def mosaics(inputs: Sequence[Path]) -> Inputs:
    """Every `@FILE` as one scene, whose parts it lists.

    Raises:
        OptionError: something else among the inputs.
    """
    for given in inputs:
        if not str(given).startswith(MARK):
            raise OptionError(
                f"--mosaic, and {given} is no list", remedy="write the parts into a text file and give @FILE"
            )
    return Inputs(tuple((str(given), Path(Path(str(given)[len(MARK) :]).stem)) for given in inputs), (), ())


def told_apart(inputs: Sequence[Path], out: Path, *, resample: bool = False) -> Inputs:
    """Scenes and images among files, folders and addresses; to be resampled, all have to be scenes.

    Raises:
        MissingExtraError: something to be resampled, and rasterio is not installed.
        OptionError: an image that is no TIFF, to be resampled.
        UnreadableError, DataError, OutputError: see `find_jobs`.
    """
    if resample:
        raster.load_rasterio()
    remote = [path for path in inputs if REMOTE.match(str(path))]
    local = [path for path in inputs if path not in remote]
    scenes = [(str(path), Path(path.stem)) for path in remote]
    known: set[Path] = set()
    images: list[Path] = []
    for job in find_jobs(local, out) if local or not remote else ():
        facts = _facts(job.image)
        if resample and job.image.suffix.lower() not in SUFFIXES:
            raise OptionError(
                f"{job.image} does not say how large its pixels are, so it cannot be resampled",
                remedy="leave out --resample, or give georeferenced TIFFs",
            )
        if resample or (facts is not None and _is_scene(facts)):
            scenes.append((str(job.image), job.name))
            continue
        images.append(job.image)
        if facts is not None and facts.place.known:
            known.add(job.image)
    named = find_jobs(images, out) if known else ()  # without the scenes names may be shorter
    placed = tuple(job for job in named if job.image in known)
    return Inputs(tuple(scenes), placed, tuple(images))


def place_labels(job: Job, classes: Sequence[ClassSpec], png: Path) -> Path:
    """Write the labels of `png`, which are those of a small georeferenced image, as a GeoTIFF beside it."""
    labels = read_mask(png).values.astype(np.uint8)
    with open_raster(job.image) as reader:
        _, empty = reader.read(Box(0, 0, *reader.size))
        facts = reader.facts
    if empty is not None:
        labels[empty] = IGNORE
    path = png.with_suffix(".tif")
    write_bytes(path, encoded_layer(MapLayer(facts.size, facts.place, IGNORE, classes), labels))
    return path


def _is_scene(facts: RasterFacts) -> bool:
    pixels = facts.height * facts.width
    return pixels > HUGE or (pixels > LARGE and facts.place.known)


def _facts(path: Path) -> RasterFacts | None:
    """What the header of a GeoTIFF says; None for all that is none, which is then an image, or nothing."""
    if path.suffix.lower() not in SUFFIXES or not raster.available():
        return None
    try:
        with open_raster(path) as reader:
            return reader.facts
    except PixelwiseError:
        return None
