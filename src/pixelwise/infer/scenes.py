"""Georeferenced rasters of any size to class maps in the same place, in bounded memory, and never from the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pixelwise.infer.engine import Engine
from pixelwise.infer.mapping import Mapping
from pixelwise.infer.sceneoptions import SceneOptions, SceneProgress, SceneResult
from pixelwise.models.segmenter import Segmenter

__all__ = ["SceneOptions", "SceneProgress", "SceneResult", "predict_scene"]


def predict_scene(
    model: Segmenter,
    source: str | Path,
    out: str | Path,
    *,
    options: SceneOptions | None = None,
    progress: Callable[[SceneProgress], None] | None = None,
    engine: Engine | None = None,
) -> SceneResult:
    """Map a GeoTIFF of any size to a Cloud-Optimized GeoTIFF of labels in the same place.

    The map has one band of uint8, 255 where the scene holds no data, a colour table, and the names of the classes
    and the digests of model and scene in its tags. It appears under its name when it is complete; until then
    finished tiles are kept in the folder `OUT.work`.

    Args:
        model: Runs on the device it is on.
        source: A local GeoTIFF, or with `allow_remote` the address of one.
        out: The file to write.
        options: Everything else.
        progress: Called before the start and after every tile.
        engine: Runs the network in place of the eager one, see `open_engine`; it is not asked where averages over
            the scene or probabilities for blending enter. Announced memory goes by its `footprint`.

    Raises:
        MissingExtraError: rasterio is not installed.
        UnreadableError: the scene is no GeoTIFF, or damaged; what is finished stays.
        DataError: other bands or values than the model takes, or the scene changed meanwhile.
        OptionError: tiles that cannot be exact, or unfinished work of something else.
        OutputError: the place is in use, full, read-only, or holds unfinished work.
    """
    with Mapping(model, source, Path(out), options or SceneOptions(), progress, engine) as mapping:
        if not mapping.finished:
            mapping.compute()
            mapping.finish()
        return mapping.result()
