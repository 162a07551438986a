"""`models` and `describe`: what can be built, and what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.terms import Json, emit, parse_size


def models(json: Json = False) -> None:
    """List the networks that can be built, and the papers they come from."""
    from pixelwise.models.zoo import entries

    rows = entries()
    if json:
        emit([row.__dict__ for row in rows])
        return
    for row in rows:
        print(f"{row.kind:<8}  {row.name:<12}  {row.paper}")
    print("\nAny encoder goes with any model: pixelwise train DATA -o RUN --model unet --encoder resnet34")


def describe(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Bundle, run folder, or a name such as unet.")
    ],
    encoder: Annotated[str, typer.Option(help="With a name: which encoder.")] = "resnet18",
    classes: Annotated[int, typer.Option(help="With a name: number of classes.")] = 6,
    bands: Annotated[int, typer.Option(help="With a name: bands of the images.")] = 3,
    size: Annotated[str, typer.Option(help="Image size: 512 or 360x480.")] = "512",
    json: Json = False,
) -> None:
    """Per layer: output size, parameters, multiply-adds and receptive field."""
    from pixelwise.models.bundle import load
    from pixelwise.models.trace import describe as trace
    from pixelwise.models.zoo import DECODERS, build

    known = model in DECODERS or not Path(model).exists()
    network = build(model, encoder=encoder, classes=classes, bands=bands) if known else load(model)
    facts = trace(network, size=parse_size(size) or (512, 512))
    if json:
        emit(facts.as_dict())
        return
    print(
        f"{network.name} on {network.encoder_name}, {len(network.classes)} classes, {network.bands} bands, "
        f"image {facts.size[0]} x {facts.size[1]}\n"
    )
    print(f"{'layer':<38} {'kind':<18} {'output':>16} {'parameters':>11} {'million madds':>14} {'field':>6}")
    for row in facts.rows:
        output = " x ".join(map(str, row.output))
        madds = f"{row.multiply_adds / 1e6:.1f}" if row.multiply_adds else ""
        parameters = f"{row.parameters:,}" if row.parameters else ""
        print(f"{row.name:<38} {row.kind:<18} {output:>16} {parameters:>11} {madds:>14} {row.field:>6}")
    print(
        f"\n{facts.parameters:,} parameters, {facts.multiply_adds / 1e9:.2f} billion multiply-adds; "
        f"a tile cut at multiples "
        f"of the stride sees {facts.halo[0]} pixels before and {facts.halo[1]} after itself, per axis"
    )
