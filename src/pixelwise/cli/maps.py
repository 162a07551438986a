"""`predict`: images to class maps, classes, reconstructions or boxes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pixelwise.cli.averaging import Averaging, parse_scales
from pixelwise.cli.bars import Bar
from pixelwise.cli.scenes import (
    SceneSettings,
    check_spread,
    map_all,
    parse_overlap,
    place_for,
    scene_dict,
    summary,
)
from pixelwise.cli.shift import ShiftCheck, warn_of_shift
from pixelwise.cli.terms import Json, Model, Place, emit
from pixelwise.errors import OptionError


def predict(  # noqa: PLR0913  the command line has more options than a function should
    model: Model,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Images, scenes or folders.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write to.", show_default=False)
    ],
    overlay: Annotated[
        bool, typer.Option(help="Of class maps: also write the classes laid over each image.")
    ] = True,
    confidence: Annotated[
        bool, typer.Option(help="Of class maps: also write how sure the model is of each pixel.")
    ] = False,
    label_sets: Annotated[
        bool,
        typer.Option(
            "--label-sets",
            help="Of class maps: also write how many classes each pixel may be of; takes a calibrated model.",
        ),
    ] = False,
    flips: Annotated[
        bool, typer.Option("--flips", help="Of images: also look at them mirrored; twice the time.")
    ] = False,
    scales: Annotated[
        str, typer.Option(help="Of images: look at them at these sizes, such as 0.75,1,1.25; as many times.")
    ] = "1",
    ensemble: Annotated[
        list[Path] | None,
        typer.Option(metavar="MODEL", help="Of images: average with another model; may be repeated."),
    ] = None,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty", help="With the three above: also write where views and models disagree."
        ),
    ] = False,
    objects: Annotated[
        bool,
        typer.Option("--objects", help="Of class maps: also write the connected pixels of each class."),
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="With --objects: a class that is no object; may be repeated."),
    ] = None,
    min_area: Annotated[int, typer.Option(help="With --objects: leave out smaller ones, in pixels.")] = 1,
    engine: Annotated[
        str,
        typer.Option(
            help="Of class maps: auto, eager, openvino, compiled, onnxruntime, or recorded (on a card). auto starts at "
            "once and, where more than 20 s of work are left (on a card 5 s), times what is installed (pip install "
            "'pixelwise[fast]') and changes to the quickest; it says which, and remembers. Scenes stay eager."
        ),
    ] = "auto",
    overlap: Annotated[
        str, typer.Option(help="Of scenes: exact, blend, or pixels of context around a tile.")
    ] = "exact",
    resume: Annotated[
        bool, typer.Option("--resume", help="Of scenes: go on with maps that were interrupted.")
    ] = False,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Of scenes: https, s3, gs and az addresses may be read.")
    ] = False,
    mosaic: Annotated[
        bool, typer.Option("--mosaic", help="Of scenes: what @FILE lists are the parts of one.")
    ] = False,
    resample: Annotated[
        bool,
        typer.Option(
            "--resample",
            help="Of scenes: read them at the pixel size of the training images; so are their maps.",
        ),
    ] = False,
    spread: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="Of scenes: over processes (local) or a cluster (ray)."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="With --spread: how many; they share the cores.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="With --spread ray: of a running cluster.")
    ] = None,
    shift_check: ShiftCheck = True,
    device: Place = "auto",
    json: Json = False,
) -> int:
    """Answer for images with a model of any task.

    Class maps as index PNGs with the classes' colours and overlays; of scenes (large georeferenced TIFFs) as
    GeoTIFFs; classes.csv; reconstructions; boxes.csv and pictures with the box drawn in. @FILE stands for the inputs
    that a text file lists.
    """
    from pixelwise.infer import EngineChoice, ObjectOptions, predict_files
    from pixelwise.infer.maps import Sureness
    from pixelwise.infer.placed import listed
    from pixelwise.infer.predictor import set_threshold_of, temperatures_of
    from pixelwise.models.bundle import load_network

    if not objects and (skip or min_area != 1):
        raise OptionError("--skip and --min-area say which objects are written", remedy="add --objects")
    check_spread(spread, workers, ray_address)
    averaging = Averaging(flips, parse_scales(scales), tuple(ensemble or ()), uncertainty)
    sureness = Sureness(confidence, label_sets)
    settings = SceneSettings(
        parse_overlap(overlap),
        sureness,
        resume,
        allow_remote,
        engine,
        objects,
        spread,
        workers,
        ray_address,
        mosaic,
        resample,
        averaging=averaging.named,
    )
    place = place_for(device, spread, engine)
    network = load_network(model, place)
    shift = warn_of_shift(network, listed(inputs), out, wanted=shift_check, resample=resample)
    averaged = averaging.of(network, engine, place)

    def map_images(images: Sequence[Path]) -> list[Path]:
        with Bar("images") as bar:
            return predict_files(
                network,
                images,
                out,
                overlays=overlay,
                confidence=sureness,
                objects=ObjectOptions(tuple(skip or ()), min_area) if objects else None,
                engine=averaged or EngineChoice(engine, say=lambda text: print(text, file=sys.stderr)),
                progress=bar,
            )

    written, outcomes = map_all(network, inputs, out, settings=settings, map_images=map_images)
    others = _passed_over(inputs, out)
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    if json:
        told: dict[str, Any] = {"task": network.task, "written": [str(path) for path in written]}
        told |= {"passed_over": [str(path) for path in others]} if others else {}
        if confidence:
            told["calibrated"] = averaged is None and temperatures_of(network) is not None
        if label_sets:
            told["label_sets"] = {"threshold": set_threshold_of(network)}
        if outcomes:
            told["scenes"] = [scene_dict(one.result) for one in outcomes if one.result is not None]
            told["failed"] = [error.as_dict() for error in errors]
        emit(told | shift)
    else:
        if len(outcomes) > 1:
            print(summary(outcomes))
        print(f"{len(written)} {'file' if len(written) == 1 else 'files'} in {out}")
    return 1 if errors else 0


def _passed_over(inputs: Sequence[Path], out: Path) -> list[Path]:
    """Say which files in folders are of no kind that is read."""
    from pixelwise.data.unused import by_suffix
    from pixelwise.infer.jobs import passed_over
    from pixelwise.infer.placed import listed

    others = passed_over(listed(inputs), out)
    if others:
        names = ", ".join(file.name for file in others[:3]) + (" ..." if len(others) > 3 else "")
        text = f"passed over {by_suffix(others)}: files of this kind are not read ({names})"
        print(f"note: {text}", file=sys.stderr)
    return others
