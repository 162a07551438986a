"""Numbers in float images that are no measurements: NaN, infinity, and what stands for no data by custom."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.types import Image

_BLANKS = np.array([-9999, -99999, np.finfo(np.float32).min], np.float32)
_LABELLED = "where each pixel has a label, 255 there counts nowhere"


class Part(NamedTuple):
    """Where an image is part of a file: how to call it, row and column of its first pixel, and what remedy there is.

    `declares` is whether files of this kind can declare a value to be no data.
    """

    name: str = ""
    row: int = 0
    column: int = 0
    declares: bool = True


def refuse_numbers(image: Image, file: Path, part: Part = Part()) -> None:  # noqa: B008  it cannot change
    """Refuse NaN, infinity, -9999 and the like in a float image [H, W, C]; other types hold none.

    What the file declares to be no data must be 0 by then.

    Raises:
        DataError: there are such pixels, with their number, the first one and its value.
    """
    if image.dtype.kind != "f":
        return
    infinite = ~np.isfinite(image)
    if infinite.any():
        way = "or declare NaN as nodata (gdal_edit.py -a_nodata nan FILE), then they count nowhere"
        raise _error(
            image,
            infinite,
            file,
            part,
            code="image-number",
            found="{count} pixels are NaN or infinite ({first})",
            remedy="fill them with a number, for instance numpy.nan_to_num(image), and save the file again; "
            + (way if part.declares else _LABELLED),
        )
    blank = np.isin(image, _BLANKS)
    if blank.any():
        hidden = ", and the file does not declare it" if part.declares else ""
        declare = "declare it: gdal_edit.py -a_nodata {value:g} FILE; then these pixels count nowhere"
        raise _error(
            image,
            blank,
            file,
            part,
            code="image-blank",
            found="{count} pixels hold {value:g} ({first}), which stands for no data by custom" + hidden,
            remedy=declare if part.declares else f"write 0 there and save the file again; {_LABELLED}",
        )


def _error(
    image: Image, bad: NDArray[np.bool_], file: Path, part: Part, *, code: str, found: str, remedy: str
) -> DataError:
    wrong = bad.any(axis=2)
    row, column = np.argwhere(wrong)[0].tolist()
    value, count = float(image[row, column][bad[row, column]][0]), int(wrong.sum())
    row, column = row + part.row, column + part.column
    first = f"first at row {row}, column {column}"
    return DataError(
        part.name + found.format(count=count, value=value, first=first),
        file=file,
        code=code,
        value=value,
        count=count,
        position=(column, row),
        remedy=remedy.format(value=value),
    )
