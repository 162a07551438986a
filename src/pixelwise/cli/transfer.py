"""`weights`, `advise` and `forgetting`: learning from what other networks have learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.bars import Bar
from pixelwise.cli.terms import Classes, Data, Json, Seed, SplitName, Splits, chosen_split, emit, open_data

weights = typer.Typer(
    help="Encoder weights: published ones, and converted ones.", no_args_is_help=True, rich_markup_mode=None
)


@weights.command("list")
def list_weights(json: Json = False) -> None:
    """List the published weights that `--encoder-weights hub:NAME` fetches, and their licences."""
    from pixelwise.models.download import cache_folder
    from pixelwise.models.published import PUBLISHED, TERMS

    if json:
        emit([{"name": name} | entry.as_dict() for name, entry in PUBLISHED.items()])
        return
    for name, entry in PUBLISHED.items():
        print(f"hub:{name:<10}  {entry.megabytes:>4} MB  {entry.licence:<26}  {entry.url}")
    print(f"\nAll {TERMS}.\nKept in {cache_folder() / 'weights'}; nothing is fetched unless it is named.")


@weights.command("convert")
def convert(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="MobileNet v1 of TensorFlow.js.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE.safetensors", help="To write.", show_default=False)
    ],
    json: Json = False,
) -> None:
    """Turn a MobileNet v1 in TensorFlow.js format into a file for `--encoder-weights`."""
    from pixelwise.errors import OptionError
    from pixelwise.models.encoderfiles import save_encoder_weights
    from pixelwise.models.tfjs import convert_tfjs_mobilenet

    if out.suffix != ".safetensors":
        raise OptionError(f"-o {out}", remedy="give a name that ends with .safetensors")
    converted = convert_tfjs_mobilenet(folder)
    save_encoder_weights(out, converted)
    if json:
        emit(
            {
                "file": str(out),
                "encoder": converted.encoder,
                "tensors": len(converted.tensors),
                "licence": converted.licence,
                "notes": list(converted.notes),
            }
        )
        return
    print(f"weights  {out}\nencoder  {converted.encoder}, {len(converted.tensors)} tensors")
    print(f"licence  {converted.licence}")
    for note in converted.notes:
        print(f"note     {note}")
    print(f"next     pixelwise train DATA -o RUN --encoder {converted.encoder} --encoder-weights {out}")


def advise(
    data: Data,
    encoder_weights: Annotated[
        str, typer.Option(metavar="FILE|RUN|hub:NAME", help="The weights to judge.", show_default=False)
    ],
    encoder: Annotated[
        str | None, typer.Option(help="Whose weights they are, if the file does not say.")
    ] = None,
    classes: Classes = None,
    splits: Splits = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Say how to train on DATA with these weights: measured size and similarity, and the command to run."""
    import sys

    from pixelwise.training.advisor import advise as judge

    dataset = open_data(data, classes, splits, seed=seed)
    opened = {"--classes": classes, "--splits": splits}
    more = [word for name, value in opened.items() if value is not None for word in (name, str(value))]
    advice = judge(
        dataset,
        encoder_weights,
        encoder=encoder,
        seed=seed,
        say=lambda text: print(text, file=sys.stderr),
        more=more,
    )
    if json:
        emit(advice.as_dict())
        return
    print(f"cell      {advice.size}, {advice.likeness}")
    for reason in advice.why:
        print(f"          {reason}")
    print(f"strategy  {advice.strategy or 'from scratch'}\nrun       {advice.command}")


def forgetting(
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="The first model: bundle or run.", show_default=False)
    ],
    new: Annotated[
        Path,
        typer.Argument(
            metavar="NEW",
            help="One that began with the encoder of OLD and learnt another task.",
            show_default=False,
        ),
    ],
    data: Data,
    split: SplitName = None,
    classes: Classes = None,
    splits: Splits = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Score OLD on its own DATA with its encoder and with that of NEW: what learning something else has cost."""
    from pixelwise.evaluation import render
    from pixelwise.models.bundle import facts_of, load_network
    from pixelwise.training.forgetting import forgetting as compare
    from pixelwise.training.log import spoken

    first = load_network(old)
    labelled = first.task != "reconstruct"
    dataset = open_data(data, classes, splits, seed=seed, stored=facts_of(first).split, labelled=labelled)
    chosen = chosen_split(dataset, split)
    with Bar("images") as bar:
        found = compare(first, new, chosen, progress=bar)
    if json:
        emit(found.as_dict())
        return
    print(f"{chosen.name} split of {dataset.root}\n\nwith the encoder of {old}\n{render(found.before)}")
    print(f"\nwith the encoder of {new}\n{render(found.after)}")
    before, after = found.before.headline[1], found.after.headline[1]
    print(f"\n{spoken(found.measure)} {before:.4f} -> {after:.4f}: {found.lost:+.4f} forgotten")
