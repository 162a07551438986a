"""`vectorize` and `areas`: class maps to polygons and to hectares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.terms import Json, emit
from pixelwise.errors import OptionError

if TYPE_CHECKING:
    from pixelwise.data.classes import ClassTable
    from pixelwise.geo.areas import AdjustedAreas, ClassAreas

LabelMap = Annotated[
    Path,
    typer.Argument(metavar="LABELS", help="Class map: GeoTIFF, or PNG without place.", show_default=False),
]
Names = Annotated[
    Path | None,
    typer.Option("--classes", metavar="FILE", help="classes.yaml of the map.", show_default=False),
]


def vectorize(
    labels: LabelMap,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="File to write: NAME.gpkg, .geojson, .fgb or .parquet.",
            show_default=False,
        ),
    ],
    simplify: Annotated[
        float, typer.Option(metavar="PIXELS", help="Straighten shared borders; 1.5 takes out the steps.")
    ] = 0.0,
    min_area: Annotated[
        float,
        typer.Option(metavar="M2", help="Leave out smaller polygons (pixels, if the map has no place)."),
    ] = 0.0,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="A class without polygons; may be repeated.")
    ] = None,
    classes: Names = None,
    json: Json = False,
) -> None:
    """Write the polygons of a class map, with class and area, for a GIS."""
    from pixelwise.data.classmaps import open_class_map
    from pixelwise.geo.polygons import PolygonOptions, polygonize
    from pixelwise.geo.vectorfiles import check_suffix, write_polygons

    check_suffix(out)
    table = _table(classes)
    source = open_class_map(labels, table)
    options = PolygonOptions(simplify, min_area, tuple(skip or ()))
    found = polygonize(source, options, names=table.names if table is not None else ())
    write_polygons(found, out)
    if json:
        rows = [
            {"name": name, "polygons": count, f"area_{found.unit}": area}
            for name, (count, area) in found.by_class().items()
        ]
        dropped = {"polygons": found.dropped[0], f"area_{found.unit}": found.dropped[1]}
        emit({"written": str(out), "areas": found.method, "classes": rows, "dropped": dropped})
        return
    heads = ("class", "polygons", "hectares" if found.unit == "m2" else "pixels")
    scale = 1e-4 if found.unit == "m2" else 1.0
    _print_table(heads, [(name, str(n), f"{a * scale:.4f}") for name, (n, a) in found.by_class().items()])
    if found.dropped[0]:
        print(f"left out {found.dropped[0]} polygons below {min_area:g}: {found.dropped[1]:.1f} {found.unit}")
    print(f"{found.method}\n{len(found)} polygons in {out}")


def areas(
    labels: LabelMap,
    sample: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Checked places, drawn at random within each mapped class: x, y, reference or map, reference.",
            show_default=False,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="A scores.json instead; gives no interval.", show_default=False
        ),
    ] = None,
    classes: Names = None,
    json: Json = False,
) -> None:
    """Say how much ground each class covers; with a sample also what is true, with its 95 % interval."""
    from pixelwise.data.classmaps import open_class_map
    from pixelwise.geo.areas import class_areas, error_adjusted
    from pixelwise.geo.samples import read_sample, read_scores

    if sample is not None and scores is not None:
        raise OptionError("--sample and --scores are both given", remedy="give one of them")
    table = _table(classes)
    source = open_class_map(labels, table)
    found = class_areas(source, table.names if table is not None else ())
    notes = [found.method]
    adjusted = None
    if sample is not None:
        checked = read_sample(sample, source, found.names)
        adjusted = error_adjusted(checked.counts, found.areas, found.names)
        notes.append(f"estimated from {checked.counts.sum()} places, as Olofsson et al. 2014 advise")
        if checked.left_out:
            notes.append(f"left out {checked.left_out} places where the map has no class")
    elif scores is not None:
        adjusted = error_adjusted(read_scores(scores, found.names).counts, found.areas, found.names)
        notes.append(_NO_SAMPLE)
    rows = _area_rows(found, adjusted, intervals=sample is not None)
    if json:
        answer: dict[str, Any] = {"unit": found.unit, "classes": rows, "notes": notes}
        if adjusted is not None:
            answer["overall_accuracy"] = adjusted.overall[0]
        if sample is not None and adjusted is not None:
            answer["overall_accuracy_error"] = adjusted.overall[1]
        emit(answer)
        return
    _print_areas(rows, found.unit)
    print("\n".join(notes))


_NO_SAMPLE = (
    "warning: the pixels of scores.json are not places drawn at random from this map; the estimate shifts areas by "
    "the errors found there and has no interval"
)


def _area_rows(found: ClassAreas, adjusted: AdjustedAreas | None, *, intervals: bool) -> list[dict[str, Any]]:
    """One row of plain values per class; what is not defined is None."""
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(found.names):
        row: dict[str, Any] = {
            "name": name,
            "pixels": int(found.pixels[index]),
            "area": float(found.areas[index]),
            "share": float(found.areas[index] / found.areas.sum()),
        }
        if adjusted is not None:
            row["estimate"] = float(adjusted.areas[index])
            row["users_accuracy"] = _plain(adjusted.users[index])
            row["producers_accuracy"] = _plain(adjusted.producers[index])
        if adjusted is not None and intervals:
            row["interval"] = adjusted.intervals[index].tolist()
            row["standard_error"] = float(adjusted.errors[index])
            row["users_error"] = _plain(adjusted.users_errors[index])
            row["producers_error"] = _plain(adjusted.producers_errors[index])
        rows.append(row)
    return rows


def _plain(value: float) -> float | None:
    return None if value != value else float(value)


def _print_areas(rows: list[dict[str, Any]], unit: str) -> None:
    scale, name, digits = (1e-4, "hectares", 4) if unit == "m2" else (1.0, "pixels", 0)
    heads = ["class", name, "share"]
    if "estimate" in rows[0]:
        heads.append("estimated")
    if "interval" in rows[0]:
        heads.append("95 % interval")
    lines = []
    for row in rows:
        line = [row["name"], f"{row['area'] * scale:.{digits}f}", f"{row['share']:.2%}"]
        if "estimate" in row:
            line.append(f"{row['estimate'] * scale:.{digits}f}")
        if "interval" in row:
            line.append(" to ".join(f"{end * scale:.{digits}f}" for end in row["interval"]))
        lines.append(tuple(line))
    _print_table(tuple(heads), lines)


def _table(classes: Path | None) -> ClassTable | None:
    from pixelwise.data.classfile import read_classes

    return None if classes is None else read_classes(classes)


def _print_table(heads: tuple[str, ...], rows: list[Any]) -> None:
    """Names to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
    for row in [heads, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]))
