"""The command table, and what an exception means to the shell."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import typer

from pixelwise import __version__
from pixelwise.cli import (
    calibrate,
    compare,
    data,
    leaks,
    maps,
    networks,
    review,
    runs,
    score,
    transfer,
    vectors,
)
from pixelwise.cli.terms import emit
from pixelwise.errors import PixelwiseError

app = typer.Typer(
    name="pixelwise",
    help="From a folder of labelled images to a per-pixel map you can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("sample")(data.sample)
app.command("check")(data.check)
app.command("leakcost")(leaks.leakcost)
app.command("train")(runs.train)
app.command("evaluate")(runs.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("compare")(compare.compare)
app.command("predict")(maps.predict)
app.command("score")(score.score)
app.command("vectorize")(vectors.vectorize)
app.command("areas")(vectors.areas)
app.command("models")(networks.models)
app.command("describe")(networks.describe)
app.command("advise")(transfer.advise)
app.command("forgetting")(transfer.forgetting)
app.add_typer(transfer.weights, name="weights")
app.add_typer(review.review, name="review")


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
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        print(f"error: {message()}\n  fix: see `pixelwise {' '.join(arguments[:1])} --help`", file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


__all__ = ["app", "run"]
