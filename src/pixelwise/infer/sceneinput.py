"""Whether a model can map a scene, what is odd about it, and its windows as the model wants them."""

from __future__ import annotations

import numpy as np

from pixelwise.errors import DataError, OptionError
from pixelwise.geo.facts import RasterFacts
from pixelwise.geo.mosaic import MosaicReader
from pixelwise.geo.reader import RasterReader
from pixelwise.geo.resampling import ResampledReader
from pixelwise.infer.predictor import DTYPES
from pixelwise.infer.shift import ODD_PIXEL_SIZE
from pixelwise.infer.windows import Window
from pixelwise.models.bundle import facts_of
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.tiles import Box


class SceneReader:
    """Windows of a raster for a model; pixels without data are 0, as they are in training."""

    def __init__(
        self, raster: RasterReader | MosaicReader | ResampledReader, *, drop_alpha: bool = False
    ) -> None:
        self.raster, self.drop_alpha = raster, drop_alpha
        self.size = raster.size

    def read(self, box: Box) -> Window:
        """The pixels of a box, and where there is no data."""
        image, empty = self.raster.read(box, drop_alpha=self.drop_alpha)
        if image.dtype.kind == "f":
            image = image.astype(np.float32, copy=False)
        if empty is not None:
            image[empty] = 0
        return Window(image, empty)


def checked(model: Segmenter, facts: RasterFacts) -> bool:
    """Whether the last band is an alpha channel that the model does not take.

    Raises:
        DataError: another number of bands, or values of another type than those of training.
    """
    drop_alpha = facts.alpha and facts.bands == model.bands + 1
    if facts.bands != model.bands and not drop_alpha:
        raise DataError(
            f"the scene has {_count(facts.bands)}, the model takes {model.bands}",
            file=facts.name,
            remedy=f"give a scene with {_count(model.bands)} in the order of the training images, such as by "
            "gdal_translate -b 1 -b 2 -b 3 IN OUT.tif",
        )
    dtype = "float32" if facts.dtype == "float64" else facts.dtype
    trained = facts_of(model).dtype
    allowed = DTYPES if trained is None else (trained,)
    if dtype not in allowed:
        raise DataError(
            f"the scene is {facts.dtype}, the model takes {' or '.join(allowed)}",
            file=facts.name,
            remedy="convert the scene the way the training images were made",
        )
    return drop_alpha


def trained_pixel_size(model: Network) -> float | None:
    """Metres of a pixel of the training images, as the bundle says or as they looked when it was made."""
    facts = facts_of(model)
    if facts.pixel_size is not None:
        return facts.pixel_size
    return None if facts.fingerprint is None else facts.fingerprint.pixel_size


def wanted_pixel_size(model: Segmenter) -> float:
    """Metres of a pixel of the training images.

    Raises:
        OptionError: the model does not know it.
    """
    trained = trained_pixel_size(model)
    if trained is None:
        raise OptionError(
            "the model does not know how large a pixel of its training images was, so no scene can be resampled to it",
            remedy="leave out --resample, or train on GeoTIFFs that say where they lie",
        )
    return trained


def notes_on(model: Segmenter, facts: RasterFacts, before: RasterFacts | None = None) -> tuple[str, ...]:
    """What the user should know before the start; `before` is what the scene was if it is resampled."""
    notes = []
    place = facts.place
    if before is not None and before.size != facts.size:
        notes.append(
            f"resampled from pixels of {before.place.pixel_size or 0:.3g} m to {place.pixel_size or 0:.3g} m: "
            f"{facts.height} x {facts.width} of them, and so is the map"
        )
    if not place.known:
        notes.append("the scene says nowhere where it lies: its map has no place either")
    elif not place.crs:
        notes.append("the scene names no coordinate system: its map has none either")
    if facts.alpha and facts.bands > model.bands:
        notes.append("the last band is tagged as alpha: where it is 0 there is no data")
    trained = trained_pixel_size(model)
    if (
        trained
        and place.pixel_size
        and not 1 / ODD_PIXEL_SIZE <= place.pixel_size / trained <= ODD_PIXEL_SIZE
    ):
        notes.append(
            f"a pixel of the scene is {place.pixel_size:.3g} m, one of the training images {trained:.3g} m: "
            "add --resample, or expect things of the wrong size"
        )
    if facts.masked or facts.alpha or any(value is not None for value in facts.nodata):
        notes.append("where the scene holds no data, the map is 255")
    return tuple(notes)


def _count(bands: int) -> str:
    return "1 band" if bands == 1 else f"{bands} bands"
