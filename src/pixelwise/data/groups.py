"""Which images belong together because they show one place, one film or one patient, and how that was found.

Images of one group are alike, so they say less than as many images of different groups: intervals take a group for
one finding, and a fair split keeps it in one part. The rule, in this order; the first that says something holds:

1. a CSV file (the one given, the one that says the splits, one in the dataset) with a column of names and a column
   called group, scene, sequence, video or patient (also `patient_id`, `patient_group`) that names every image;
2. windows of a scene: the scene; a scene of more than 16 windows falls into blocks of 4 x 4 windows;
3. map tiles named by x, y and zoom, or by zoom, x and y: blocks of 4 x 4 tiles of the finest zoom;
4. the folder of the image, if there are several (not in a dataset with a folder per class);
5. the file name: what stands before its last number, if that holds a number too. `0001TP_006690` is of the group
   0001TP, `Seq05VD_f00540` of Seq05VD, `tile3_part07` of tile3, `NORMAL2-IM-0386-0001` of NORMAL2-IM-0386. A number
   without another one before it only counts images: `img_001`, `07`, and `2011_000003`, where a year is no group.

GeoTIFF tiles that touch or overlap on the ground are of one scene, whatever their names say: what 4 and 5 found is put
together where tiles of two groups touch, and in place of the blocks of 3 come the scenes. What is left is a group of
its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pixelwise.data.dataset import Split
from pixelwise.data.items import Row, Window
from pixelwise.data.lists import stem_of
from pixelwise.data.pairing import fold
from pixelwise.data.read import read_header
from pixelwise.data.regroup import Joined
from pixelwise.data.sheets import NAMES, read_sheet
from pixelwise.errors import DataError, LayoutError
from pixelwise.geo.classmaps import Grid
from pixelwise.geo.footprints import extent, touching

SIDE = 4
"""Windows and map tiles are put together in blocks of SIDE x SIDE."""

_COLUMN = re.compile(r"(group|scene|sequence|video|patient)(_id|_group|_name)?")
_YEAR = re.compile(r"(19|20)\d\d")
_MAP_TILES = f"blocks of {SIDE} x {SIDE} map tiles, from the file names"
_TIFF = (".tif", ".tiff")
_ZOOMS = (10, 30)  # levels of map tiles on which a network can see something


@dataclass(frozen=True)
class Groups:
    """The group of each item, in the order of the split, and in one phrase how they were found.

    `places` has the middle of each image within its group, across and down in sides of an image; empty where it is not
    known.
    """

    names: tuple[str, ...]
    origin: str
    places: tuple[tuple[float, float], ...] = ()

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(set(self.names))


def find_groups(split: Split, *, table: str | Path | None = None, ground: bool = True) -> Groups:
    """The groups of the items of `split`, from `table` if a CSV file is given, and how they were found.

    Without `ground` nobody looks where GeoTIFFs lie.

    Raises:
        LayoutError: the given table has no column of groups, or does not name every image.
        UnreadableError: a CSV file cannot be read.
    """
    if table is not None:
        found = _from_table(Path(table), split)
        if found is None:
            raise LayoutError(
                f"does not say the group of every image of the {split.name} split",
                file=table,
                remedy=f"give it a column of names ({NAMES[0]}) and one called group, with a row for each image",
            )
        return _with_places(split, found) if ground else found
    near = sorted(split.root.glob("*.csv")) if split.root.is_dir() else []
    for file in [split.sheet, *near] if split.sheet else near:
        if (found := _from_table(file, split)) is not None:
            return _with_places(split, found) if ground else found
    if split.items and all(isinstance(item, Window) for item in split.items):
        return _from_windows([item for item in split.items if isinstance(item, Window)])
    named = _from_names(split)
    return _from_ground(split, named) if ground else named


def _from_names(split: Split) -> Groups:
    rules: list[tuple[Callable[[Sequence[str]], list[str]], str]] = [
        (_map_tiles, _MAP_TILES),
        (_shots, "what stands before the last number of the file names"),
    ]
    if split.task != "classify":  # there the folder is the answer
        rules.insert(1, (_folders, "the folders of the images"))
    names = [_stem(name) for name in split.names] if split.task == "classify" else list(split.names)
    for rule, origin in rules:
        groups = rule(names)
        if groups != names:
            pairs = zip(split.names, names, groups, strict=True)
            return Groups(tuple(full if group == name else group for full, name, group in pairs), origin)
    return _alone(split)


def _alone(split: Split) -> Groups:
    return Groups(split.names, "each image by itself")


def _from_table(path: Path, split: Split) -> Groups | None:
    """The groups that a CSV file tells; None if it has no such column or misses an image."""
    sheet = read_sheet(path)
    column = next((name for name in sheet.columns if _COLUMN.fullmatch(name.strip().lower())), None)
    if column is None or sheet.names is None:
        return None
    known: dict[str, set[str]] = {}
    for row in sheet.rows:
        entry, group = fold(stem_of(row[sheet.names])), row[column]
        if entry and group:
            for key in {entry, _stem(entry)}:
                known.setdefault(key, set()).add(group)
    found = [known.get(fold(name)) or known.get(fold(_stem(name))) or set() for name in split.names]
    if not found or any(len(groups) != 1 for groups in found):  # unknown, or one name with two meanings
        return None
    return Groups(tuple(group for groups in found for group in groups), f"{path.name}, column {column}")


def _from_windows(items: Sequence[Window]) -> Groups:
    counts = Counter(item.image for item in items)
    large = {file for file, count in counts.items() if count > SIDE * SIDE}
    height, width = (max(side) for side in zip(*((i.box.height, i.box.width) for i in items), strict=True))
    names, places = [], []
    for item in items:
        # The middle of a window: those at the borders are a little smaller than the others.
        across = (item.box.left + item.box.right) / 2 / width
        down = (item.box.top + item.box.bottom) / 2 / height
        block = f"/{int(down / SIDE)}-{int(across / SIDE)}" if item.image in large else ""
        names.append(f"{item.image.name}{block}")
        places.append((across, down))
    origin = f"blocks of {SIDE} x {SIDE} windows of the scenes" if large else "the scenes"
    return Groups(tuple(names), origin, tuple(places))


def _from_ground(split: Split, named: Groups) -> Groups:
    """The groups that names tell, put together where GeoTIFFs of two of them touch or overlap."""
    grids = _grids(split)
    scenes = touching(list(grids.values()))
    if len(set(scenes.tolist())) == len(grids):
        return named
    if named.origin == _MAP_TILES:  # blocks of them touch each other
        named = _alone(split)
    joined = Joined(len(split))
    joined.join_equal(named.names)
    origin = "GeoTIFF tiles that touch or overlap"
    origin += f", and {named.origin}" if named.count < len(split) else ""
    first: dict[int, int] = {}
    for number, scene in zip(grids, scenes.tolist(), strict=True):
        joined.join(first.setdefault(scene, number), number)
    names = tuple(named.names[joined.root(number)] for number in range(len(split)))
    return Groups(names, origin, _places(grids, names))


def _with_places(split: Split, told: Groups) -> Groups:
    return replace(told, places=_places(_grids(split), told.names))


def _grids(split: Split) -> dict[int, Grid]:
    """Where the images lie that are GeoTIFFs with a coordinate system, from their headers."""
    found = {}
    for number, item in enumerate(split.items):
        if isinstance(item, Row | Window) or item.image.suffix.lower() not in _TIFF:
            continue
        try:
            header = read_header(item.image)
        except DataError:
            continue  # whoever reads its pixels says what is wrong with it
        if header.place is not None and header.place.crs is not None:
            affine, crs = header.place.affine, str(header.place.crs)
            found[number] = Grid(header.height, header.width, affine, crs)
    return found


def _places(grids: Mapping[int, Grid], names: Sequence[str]) -> tuple[tuple[float, float], ...]:
    """The middle of each image within its group; empty where a group of several does not lie in one system."""
    places = np.zeros((len(names), 2))
    for members in members_of(names).values():
        if len(members) == 1:
            continue
        if (
            not all(number in grids for number in members)
            or len({grids[number].crs for number in members}) > 1
        ):
            return ()
        boxes = np.array([extent(grids[number]) for number in members])
        sides = np.median(boxes[:, 2:] - boxes[:, :2], axis=0)
        places[members] = (boxes[:, :2] + boxes[:, 2:]) / 2 / sides * [1, -1]
    return tuple((across, down) for across, down in places.tolist())


def members_of(names: Sequence[str]) -> dict[str, list[int]]:
    """The places of each name, in their order.

    >>> members_of(["a", "b", "a"])
    {'a': [0, 2], 'b': [1]}
    """
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(name, []).append(place)
    return found


def _map_tiles(names: Sequence[str]) -> list[str]:
    """Blocks of map tiles, if every name ends in x, y, zoom or zoom, x, y; else the names."""
    places = []
    for name in names:
        numbers = re.search(r"(\d+)\D(\d+)\D(\d+)$", name)
        if numbers is None:
            return list(names)
        places.append([int(number) for number in numbers.groups()])
    for zoom, x, y in ((2, 0, 1), (0, 1, 2)):
        tiles = [(place[zoom], place[x], place[y]) for place in places]
        if all(map(_is_tile, tiles)):
            levels = [level for level, _, _ in tiles]
            # Two levels up, a tile is 4 x 4 of these; and a coarse tile must lie within one block.
            block = min(max(levels) - (SIDE.bit_length() - 1), *levels)
            return [f"{block}/{x >> level - block}-{y >> level - block}" for level, x, y in tiles]
    return list(names)


def _is_tile(tile: tuple[int, int, int]) -> bool:
    """Whether zoom, x and y can be a tile; those of land stand far from the corner of the map, frames do not."""
    level, x, y = tile
    return _ZOOMS[0] <= level <= _ZOOMS[1] and all(2 ** (level - 8) <= place < 2**level for place in (x, y))


def _folders(names: Sequence[str]) -> list[str]:
    """Folder and place where there are several folders; else the names."""
    folders = [name.rpartition("/")[0] for name in names]
    if len(set(folders)) < 2:
        return list(names)
    return [
        place if (place := _place(name)) != name else folder or name
        for name, folder in zip(names, folders, strict=True)
    ]


def _shots(names: Sequence[str]) -> list[str]:
    return [_place(name) for name in names]


def _place(name: str) -> str:
    """What stands before the last number of a name, up to a number; the name itself if there is none.

    >>> [_place(name) for name in ("0001TP_006690", "NORMAL2-IM-0386-0001", "img_001", "2011_000003")]
    ['0001TP', 'NORMAL2-IM-0386', 'img_001', '2011_000003']
    """
    folder, slash, stem = name.rpartition("/")
    parts = re.split(r"([_\-. ]+)", stem)  # words at even places, what parts them between
    numbered = [place for place in range(0, len(parts), 2) if re.search(r"\d", parts[place])]
    if len(numbered) < 2:
        return name
    words = parts[: numbered[-2] + 1]
    if len(numbered) == 2 and _YEAR.fullmatch(words[-1]):
        return name
    return folder + slash + "".join(words)


def _stem(name: str) -> str:
    return name.rpartition("/")[2]
