"""`vectorize` and `areas`: class maps to polygons and to hectares."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.terms import Json, emit
from pixelwise.errors import OptionError

if TYPE_CHECKING:
    from pixelwise.data.classes import ClassTable
    from pixelwise.geo.areas import AdjustedAreas, ClassAreas
    from pixelwise.geo.classmaps import ClassMap

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
    from pixelwise.geo.polygons import PolygonOptions, Tally, polygon_parts
    from pixelwise.geo.vectorfiles import check_suffix, write_polygons

    check_suffix(out)
    table = _table(classes)
    source = open_class_map(labels, table)
    options = PolygonOptions(simplify, min_area, tuple(skip or ()))
    tally = Tally()
    parts = polygon_parts(source, options, names=table.names if table is not None else ())
    first = next(parts)
    write_polygons(tally.of(itertools.chain((first,), parts)), out)
    unit, by_class = (
        first.unit,
        [(name, *tally.classes[name]) for name in first.names if name in tally.classes],
    )
    if json:
        rows = [{"name": name, "polygons": count, f"area_{unit}": area} for name, count, area in by_class]
        dropped = {"polygons": tally.dropped[0], f"area_{unit}": tally.dropped[1]}
        emit({"written": str(out), "areas": first.method, "classes": rows, "dropped": dropped})
        return
    heads = ("class", "polygons", "hectares" if unit == "m2" else "pixels")
    scale = 1e-4 if unit == "m2" else 1.0
    _print_table(heads, [(name, str(n), f"{a * scale:.4f}") for name, n, a in by_class])
    if tally.dropped[0]:
        print(f"left out {tally.dropped[0]} polygons below {min_area:g}: {tally.dropped[1]:.1f} {unit}")
    print(f"{first.method}\n{tally.count} polygons in {out}")


def areas(
    labels: LabelMap,
    sample: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Checked places, drawn at random within each mapped class: a .gpkg or .csv of --plan with its "
            "references, or a .csv of map, reference.",
            show_default=False,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="A scores.json instead; gives no interval.", show_default=False
        ),
    ] = None,
    plan: Annotated[
        int | None,
        typer.Option(metavar="N", help="Draw N places to look at, for --sample.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="With --plan: NAME.gpkg or .csv to write.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="With --plan: of the draw.")] = 0,
    classes: Names = None,
    json: Json = False,
) -> None:
    """Say how much ground each class covers; with a sample also what is true, with its 95 % interval."""
    from pixelwise.data.classmaps import open_class_map
    from pixelwise.geo.areas import class_areas, error_adjusted
    from pixelwise.geo.samples import read_sample, read_scores

    given = [
        name
        for name, value in (("--plan", plan), ("--sample", sample), ("--scores", scores))
        if value is not None
    ]
    if len(given) > 1:
        raise OptionError(f"{' and '.join(given)} are both given", remedy="give one of them")
    if (plan is None) != (out is None):
        raise OptionError("--plan and -o go together", remedy="such as --plan 200 -o places.gpkg")
    table = _table(classes)
    source = open_class_map(labels, table)
    found = class_areas(source, table.names if table is not None else ())
    if plan is not None and out is not None:
        _plan(source, found, plan, out, seed, json)
        return
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


def _plan(source: ClassMap, found: ClassAreas, places: int, out: Path, seed: int, json: bool) -> None:
    """Draw the places of a sample and write them."""
    from pixelwise.geo.sampleplan import plan_sample, write_plan

    drawn = plan_sample(source, found, places, seed=seed)
    write_plan(drawn, out)
    counts = dict(zip(drawn.names, drawn.counts.tolist(), strict=True))
    if json:
        emit({"written": str(out), "places": len(drawn.points), "seed": seed, "classes": counts})
        return
    _print_table(("mapped as", "places"), [(name, str(count)) for name, count in counts.items() if count])
    print(
        f"{len(drawn.points)} places in {out}, in random order; write the class found at each into `reference` "
        f"({', '.join(drawn.names)}), then: pixelwise areas LABELS --sample {out.name}"
    )


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
