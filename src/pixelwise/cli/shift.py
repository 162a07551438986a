"""The shift alarm of `predict`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pixelwise.models.network import Network

ShiftCheck = Annotated[
    bool,
    typer.Option(
        "--shift-check/--no-shift-check",
        help="Look at some inputs first and warn where they are unlike the training images.",
    ),
]


def warn_of_shift(
    network: Network, inputs: Sequence[Path], out: Path, *, wanted: bool, resample: bool = False
) -> dict[str, Any]:
    """Print warnings on standard error; the same as plain values, empty where nothing was asked for."""
    if not wanted:
        return {}
    from pixelwise.infer.shiftcheck import check_inputs

    found = check_inputs(network, inputs, out, resample=resample)
    for line in found.warnings():
        print(f"warning: {line}", file=sys.stderr)
    return {"shift": found.as_dict()}
