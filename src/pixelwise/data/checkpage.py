"""Write the report of a check: check.html to look at, check.json to read by programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pixelwise import files
from pixelwise.data.checkreport import CheckReport
from pixelwise.data.dataset import files_of, measured, raw_mask
from pixelwise.data.leaks import LeakReport
from pixelwise.errors import DataError
from pixelwise.report.check import Shown, check_page
from pixelwise.report.pictures import display_rgb
from pixelwise.types import IGNORE


def write_check(report: CheckReport, folder: str | Path, leaks: LeakReport | None = None) -> Path:
    """Write check.html and check.json into `folder`, with the leaks if they were looked for, and return the page.

    Raises:
        OutputError: the folder cannot be written to.
    """
    folder = files.make_folder(folder)
    values = report.as_dict() | ({} if leaks is None else {"leaks": leaks.as_dict()})
    files.write_json(folder / "check.json", values)
    page = folder / "check.html"
    files.write_text(
        page, check_page(values, title=f"Check of {report.root.name}", shown=list(_shown(report)))
    )
    return page


def _shown(report: CheckReport) -> Iterator[Shown]:
    if report.table is None or report.task != "segment":
        return
    for item in report.samples:
        try:
            labels = report.table.to_labels(raw_mask(item), files_of(item)[-1])
            image, empty = measured(item)
            if empty is not None and empty.shape == labels.shape:
                labels[empty] = IGNORE
            yield Shown(item.name, display_rgb(image), labels)
        except DataError:
            continue  # a finding says what is wrong with it
