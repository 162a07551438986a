"""`models` and `describe`: what can be built, and what is in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.terms import Json, emit, parse_size
from pixelwise.errors import OptionError, close_matches

if TYPE_CHECKING:
    from pixelwise.models.catalogue import Row
    from pixelwise.models.network import Network
    from pixelwise.models.trace import Description
    from pixelwise.report.diagram import Diagram

COLUMNS = ("name", "parameters", "madds", "field", "halo", "from")
ANY_OF_TIMM = ("timm:NAME", "", "", "", "", "PyTorch Image Models. Wightman, 2019; needs the extra `timm`.")
TASK_RESULTS = {"segment": "classes", "classify": "classes", "reconstruct": "image", "localize": "class, box"}


def models(json: Json = False) -> None:
    """List the networks that can be built: their size, cost and reach at 512 x 512, and the papers they come from."""
    from pixelwise.models.catalogue import catalogue
    from pixelwise.models.zoo import entries

    rows = []
    with Bar("networks") as bar:
        for row in catalogue():
            rows.append(row)
            bar(len(rows), len(entries()))
    if json:
        emit([row.as_dict() for row in rows])
        return
    for kind, title in (("model", "models"), ("encoder", "encoders, each on its own")):
        listed = [_cells(row) for row in rows if row.entry.kind == kind]
        _print_table(title, listed if kind == "model" else [*listed, ANY_OF_TIMM])
    print(
        "Parameters in millions; multiply-adds (madds) in billions for an image of 512 x 512, three bands and two\n"
        "classes. Field: the image pixels that a value depends on, along an axis. Halo: those before and after a\n"
        "tile, cut at multiples of the stride, that it depends on. Any encoder goes with any model that can join\n"
        "its maps, and so does any convolutional network of timm, as timm:NAME:\n\n"
        "  pixelwise train DATA -o RUN --model unet --encoder resnet34\n"
        "  pixelwise describe deeplabv3plus --encoder xception --diagram network.svg"
    )


def describe(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Bundle, run folder, or a name such as unet.", show_default=False
        ),
    ],
    encoder: Annotated[str, typer.Option(help="With the name of a model: which encoder.")] = "auto",
    classes: Annotated[int, typer.Option(help="With a name: number of classes.")] = 6,
    bands: Annotated[int, typer.Option(help="With a name: bands of the images.")] = 3,
    size: Annotated[
        str | None,
        typer.Option(
            help="Image size: 512 or 360x480; 512 unless the network has its own.", show_default=False
        ),
    ] = None,
    diagram: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw the network into an SVG file.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Per layer: output size, parameters, multiply-adds and receptive field."""
    from pixelwise.models.catalogue import sketched_encoder
    from pixelwise.models.trace import SIZE
    from pixelwise.models.trace import describe as trace

    wanted = parse_size(size)
    if wanted is not None and min(wanted) < 1:
        raise OptionError(f"--size {size!r}", remedy="give a positive height and width")
    network = _network(model, encoder, classes, bands)
    if network is None:
        facts = sketched_encoder(model, bands=bands, size=wanted or SIZE)
    else:
        facts = trace(network, size=wanted or getattr(network.options, "size", None) or SIZE)
    if diagram is not None:
        _draw(diagram, _diagram(network, model, bands, facts))
    if json:
        emit(facts.as_dict())
        return
    counts = f"{len(network.classes)} classes, {network.bands} bands" if network else f"{bands} bands"
    print(f"{_title(network, model)}, {counts}, image {facts.size[0]} x {facts.size[1]}\n")
    _print_rows(facts)
    print(
        f"\n{facts.parameters:,} parameters, {facts.multiply_adds / 1e9:.2f} billion multiply-adds{_reach(facts)}"
    )


def _network(model: str, encoder: str, classes: int, bands: int) -> Network | None:
    """The network that is meant; None for the name of an encoder alone."""
    from pixelwise.models.bundle import load_network
    from pixelwise.models.catalogue import sketched
    from pixelwise.models.zoo import DECODERS, ENCODERS

    if model in DECODERS:
        return sketched(model, encoder=encoder, classes=classes, bands=bands)
    if model in ENCODERS or model.startswith("timm:"):
        return None
    if Path(model).exists() or Path(model).suffix or "/" in model:
        return load_network(model)
    raise OptionError(
        f"no model or encoder is called {model!r}, and no file is there",
        remedy=close_matches(model, {**DECODERS, **ENCODERS}),
    )


def _title(network: Network | None, model: str) -> str:
    return f"encoder {model}" if network is None else f"{network.name} on {network.encoder_name}"


def _reach(facts: Description) -> str:
    """What a tile depends on, as the end of a sentence."""
    if facts.halo is None:
        return f"; every output depends on the whole image: {facts.whole}"
    windows = f", {facts.windows} windows" if facts.windows else ""
    return (
        f"{windows}; a tile cut at multiples of the stride sees {facts.halo[0]} pixels before and {facts.halo[1]} "
        "after itself, per axis"
    )


def _print_rows(facts: Description) -> None:
    wide = max([38, *(len(row.name) for row in facts.rows)])
    print(
        f"{'layer':<{wide}} {'kind':<18} {'output':>16} {'parameters':>11} {'million madds':>14} {'field':>6}"
    )
    for row in facts.rows:
        output = " x ".join(map(str, row.output))
        madds = f"{row.multiply_adds / 1e6:.1f}" if row.multiply_adds else ""
        parameters = f"{row.parameters:,}" if row.parameters else ""
        field = "global" if row.field is None else row.field
        print(f"{row.name:<{wide}} {row.kind:<18} {output:>16} {parameters:>11} {madds:>14} {field:>6}")


def _cells(row: Row) -> tuple[str, ...]:
    facts = row.facts
    on = f" on {row.encoder}" if row.entry.kind == "model" else ""
    return (
        row.entry.name + on,
        f"{facts.parameters / 1e6:.{2 if facts.parameters > 100_000 else 4}f}",
        f"{facts.multiply_adds / 1e9:.2f}",
        "global" if facts.field is None else str(facts.field),
        "global" if facts.halo is None else f"{facts.halo[0]}, {facts.halo[1]}",
        row.entry.paper,
    )


def _print_table(title: str, rows: Sequence[tuple[str, ...]]) -> None:
    """A drawn table on a terminal, whose last column ends where the terminal does; else one line per row."""
    wide = [max(len(row[place]) for row in [COLUMNS, *rows]) for place in range(len(COLUMNS))]
    print(title)
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table

        console = Console(markup=False, highlight=False)
        left = max(12, console.width - sum(wide[:-1]) - 3 * len(COLUMNS) - 1)  # and the space between
        table = Table(box=box.SIMPLE_HEAD, header_style="bold")
        for column in COLUMNS:
            table.add_column(column, justify="left" if column in ("name", "from") else "right", no_wrap=True)
        for row in rows:
            last = row[-1] if len(row[-1]) <= left else f"{row[-1][: left - 1]}…"
            table.add_row(*row[:-1], last)
        console.print(table)
        return
    for row in [COLUMNS, *rows]:
        middle = "  ".join(f"{cell:>{size}}" for cell, size in zip(row[1:-1], wide[1:-1], strict=True))
        print(f"  {row[0]:<{wide[0]}}  {middle}  {row[-1]}")
    print()


def _draw(path: Path, diagram: Diagram) -> None:
    from pixelwise.files import write_text
    from pixelwise.report.diagram import network_svg

    write_text(path, network_svg(diagram))


def _diagram(network: Network | None, model: str, bands: int, facts: Description) -> Diagram:
    """The stages of a network as what `report` draws."""
    from pixelwise.report.diagram import Arrow, Block, Diagram

    blocks = tuple(
        Block(
            part=stage.part,
            channels=stage.output[0],
            height=stage.output[1],
            width=stage.output[2],
            stride="" if stage.stride is None else f"stride {stage.stride}",
            note=f"{stage.convolutions} conv" if stage.convolutions else "",
            arrows=tuple(Arrow(link.stage, link.join) for link in stage.links),
        )
        for stage in facts.stages
    )
    size = f"at {facts.size[0]} × {facts.size[1]}"
    if facts.halo is None:
        seen = f"every output depends on the whole image: {facts.whole}"
    else:
        before, after = facts.halo
        seen = f"receptive field {facts.field} pixels; halo of a tile {before} before and {after} after it"
    windows = f"{facts.windows:,} windows · " if facts.windows else ""
    cost = f"{facts.parameters:,} parameters · {facts.multiply_adds / 1e9:.2f} billion multiply-adds {size}"
    result, ending = _result(network, facts)
    return Diagram(
        title=_title(network, model),
        facts=(windows + cost, seen),
        image=(network.bands if network else bands, *facts.shown),
        source="window" if facts.windows else "image",
        result=result,
        ending=ending,
        blocks=blocks,
    )


def _result(network: Network | None, facts: Description) -> tuple[tuple[int, int, int] | None, str]:
    """What comes out at the end, and how."""
    if network is None:
        return None, ""
    channels, height, width = facts.rows[-1].output
    ending = TASK_RESULTS[network.task]
    if network.task == "localize":
        return (channels + len(network.classes), height, width), ending
    if facts.windows:
        return (channels, 1, 1), ending
    factor = 1 if facts.stride is None else facts.stride
    if factor > 1:
        ending = f"resized × {factor}"
    return (channels, int(height * factor), int(width * factor)), ending
