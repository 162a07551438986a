"""Tables as text: CSV that spreadsheets read and do not run, and aligned columns for a terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""A table as CSV with a line of column names; texts that begin like a formula get a quote in front.

    >>> csv_text(["image", "area"], [["=1+1", 3]])
    "image,area\n'=1+1,3\n"
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in ([*head], *rows):
        writer.writerow([_cell(value) if isinstance(value, str) else value for value in row])
    return stream.getvalue()


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines with aligned columns, names to the left and numbers to the right.

    >>> aligned(("class", "IoU"), [("road", "0.750"), ("house", "1.000")])
    ['class    IoU', 'road   0.750', 'house  1.000']
    """
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    lines = []
    for name, *numbers in table:
        cells = (cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *cells]).rstrip())
    return lines


def number(value: float) -> str:
    """A score with three digits, `-` where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def _cell(text: str) -> str:
    # Spreadsheets run a cell that begins like a formula.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
