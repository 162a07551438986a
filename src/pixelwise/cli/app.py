"""The command table, and what an exception means to the shell."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Any

import typer

from pixelwise import __version__
from pixelwise.cli import (
    calibrate,
    compare,
    data,
    leaks,
    maps,
    networks,
    quantize,
    review,
    runs,
    score,
    transfer,
    vectors,
)
from pixelwise.cli.terms import emit
from pixelwise.errors import OptionError, PixelwiseError

app = typer.Typer(
    name="pixelwise",
    help="From a folder of labelled images to a per-pixel map you can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("sample", short_help="Write the built-in dataset: generated aerial towns.")(data.sample)
app.command("check", short_help="Say what is in a dataset, what is wrong, how to mend it.")(data.check)
app.command("leakcost", short_help="Measure what neighbours in training are worth.")(leaks.leakcost)
app.command("train", short_help="Train a network and write a run folder.")(runs.train)
app.command("evaluate", short_help="Score a model on a dataset: scores.json and a report.")(runs.evaluate)
app.command("calibrate", short_help="Make the probabilities of a model mean what they say.")(
    calibrate.calibrate
)
app.command("quantize", short_help="Let a model predict in 8-bit integers, and say what that changes.")(
    quantize.quantize
)
app.command("compare", short_help="Say whether one model is better, by how much, how sure.")(compare.compare)
app.command("predict")(maps.predict)
app.command("score", short_help="Compare a class map with the true one.")(score.score)
app.command("vectorize", short_help="Write the polygons of a class map, for a GIS.")(vectors.vectorize)
app.command("areas", short_help="Say how much ground each class covers.")(vectors.areas)
app.command("models", short_help="List the networks that can be built.")(networks.models)
app.command("describe", short_help="Sizes, parameters and receptive field, layer by layer.")(
    networks.describe
)
app.command("advise", short_help="Say how to train on DATA with given encoder weights.")(transfer.advise)
app.command("forgetting", short_help="Score what a model lost by learning something else.")(
    transfer.forgetting
)
app.add_typer(transfer.weights, name="weights")
app.add_typer(review.review, name="review", short_help="Label errors, corrections, and what to label next.")


def _version(value: bool) -> None:
    if value:
        print(f"pixelwise {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """From a folder of labelled images to a per-pixel map you can trust."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    try:
        result = app(list(arguments), standalone_mode=False)
    except PixelwiseError as error:
        if "--json" in arguments:
            emit({"error": error.as_dict()})
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        return 143 if stop.args and stop.args[0] == signal.SIGTERM else 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        misused = _misused(error, arguments)
        if "--json" in arguments:
            emit({"error": misused.as_dict()})
        print(f"error: {misused}", file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


def _misused(error: Any, arguments: Sequence[str]) -> OptionError:
    """What the parser of the command line found, and the command whose help tells more."""
    names, context = list[str](), error.ctx
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    if error.ctx is None and arguments:
        names = [arguments[0]]
    remedy = f"see `{' '.join(['pixelwise', *names, '--help'])}`"
    found = str(error.format_message())
    _, _, wanted = found.partition("Input should be ")
    if wanted:  # the parser does not say what it was given
        kind = "a whole number" if "valid integer" in wanted else f"a value {wanted}"
        kind = "a number" if "valid number" in wanted else kind
        return OptionError(_given(error.param.opts, arguments), remedy=f"give {kind}; {remedy}")
    return OptionError(found, remedy=remedy)


def _given(options: Sequence[str], arguments: Sequence[str]) -> str:
    """An option with its value, as it stands among the arguments."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in options:
            return f"{name} {(value if equals else ' '.join(arguments[place + 1 : place + 2]))!r}"
    return options[-1]


__all__ = ["app", "run"]
