"""`vectorize` and `areas`: class maps to polygons and to hectares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.terms import Json, emit

if TYPE_CHECKING:
    from pixelwise.data.classes import ClassTable

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


def _table(classes: Path | None) -> ClassTable | None:
    from pixelwise.data.classfile import read_classes

    return None if classes is None else read_classes(classes)


def _print_table(heads: tuple[str, ...], rows: list[Any]) -> None:
    """Names to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
    for row in [heads, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]))
