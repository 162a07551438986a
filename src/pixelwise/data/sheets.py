"""CSV files that say something of each image: which split or group it belongs to."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from pixelwise.errors import UnreadableError

NAMES = ("name", "stem", "image", "file", "filename", "path")
"""What a column of image names may be called, in order of preference."""


class Sheet(NamedTuple):
    """The columns of a CSV file in order, and its rows; a cell that a short row lacks is empty."""

    columns: list[str]
    rows: list[dict[str, str]]

    @property
    def names(self) -> str | None:
        """The column of image names, in capitals or not; None if there is none."""
        found = {column.strip().lower(): column for column in reversed(self.columns)}
        return next((found[name] for name in NAMES if name in found), None)


def read_sheet(path: Path) -> Sheet:
    """Read a CSV file with a line of column names.

    Raises:
        UnreadableError: it cannot be read, or is no text in UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="")
            rows = list(reader)
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(
            f"cannot be read as CSV ({error})", file=path, remedy="save it as UTF-8 CSV"
        ) from error
    return Sheet(columns, [{name: row[name].strip() for name in columns} for row in rows])
