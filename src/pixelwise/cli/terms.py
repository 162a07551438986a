"""Options that several commands share, and the one way to print a machine-readable answer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.errors import OptionError

if TYPE_CHECKING:
    from pixelwise.data.assign import SplitChoice
    from pixelwise.data.dataset import Dataset, Split

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images and masks.", show_default=False)]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Bundle file or run folder.", show_default=False)
]
Classes = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Stands in for a classes.yaml in DATA.", show_default=False),
]
Splits = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:COLUMN]|blocks",
        help="Which image belongs to train, val and test: a CSV file with a column of names and one of splits, or "
        "a run's config.yaml; `blocks` cuts the images in name order, for series whose neighbours are alike.",
        show_default=False,
    ),
]
SplitName = Annotated[str | None, typer.Option(help="train, val or test; test if there is one, else val.")]
Weights = Annotated[
    str | None,
    typer.Option(metavar="FILE|RUN|hub:NAME", help="Begin with these weights in the encoder."),
]
Size = Annotated[str | None, typer.Option("--size", "--imgsz", help="Crops: 256 or 360x480.")]
Batch = Annotated[int | None, typer.Option(help="Images per step.")]
RunSeed = Annotated[int | None, typer.Option(help="Of everything random.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]
Place = Annotated[
    str, typer.Option("--device", help="Where it computes: auto (a CUDA card if there is one), cpu or cuda.")
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Options from a recipe or a run's config.yaml.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Any option of training, such as optim.lr=1e-3."),
]
Decoder = Annotated[str | None, typer.Option(help="Decoder; `pixelwise models` lists them.")]
Encoder = Annotated[
    str | None,
    typer.Option(help="Encoder; resnet18 unless the model needs another; `pixelwise models` lists them."),
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def emit(value: Any) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def spell(*words: object, options: Mapping[str, object] | None = None) -> str:
    """A command to go on with, quoted for the shell; options that are None are left out.

    >>> spell("check", "my data", options={"--classes": None, "--splits": "blocks"})
    "pixelwise check 'my data' --splits blocks"
    """
    given = [part for pair in (options or {}).items() if pair[1] is not None for part in pair]
    return shlex.join(["pixelwise", *map(str, [*words, *given])])


def refuse_folder(out: Path, example: str) -> None:
    """Refuse a folder where a command writes one file, of which `example` is a name.

    Raises:
        OptionError: `out` is a folder.
    """
    if out.is_dir():
        raise OptionError(f"{out} is a folder", remedy=f"give the name of a new file: -o {example}")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`256` or `360x480` (rows x columns).

    >>> parse_size("360x480"), parse_size("256")
    ((360, 480), (256, 256))
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise OptionError(f"--size {text!r}", remedy="write --size 256 or --size 360x480 (rows x columns)")
    return int(parts[0]), int(parts[-1])


def open_data(
    path: Path,
    classes: Path | None,
    splits: str | None,
    *,
    seed: int = 0,
    stored: dict[str, list[str]] | None = None,
    labelled: bool = True,
) -> Dataset:
    """Open DATA with the given split, or with the one a model was trained with if DATA holds its images.

    Without `labelled` only the images are opened, wherever they lie.
    """
    from pixelwise.data.dataset import open_dataset
    from pixelwise.data.views import open_images

    def opened(split: SplitChoice) -> Dataset:
        if labelled:
            return open_dataset(path, classes=classes, split=split, seed=seed)
        return open_images(path, split=split, seed=seed)

    dataset = opened(splits)
    if splits is not None or not stored:
        return dataset
    if dataset.split_names() == stored:
        return dataset
    there = {name for names in dataset.split_names().values() for name in names}
    if not there.issuperset(name for names in stored.values() for name in names):
        return dataset  # another dataset: its own split
    return opened(stored)


def chosen_split(dataset: Dataset, name: str | None) -> Split:
    """The split called `name`; by default test, or val where test is empty.

    Raises:
        OptionError: there is no such split.
    """
    if name is None:
        return dataset.test if len(dataset.test) else dataset.val
    for split in dataset.splits:
        if split.name == name:
            return split
    raise OptionError(f"--split {name!r}", remedy="give train, val or test")
