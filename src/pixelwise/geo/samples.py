"""Samples of checked places: which class the map has there, and which was found."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ClassesError, DataError, UnreadableError, close_matches
from pixelwise.geo.classmaps import ClassMap
from pixelwise.geo.inputs import regular_file
from pixelwise.geo.rings import shapely_of
from pixelwise.geo.vectorlabels import KINDS, MAX_BYTES, through_gdal
from pixelwise.types import IGNORE

_MOST_BYTES = 100_000_000
_COLUMNS = "columns x, y, reference (in the coordinates of the map), or map, reference"


@dataclass(frozen=True, eq=False)
class Checked:
    """Counts of checked places [K, K], rows the class in the map, columns the class found; and those left out."""

    counts: NDArray[np.int64]
    left_out: int = 0  # places without a class in the map


def read_sample(path: str | Path, source: ClassMap, names: Sequence[str]) -> Checked:
    """Read checked places from a CSV file with columns x, y, reference or map, reference, or from a GeoPackage.

    Classes are names or indices. x and y are coordinates of the map; column and row where it has none. A GeoPackage
    holds points with a column `reference`; they are brought to the coordinate system of the map.

    Raises:
        UnreadableError: no such file, or no CSV.
        DataError: columns are missing, a place is no number or outside the map, there is no row, or one without a
            reference: to leave out places that are hard to tell would bias the estimate.
        ClassesError: a class is unknown.
    """
    path = Path(path)
    rows, columns = _points_in(path, source) if path.suffix.lower() == ".gpkg" else _rows(path)
    if "reference" not in columns or not ({"x", "y"} <= columns or "map" in columns):
        found = f"has the columns {', '.join(sorted(columns)) or 'none'}"
        raise DataError(found, file=path, remedy=f"a sample has the {_COLUMNS}")
    if not rows:
        raise DataError("holds no row", file=path, remedy="add the checked places, one per line")
    blank = sum(not row["reference"].strip() for row in rows)
    if blank:
        remedy = "look at all of them, also at those that are hard to tell: places left out bias the estimate"
        raise DataError(f"{blank} of {len(rows)} places have no reference", file=path, remedy=remedy)
    indices = {name: index for index, name in enumerate(names)}
    true = np.array([_index(row["reference"], indices, path, line) for line, row in enumerate(rows, 2)])
    if "map" in columns:
        mapped = np.array([_index(row["map"], indices, path, line) for line, row in enumerate(rows, 2)])
    else:
        mapped = _looked_up(_points(rows, path), source, path)
    known = mapped != IGNORE
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (mapped[known], true[known]), 1)
    return Checked(counts, int((~known).sum()))


def read_scores(path: str | Path, names: Sequence[str]) -> Checked:
    """The confusion matrix of a scores.json as if its pixels were checked places.

    Raises:
        UnreadableError: no such file, or no scores.json.
        ClassesError: its classes are not those of the map.
    """
    path = Path(path)
    try:
        document = json.loads(_text(path))
        confusion = np.array(document["confusion"], np.int64)
        classes = [entry["name"] for entry in document["classes"]]
        if confusion.shape != (len(classes), len(classes)):
            raise ValueError(f"{len(classes)} classes and a matrix of {confusion.shape}")
    except (ValueError, KeyError, TypeError) as error:
        remedy = "give the scores.json of `pixelwise evaluate`"
        raise UnreadableError(f"is no scores.json ({error})", file=path, remedy=remedy) from error
    if classes != list(names):
        found = f"its classes are {', '.join(classes)}; those of the map are {', '.join(names)}"
        raise ClassesError(found, file=path, remedy="give the scores of the model that made the map")
    return Checked(confusion.T)  # there rows are the truth


def _rows(path: Path) -> tuple[list[dict[str, str]], set[str]]:
    try:
        reader = csv.DictReader(_text(path).splitlines())
        rows = [{(key or "").strip().lower(): value or "" for key, value in row.items()} for row in reader]
        return rows, {name.strip().lower() for name in reader.fieldnames or ()}
    except (csv.Error, AttributeError, TypeError) as error:
        raise UnreadableError(
            f"cannot be read as CSV ({error})", file=path, remedy="save it as UTF-8 CSV"
        ) from error


def _points_in(path: Path, source: ClassMap) -> tuple[list[dict[str, str]], set[str]]:
    """The points of a GeoPackage as rows of a table, in the coordinates of the map."""
    import pyproj

    path = regular_file(path, {".gpkg": KINDS[".gpkg"]}, most_bytes=MAX_BYTES)
    geometries, crs, columns, values = through_gdal(path, "reference")
    shapely = shapely_of()
    if (shapely.get_type_id(geometries) != 0).any() or shapely.is_empty(geometries).any():
        raise DataError(
            "holds other geometries than points", file=path, remedy=f"a sample has the {_COLUMNS}"
        )
    if crs is None or source.grid.crs is None:
        raise DataError("it or the map has no coordinate system", file=path, remedy="give the places as CSV")
    transformer = pyproj.Transformer.from_crs(crs, source.grid.crs, always_xy=True)
    x, y = transformer.transform(shapely.get_x(geometries), shapely.get_y(geometries))
    texts = ["" if value is None or value != value else str(value) for value in values] or [""] * len(x)
    rows = [
        {"x": repr(east), "y": repr(north), "reference": text}
        for east, north, text in zip(x.tolist(), y.tolist(), texts, strict=True)
    ]
    return rows, {"x", "y", *columns}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UnreadableError("is too large", file=path, remedy=f"at most {_MOST_BYTES:,} bytes are read")
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UnreadableError(f"cannot be read: {reason}", file=path, remedy="check the path") from error


def _index(text: str, indices: Mapping[str, int], path: Path, line: int) -> int:
    """The index of a class given by name or number; empty or 255 is none in the map."""
    text = text.strip()
    if text in indices:
        return indices[text]
    if text.isdecimal() and int(text) < len(indices):
        return int(text)
    remedy = close_matches(text, indices)
    raise ClassesError(f"line {line}: {text!r} is no class", file=path, remedy=remedy)


def _points(rows: list[dict[str, str]], path: Path) -> NDArray[np.float64]:
    points = np.zeros((len(rows), 2))
    for line, row in enumerate(rows):
        try:
            points[line] = float(row["x"]), float(row["y"])
        except (ValueError, TypeError) as error:
            found = f"line {line + 2}: x and y are {row['x']!r} and {row['y']!r}"
            raise DataError(found, file=path, remedy="write two numbers, with a decimal point") from error
    return points


def _looked_up(points: NDArray[np.float64], source: ClassMap, path: Path) -> NDArray[np.int64]:
    """The class of the map at each point."""
    pixels = np.floor(source.grid.to_pixels(points))
    height, width = source.grid.height, source.grid.width
    inside = (pixels >= 0).all(axis=1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
    if not inside.all():
        line = int(np.flatnonzero(~inside)[0])
        found = f"line {line + 2}: {points[line, 0]:g}, {points[line, 1]:g} lies outside the map"
        if not inside.any():
            found += ", as do all other places"
        raise DataError(found, file=path, remedy="give x and y in the coordinate system of the map")
    columns, rows = pixels.astype(np.int64).T
    classes = np.zeros(len(points), np.int64)
    top = 0
    for labels in source.strips():
        here = (rows >= top) & (rows < top + len(labels))
        classes[here] = labels[rows[here] - top, columns[here]]
        top += len(labels)
    return classes
