"""Tables as CSV text that spreadsheets read and do not run."""

from __future__ import annotations

import csv
import io
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


def _cell(text: str) -> str:
    # Spreadsheets run a cell that begins like a formula.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
