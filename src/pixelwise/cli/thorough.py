"""What `evaluate --thorough` adds to the report: sections that need no training and cost seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.bars import Bar

if TYPE_CHECKING:
    from pixelwise.data.dataset import Dataset, Split
    from pixelwise.evaluation.report import Context
    from pixelwise.models.segmenter import Segmenter

Thorough = Annotated[
    bool,
    typer.Option(
        "--thorough",
        help="Also: mirrored views and label sets, the shift alarm, leaks between splits, what to label next.",
    ),
]

CHOSEN = 4
"""Images to label next that are shown."""


def thorough(context: Context, network: Segmenter, dataset: Dataset, split: Split, out: Path) -> Context:
    """The context of a report with the further sections."""
    from pixelwise.evaluation.thorough import files_of, look_closer

    with Bar("images, looked at twice") as bar:
        sections, pictures = look_closer(network, dataset, split, out, progress=bar)
    if files := files_of(split):
        sections["next"], pictures["next"] = _next(network, files, out)
    return replace(context, more=sections, pictures=pictures)


def _next(network: Segmenter, files: list[Path], out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from pixelwise.data.read import read_image
    from pixelwise.infer.jobs import find_jobs
    from pixelwise.report.pictures import data_uri, display_rgb, heat
    from pixelwise.review.choice import choose, entropy_of

    with Bar("images to label next") as bar:
        chosen = choose(network, find_jobs(files, out), min(CHOSEN, len(files)), progress=bar)
    shown = []
    for one in chosen.choices[:2]:
        image = read_image(one.image)
        pictures = [
            ("image", data_uri(display_rgb(image), photo=True)),
            ("how unsure", data_uri(heat(entropy_of(network, image)), photo=True)),
        ]
        shown.append({"name": one.name, "shown": pictures})
    values = chosen.as_dict()
    names = [row | {"name": one.name} for row, one in zip(values["choices"], chosen.choices, strict=True)]
    return {**values, "choices": names}, shown
