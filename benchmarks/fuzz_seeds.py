"""Small sound files of every kind that pixelwise reads, for the fuzzer, and what reads them."""

from __future__ import annotations

import io
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from pixelwise.geo.classmaps import ArrayMap, Grid

Seed = tuple[str, bytes]  # suffix and content
TEXTS = ("classes", "config", "splits", "lists", "recipe", "patch", "sample")
READERS = (
    "image", "mask", "classes", "arrays", "folder", "raster", "vectors", "config", "bundle", "weights", "splits",
    "lists", "recipe", "patch", "sample",
)  # fmt: skip
_GEOJSON = {
    "type": "FeatureCollection",
    "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
    "features": [
        {
            "type": "Feature",
            "properties": {"kind": "roof", "n": 3},
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]], [[2, 2], [4, 2], [4, 4], [2, 2]]],
            },
        },
        {
            "type": "Feature",
            "properties": {"kind": None},
            "geometry": {"type": "MultiPolygon", "coordinates": [[[[20, 0], [30, 0], [30, 9], [20, 0]]]]},
        },
    ],
}
_YAML = {
    "classes": (
        "- {name: ground, color: '#102030'}\n- {name: roof, color: '#c0392b'}\n",
        "{classes: [a, b], ignore: [11, '#000000'], values: {0: a, 255: b}, palette: colors}\n",
        "classes: [a]\ncolumn: kind\noutside: ignore\n",
    ),
    "config": (
        "model: unet\nencoder: resnet18\nepochs: 3\nsize: [32, 64]\nbatch: 4\nseed: 1\n",
        "optim: {lr: 1e-3, weight_decay: 0.01}\nloss: {smoothing: 0.1}\naugment: {flip: false}\nminutes: 2\n",
    ),
    "recipe": (
        "version: 1\nsteps:\n- {do: drop, files: [a.png], why: b}\n- {do: rename, files: [a], to: b}\n",
        "version: 1\nsteps:\n- {do: snap, enabled: false, files: [a], classes: [0, 100], within: 25}\n"
        "- {do: to_index, files: [a], colors: {'#ff0000': 1}}\n- {do: fill_specks, files: [a], of: [0], up_to: 3}\n"
        "- {do: map_values, files: [a], values: {255: 1}}\n",
    ),
    "splits": ("name,split,group\na,train,x\nb,val,y\n\"c,d\",test,z\n", "stem,fold\n1,tr\n2,\n"),
    "lists": ("images/a.png masks/a.png\nb\n", "a b c.png\n\nd.1.5\n"),
    "sample": ("x,y,reference\n0.5,0.5,ground\n1.5,0.5,1\n", "map,reference\nground,roof\n0,1\n"),
}  # fmt: skip


def seeds(what: str) -> list[Seed]:
    """Small sound files with their suffixes."""
    if what in _YAML:
        suffix = {"splits": ".csv", "sample": ".csv", "lists": ".txt"}.get(what, ".yaml")
        found = [(suffix, text.encode()) for text in _YAML[what]]
        return (
            [*found, (".txt", b"# label:color_rgb:parts:actions\nroof:255,0,0::\n")]
            if what == "classes"
            else found
        )
    if what in ("image", "mask", "folder"):
        return _pictures(what == "mask")
    made: dict[str, Callable[[], list[Seed]]] = {
        "arrays": _arrays, "raster": _rasters, "vectors": _vectors, "bundle": _bundles, "weights": _weights,
        "patch": _patches,
    }  # fmt: skip
    return made[what]()


def reader(what: str) -> Callable[[Path], Any]:
    """What reads the file at a path."""
    from pixelwise import config
    from pixelwise.data.arrays import load_arrays
    from pixelwise.data.check import check_dataset
    from pixelwise.data.classfile import read_classes
    from pixelwise.data.fixrecipe import read_recipe
    from pixelwise.data.lists import read_lists
    from pixelwise.data.read import read_image, read_mask
    from pixelwise.data.splits import table_split

    if what == "folder":
        return lambda path: check_dataset(path.parent.parent, workers=1)
    if what == "raster":
        return _read_raster
    if what == "vectors":
        from pixelwise.geo.vectorlabels import read_vectors

        return lambda path: read_vectors(path, "kind")
    if what == "config":
        from pixelwise.training.options import TrainOptions

        return lambda path: config.fill(TrainOptions(), config.read_yaml(path))
    if what == "bundle":
        from pixelwise.models.bundle import load_network

        return load_network
    if what == "weights":
        from pixelwise.models.encoderfiles import read_encoder_weights

        return read_encoder_weights
    if what == "patch":
        from pixelwise.review.patch import read_patch

        return read_patch
    if what == "sample":
        from pixelwise.geo.samples import read_sample

        return lambda path: read_sample(
            path, ArrayMap(np.zeros((3, 3), np.uint8), Grid(3, 3)), ["ground", "roof"]
        )
    simple: dict[str, Callable[[Path], Any]] = {
        "image": read_image, "mask": read_mask, "classes": read_classes, "arrays": load_arrays,
        "splits": lambda path: table_split(path, path.parent), "recipe": read_recipe,
        "lists": lambda path: read_lists(path.parent),
    }  # fmt: skip
    return simple[what]


def _pictures(labels: bool) -> list[Seed]:
    array: Any = _labels() if labels else _pixels()
    found = []
    for form, suffix in (("PNG", ".png"), ("TIFF", ".tif"), ("BMP", ".bmp"), ("GIF", ".gif"), ("WEBP", ".webp"),
                         ("JPEG", ".jpg")):  # fmt: skip
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, form, **({"lossless": True} if form == "WEBP" else {}))
        found.append((suffix, stream.getvalue()))
    stream = io.BytesIO()
    palette = Image.fromarray(_labels()).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 200])
    palette.save(stream, "PNG")
    found.append((".png", stream.getvalue()))
    for options in ({"compression": "deflate"}, {"tile": (16, 16), "compression": "lzw"}, {"bigtiff": True}):
        stream = io.BytesIO()
        tifffile.imwrite(stream, array, **options)  # type: ignore[arg-type]
        found.append((".tif", stream.getvalue()))
    return found


def _labels() -> Any:
    return np.repeat(np.random.default_rng(0).integers(0, 3, (12, 16), dtype=np.uint8), 2, axis=1)


def _pixels() -> Any:
    return np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def _arrays() -> list[Seed]:
    stream = io.BytesIO()
    labels = _labels()[None, :, :1].repeat(32, 2).repeat(2, 1)
    np.savez_compressed(stream, images=_pixels()[None], labels=labels)
    return [(".npz", stream.getvalue())]


def _rasters() -> list[Seed]:
    import rasterio
    from rasterio.transform import from_origin

    found = []
    for options in ({}, {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
                    {"compress": "lzw", "nodata": 0}, {"BIGTIFF": "YES", "interleave": "pixel"}):  # fmt: skip
        with rasterio.MemoryFile() as memory:
            with memory.open(driver="GTiff", width=40, height=24, count=3, dtype="uint8", crs="EPSG:32633",
                             transform=from_origin(300000, 5000000, 0.5, 0.5), **options) as target:  # fmt: skip
                target.write(np.random.default_rng(2).integers(0, 9, (3, 24, 40), dtype=np.uint8))
            found.append((".tif", memory.read()))
    return found


def _read_raster(path: Path) -> None:
    from pixelwise.geo.reader import open_raster
    from pixelwise.ops.tiles import Box

    with open_raster(path) as raster:
        height, width = raster.facts.height, raster.facts.width
        raster.read(Box(0, 0, min(height, 64), min(width, 64)))


def _vectors() -> list[Seed]:
    import pyogrio
    import shapely

    found = [(".geojson", json.dumps(_GEOJSON).encode())]
    shapes = np.array([shapely.box(0, 0, 9, 9), shapely.box(20, 0, 30, 9)])
    for suffix, driver in ((".gpkg", "GPKG"), (".fgb", "FlatGeobuf")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a{suffix}"
            pyogrio.raw.write(
                path, shapely.to_wkb(shapes), [np.array(["roof", "road"], object)], ["kind"], driver=driver,
                geometry_type="Polygon", crs="EPSG:32633",
            )  # fmt: skip
            found.append((suffix, path.read_bytes()))
    return [*found, (".parquet", _parquet(shapely.to_wkb(shapes)))]


def _parquet(shapes: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    geo = {"version": "1.0.0", "primary_column": "geometry",
           "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None}}}  # fmt: skip
    table = pa.table({"geometry": list(shapes), "kind": ["roof", "road"]})
    stream = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo).encode()}), stream)
    return stream.getvalue()


def _network() -> Any:
    from pixelwise.models.interfaces import NetworkOptions
    from pixelwise.models.zoo import build

    return build("unet", encoder="unet", options=NetworkOptions(encoder_width=0.0625))


def _bundles() -> list[Seed]:
    from pixelwise.models.bundle import save

    with tempfile.TemporaryDirectory() as folder:
        return [(".safetensors", save(_network(), Path(folder) / "a.safetensors").read_bytes())]


def _weights() -> list[Seed]:
    import torch

    stream = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(4, 3, 3, 3), "bn1.bias": torch.ones(4)}, stream)
    return [*_bundles(), (".pth", stream.getvalue())]


def _patches() -> list[Seed]:
    region = {"rank": 1, "image": "a", "box": [0, 0, 2, 2], "runs": [1, 2, 1], "given": "ground",
              "suggested": "roof", "score": 1.5, "accept": True}  # fmt: skip
    patch = {"version": 1, "dataset": "d", "classes": ["ground", "roof"], "regions": [region]}
    return [(".json", json.dumps(patch).encode())]


def signed_anew(data: bytes, rng: random.Random, hostile: tuple[bytes, ...]) -> bytes:
    """A bundle with one field of its document changed and a digest that fits."""
    import safetensors.torch

    from pixelwise.models.bundle import KEY, _digest

    size = int.from_bytes(data[:8], "little")
    body = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][KEY])
    tensors = safetensors.torch.load(data)
    place = body
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.2:
            break
        place = inner
    text = rng.choice(hostile).decode("utf-8", "replace")
    place[key] = rng.choice((None, -1, 0, 1e308, 10**30, True, "", text, [], {}, [[]], {"a": 1}, inner))
    if rng.random() < 0.2:
        tensors.pop(rng.choice(list(tensors)))
    body["sha256"] = _digest({k: v for k, v in body.items() if k != "sha256"}, tensors)
    return bytes(safetensors.torch.save(tensors, {KEY: json.dumps(body)}))
