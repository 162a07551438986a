"""Writing the generated aerial town to a folder, as georeferenced tiles and one large scene."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.sample.plan import Town, plan_town
from pixelwise.data.sample.render import draw_weather, render
from pixelwise.errors import OptionError, OutputError
from pixelwise.files import locked, write_bytes, write_text
from pixelwise.geo import raster
from pixelwise.types import SPLITS, ClassSpec, Labels
from pixelwise.types import Image as Picture

CLASSES = (
    ClassSpec("background", "#d8d3b0"),
    ClassSpec("building", "#c8442e"),
    ClassSpec("road", "#6b6e76"),
    ClassSpec("tree", "#2f7d3b"),
    ClassSpec("water", "#2f7fd1"),
    ClassSpec("soil", "#b9791f"),
)
CRS = "EPSG:32631"
_ACROSS = 4  # a town is a square of this many tiles, the last one of a split may be cut short
_SCENE = 3  # stands beside the numbers 0, 1, 2 of the splits
_BLOCK = 512  # the scene is rendered in blocks, so memory stays small

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Job:
    """The pictures of one town, made by one process: `count` tiles, or one scene."""

    folder: Path
    seed: int
    part: int  # 0 train, 1 val, 2 test, 3 the scene
    town: int
    count: int
    size: int
    geo: bool


def write_sample(
    folder: str | Path,
    *,
    seed: int = 0,
    tiles: tuple[int, int, int] = (96, 16, 24),
    size: int = 512,
    scene: int = 4096,
    progress: Progress | None = None,
    workers: int = 1,
) -> Path:
    """Write a generated aerial town with exact labels, and return its folder.

    `images/{train,val,test}` and `masks/{train,val,test}` hold tiles [size, size, 3] and their labels, as
    GeoTIFF where rasterio is installed and else as PNG with a world file; beside them `classes.yaml`, and in
    `scene/` one large picture with its labels. Every split and the scene show towns of their own. The same
    arguments give the same bytes, whatever `workers` is, and a tile does not depend on those before it.

    Args:
        folder: a new folder, or one without `images`, `masks` and `scene` in it.
        seed: 0 or more.
        tiles: how many for train, val and test.
        size: edge of a tile in pixels, 64 or more.
        scene: edge of the scene in pixels, 64 or more; 0 writes none.
        progress: called with (pictures done, pictures in all) from time to time.
        workers: processes. More than 1 needs a main module that can be imported, as for any process pool.

    Raises:
        OptionError: a number is out of range.
        OutputError: the folder holds a dataset already, is in use, or cannot be written.
    """
    _check_options(seed, tiles, size, scene, workers)
    folder = Path(folder)
    for name in ("images", "masks", "scene"):
        if (folder / name).exists():
            remedy = "choose another folder, or remove that one first"
            raise OutputError(f"holds {name}/ already", file=folder, remedy=remedy)
    with locked(folder):
        jobs = list(_jobs(folder, seed, tiles, size, scene))
        if workers == 1:
            finished: Iterator[int] = map(_run, jobs)
            _report(finished, jobs, progress)
        else:
            # Spawned rather than forked: the caller may run threads (torch does), and a fork may hang.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, mp_context=context) as pool:
                futures = [pool.submit(_run, job) for job in jobs]
                _report((future.result() for future in as_completed(futures)), jobs, progress)
        write_text(folder / "classes.yaml", _classes_yaml())
    return folder


def _check_options(seed: int, tiles: tuple[int, int, int], size: int, scene: int, workers: int) -> None:
    if len(tiles) != len(SPLITS) or min(tiles) < 0:
        found = f"tiles is {tiles}; it takes one count, 0 or more, for each of {', '.join(SPLITS)}"
        raise OptionError(found, remedy="tiles=(96, 16, 24)")
    for name, value, least in (("seed", seed, 0), ("size", size, 64), ("workers", workers, 1)):
        if value < least:
            raise OptionError(f"{name} is {value}, the least is {least}", remedy=f"{name}={least}")
    if scene != 0 and scene < 64:
        raise OptionError(f"scene is {scene}; it is 64 or more, or 0 for none", remedy="scene=0")


def _jobs(folder: Path, seed: int, tiles: tuple[int, int, int], size: int, scene: int) -> Iterator[_Job]:
    geo = raster.available()  # asked once, so that all processes agree
    if scene:
        yield _Job(folder, seed, _SCENE, 0, 1, scene, geo)
    for part, total in enumerate(tiles):
        for town, start in enumerate(range(0, total, _ACROSS**2)):
            yield _Job(folder, seed, part, town, min(_ACROSS**2, total - start), size, geo)


def _report(finished: Iterator[int], jobs: list[_Job], progress: Progress | None) -> None:
    done, total = 0, sum(job.count for job in jobs)
    for count in finished:
        done += count
        if progress is not None:
            progress(done, total)


def _run(job: _Job) -> int:
    """Write the pictures of one town and return how many."""
    town = sample_town(job.seed, job.part, job.town, job.size)
    if job.part == _SCENE:
        picture, labels = _scene(town, job.seed, job.size)
        _save(job.folder / "scene" / "scene", picture, town, job, column=0, row=0)
        _save(job.folder / "scene" / "labels", labels, town, job, column=0, row=0)
        return 1
    for place in range(job.count):
        row, column = divmod(place, _ACROSS)
        # The weather hangs on seed, town and place alone: any tile can be made on its own.
        weather = draw_weather(np.random.default_rng((job.seed, job.part, job.town, 1 + place)))
        left, top = column * job.size, row * job.size
        picture, labels = render(town, weather, left=left, top=top, width=job.size, height=job.size)
        name = f"{SPLITS[job.part]}_{job.town * _ACROSS**2 + place:03d}"
        _save(job.folder / "images" / SPLITS[job.part] / name, picture, town, job, column=column, row=row)
        _save(job.folder / "masks" / SPLITS[job.part] / name, labels, town, job, column=column, row=row)
    return job.count


@lru_cache(maxsize=1)
def sample_town(seed: int, part: int, town: int, size: int) -> Town:
    """The plan of one town of the sample: `part` 0 train, 1 val, 2 test, 3 the scene."""
    edge = size if part == _SCENE else size * _ACROSS
    return plan_town(np.random.default_rng((seed, part, town, 0)), edge, edge)


def _scene(town: Town, seed: int, size: int) -> tuple[Picture, Labels]:
    weather = draw_weather(np.random.default_rng((seed, _SCENE, 0, 1)))
    weather = replace(weather, haze=min(weather.haze, 0.06))
    picture, labels = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    for top in range(0, size, _BLOCK):
        for left in range(0, size, _BLOCK):
            height, width = min(_BLOCK, size - top), min(_BLOCK, size - left)
            block = slice(top, top + height), slice(left, left + width)
            picture[block], labels[block] = render(
                town, weather, left=left, top=top, width=width, height=height
            )
    return picture, labels


def _save(stem: Path, array: Picture, town: Town, job: _Job, *, column: int, row: int) -> None:
    """Write a picture [H, W, 3] or labels [H, W] where the tile lies on the ground."""
    extent = town.width * town.pixel_size
    # Towns lie side by side on the map, a row of them for each split, and never touch.
    west = 400_000.0 + job.town * (extent + 1000)
    north = 5_000_000.0 - job.part * 20_000
    step = job.size * town.pixel_size
    x, y = west + column * step, north - row * step
    palette = {i: spec.rgb for i, spec in enumerate(CLASSES)} if array.ndim == 2 else None
    if job.geo:
        path = stem.with_suffix(".tif")
        raster.write_geotiff(path, array, origin=(x, y), pixel_size=town.pixel_size, crs=CRS, palette=palette)
        return
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette([value for color in palette.values() for value in color])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    write_bytes(stem.with_suffix(".png"), buffer.getvalue())
    half = town.pixel_size / 2
    lines = (town.pixel_size, 0.0, 0.0, -town.pixel_size, x + half, y - half)
    write_text(stem.with_suffix(".pgw"), "".join(f"{value:.6f}\n" for value in lines))


def _classes_yaml() -> str:
    return "".join(f'- {{name: {spec.name}, color: "{spec.color}"}}\n' for spec in CLASSES)
