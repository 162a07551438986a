"""Scenes labelled by polygons: DATA/scenes/*.tif with DATA/labels.gpkg, or DATA/labels/NAME.gpkg for each scene.

Each scene is cut into windows, and every window is an item like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassTable
from pixelwise.data.folders import split_word
from pixelwise.data.ground import choose_tile, refuse_overlaps, split_ground, windows
from pixelwise.data.items import Item, LabelRules, Window, in_order, natural_key
from pixelwise.data.labelrules import find_rules, values_of
from pixelwise.data.numbers import Part, refuse_numbers
from pixelwise.errors import DataError, LayoutError, UnreadableError
from pixelwise.geo.classmaps import Grid
from pixelwise.geo.scenes import SceneFacts, read_scene, scene_facts
from pixelwise.geo.vectorlabels import KINDS, PlacedPolygons, VectorFile, burn, place, read_vectors
from pixelwise.types import IGNORE, Image, Labels, SplitName

_SUFFIXES = (".tif", ".tiff")


@dataclass
class SceneWindows:
    """The windows by split, and what there is to say about them."""

    groups: dict[SplitName | None, tuple[Item, ...]]
    origin: str
    notes: list[str] = field(default_factory=list)
    problems: list[DataError] = field(default_factory=list)


@dataclass(frozen=True)
class _Scene:
    path: Path
    name: str
    split: SplitName | None
    labels: Path
    facts: SceneFacts


def has_scenes(root: Path) -> bool:
    """Whether a folder holds scenes with polygons."""
    return (root / "scenes").is_dir() and bool(_label_files(root))


def find_windows(root: Path, classes: str | Path | ClassTable | None) -> SceneWindows:
    """The windows of all scenes of a folder.

    Raises:
        LayoutError: no scene, a scene without labels, several label files for one, footprints in two splits.
        ClassesError: nothing says what the polygons mean.
        DataError: a scene or a file of polygons is unusable, or no polygon lies on any scene.
    """
    scenes = _scenes(root)
    said = find_rules(root, classes, scenes[0].labels)
    grids = [scene.facts.grid for scene in scenes]
    tile, count = choose_tile(grids, said.tile)
    found = SceneWindows({}, "")
    found.notes.append(f"{len(scenes)} scenes in {count} windows of about {tile} x {tile} pixels")
    found.notes += _polygon_notes(scenes, said.rules)
    if any(scene.split for scene in scenes):
        parts = [{scene.split: windows(scene.facts.grid, tile)} for scene in scenes if scene.split]
        found.origin = "folders below scenes/"
    else:
        parts, found.origin = split_ground(grids, tile)
        used = sum(len(boxes) for part in parts for boxes in part.values())
        if used < count:
            found.notes.append(
                f"left out {count - used} windows between the splits, so that no two of them touch"
            )
    refuse_overlaps([scene.path.name for scene in scenes], grids, parts, root)
    groups: dict[SplitName | None, list[Item]] = {}
    for scene, part in zip(scenes, parts, strict=True):
        for split, boxes in part.items():
            items = groups.setdefault(split, [])
            for box in boxes:
                name = f"{scene.name}/r{box.top:06d}_c{box.left:06d}"
                items.append(Window(scene.path, scene.labels, box, said.rules, name))
    found.groups = {split: in_order(items) for split, items in groups.items()}
    return found


def window_image(item: Window) -> tuple[Image, NDArray[np.bool_] | None]:
    """The image [h, w, C] of a window as stored, 0 where the scene holds no data; where that is [h, w], if anywhere.

    Raises:
        DataError: a float scene holds infinite values or -9999 that it does not declare to be no data.
    """
    image, empty = read_scene(item.image, item.box)
    refuse_numbers(image, item.image, Part(row=item.box.top, column=item.box.left))
    return image, empty if empty.any() else None


def window_labels(item: Window) -> Labels:
    """The labels [h, w] of a window; 255 where the scene holds no data."""
    state = item.labels.stat()
    facts = scene_facts(item.image)
    placed = _placed(item.labels, state.st_mtime_ns, state.st_size, item.rules, facts.grid)
    labels = burn(placed, item.box, item.rules.outside)
    labels[read_scene(item.image, item.box)[1]] = IGNORE
    return labels


def _scenes(root: Path) -> list[_Scene]:
    files = [file for file in (root / "scenes").rglob("*") if file.suffix.lower() in _SUFFIXES]
    files = sorted(
        (file for file in files if not file.name.startswith(".")), key=lambda f: natural_key(str(f))
    )
    if not files:
        raise LayoutError(
            "holds no GeoTIFF", file=root / "scenes", remedy="put the scenes there, as NAME.tif"
        )
    shared, single = _label_files(root).get("", []), _label_files(root)
    if len(shared) > 1 or (shared and len(single) > 1):
        names = ", ".join(path.relative_to(root).as_posix() for paths in single.values() for path in paths)
        remedy = "keep one labels.gpkg for all scenes, or one file for each in labels/"
        raise LayoutError(f"has several files of polygons: {names}", file=root, remedy=remedy)
    scenes = []
    for file in files:
        if not file.is_file():  # a named pipe would block for ever
            raise UnreadableError("not a regular file", file=file, remedy="remove it from the folder")
        inside = file.relative_to(root / "scenes")
        labels = shared or single.get(file.stem, [])
        if len(labels) != 1:
            found = "has several files of polygons" if labels else "has no file of polygons"
            remedy = f"put one labels/{file.stem}.gpkg there, or labels.gpkg for all scenes"
            raise LayoutError(found, file=file, remedy=remedy)
        split = split_word(inside.parts[0]) if len(inside.parts) > 1 else None
        parts = inside.parts[1:] if split else inside.parts
        name = Path(*parts).with_suffix("").as_posix()
        scenes.append(_Scene(file, name, split, labels[0], scene_facts(file)))
    _refuse_mixed(scenes)
    return scenes


def _refuse_mixed(scenes: Sequence[_Scene]) -> None:
    for scene in scenes:
        if scene.facts.grid.crs is None:
            remedy = "give it its coordinate system, for instance with gdal_edit -a_srs"
            raise DataError(
                "has no coordinate system, so polygons cannot be found on it", file=scene.path, remedy=remedy
            )
    inside = [scene for scene in scenes if scene.split]
    if inside and len(inside) < len(scenes):
        outside = next(scene for scene in scenes if not scene.split)
        remedy = "put all scenes into scenes/train, scenes/val and scenes/test, or none"
        raise LayoutError("lies outside the split folders", file=outside.path, remedy=remedy)


def _label_files(root: Path) -> dict[str, list[Path]]:
    """Files of polygons by the stem of their scene; the one for all scenes has none."""
    found: dict[str, list[Path]] = {}
    for suffix in KINDS:
        if (root / f"labels{suffix}").is_file():
            found.setdefault("", []).append(root / f"labels{suffix}")
    folder = root / "labels"
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.suffix.lower() in KINDS and not file.name.startswith(".") and file.is_file():
            found.setdefault(file.stem, []).append(file)
    return found


def _polygon_notes(scenes: Sequence[_Scene], rules: LabelRules) -> list[str]:
    """How many polygons lie on the scenes, and what was mended.

    Raises:
        DataError: a file of polygons for one scene lies elsewhere, or none lies on any scene.
    """
    notes = []
    for path in dict.fromkeys(scene.labels for scene in scenes):
        file = read_vectors(path, rules.column or None)
        values = values_of(file, rules)
        mine = [scene for scene in scenes if scene.labels == path]
        on = [len(place(file, values, scene.facts.grid).polygons) for scene in mine]
        if not any(on):
            names = ", ".join(scene.path.name for scene in mine[:5])
            remedy = "check the coordinate system of both: it must be the true one, and x must come before y"
            raise DataError(f"none of its {len(values)} polygons lies on {names}", file=path, remedy=remedy)
        note = f"{path.name}: {len(values)} polygons, of which {sum(on)} on the scenes"
        if file.mended:
            note += f"; mended {file.mended} invalid ones"
        if file.empty:
            note += f"; {file.empty} rows have no geometry"
        bare = [scene.path.name for scene, count in zip(mine, on, strict=True) if not count]
        if bare:
            note += f"; none on {', '.join(bare)}"
        notes.append(note)
    return notes


@lru_cache(maxsize=16)
def _placed(path: Path, _changed: int, _size: int, rules: LabelRules, grid: Grid) -> PlacedPolygons:
    file: VectorFile = read_vectors(path, rules.column or None)
    return place(file, values_of(file, rules), grid)
