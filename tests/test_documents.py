"""What README and docs name is there: commands with their options, scripts, settings, make targets, files, links."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pixelwise.cli.app import app
from pixelwise.config import fill, parse_settings
from pixelwise.models.classifier import ClassifierOptions
from pixelwise.training.options import TrainOptions

ROOT = Path(__file__).resolve().parent.parent
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "recipes/README.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {  # written by who follows the page
    "src/pixelwise/models/encoders/tiny.py",
    "src/pixelwise/models/decoders/sum.py",
    "benchmarks/results/MACHINE",
}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(text: str) -> list[str]:
    """Lines of fenced blocks, continued lines joined, comments and columns of explanation taken off."""
    lines = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    found = re.sub(r"\\\n\s*", "", lines).splitlines()
    return [re.split(r"(?<=\S) {3,}(?=\S)", re.sub(r"(pixelwise \w+) +", r"\1 ", line))[0] for line in found]


def spans(text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def words(line: str) -> list[str]:
    """A command line or a synopsis as arguments: `[--count 20]`, `FILE|RUN` and `...` become what one may type."""
    plain = re.sub(r"[\[\]]|\.\.\.", "", line).replace("PIXELS", "1")
    return [word.split("|")[0] for word in shlex.split(plain, comments=True) if word != "|"]


def parsed(line: str, *, whole: bool) -> None:
    """The command line's own parser takes a line; a part of one may lack arguments."""
    group: Any = typer.main.get_command(app)
    arguments = words(line)[1:]
    while hasattr(group, "commands") and arguments:
        name = arguments.pop(0)
        assert name in group.commands, f"no such command: {name}"
        group = group.commands[name]
    try:
        group.make_context(line, arguments, resilient_parsing=hasattr(group, "commands"))
    except Exception as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        if whole or not re.match(r"Missing|.* requires an argument", message):
            raise AssertionError(f"{line}: {message}") from error


@each_page
def test_commands_are_taken_by_the_command_line(page: Path) -> None:
    text = page.read_text()
    for line in blocks(text):
        if line.startswith("pixelwise "):
            parsed(line, whole=True)
    for span in spans(text):
        if span.startswith("pixelwise "):
            parsed(span, whole=False)


def test_commands_are_found() -> None:
    lines = [line for page in PAGES for line in blocks(page.read_text()) + spans(page.read_text())]
    assert len([line for line in lines if line.startswith("pixelwise ")]) > 100


@pytest.mark.parametrize(
    "line",
    ["pixelwise trian DATA", "pixelwise train DATA -o RUN --minute 3", "pixelwise train DATA --batch x"],
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    with pytest.raises(AssertionError, match=r"no such command|No such option|Invalid value"):
        parsed(line, whole=True)


@each_page
def test_scripts_know_the_options_they_are_shown_with(page: Path) -> None:
    text = page.read_text()
    for line in blocks(text) + spans(text):
        found = re.match(r"python ((?:benchmarks|recipes|examples)/\S+\.py)(.*)", line)
        if found:
            source = (ROOT / found[1]).read_text()
            for option in re.findall(r"(?<=\s)--[\w-]+", found[2]):
                assert f'"{option}"' in source, line


@each_page
def test_settings_fit_the_options_of_training(page: Path) -> None:
    for setting in re.findall(r"--set[ =]([\w.]+=[\w.\[\],]+)", page.read_text()):
        if setting == "a.b=c":  # any of them
            continue
        fill(TrainOptions(classifier=ClassifierOptions(head="paper")), parse_settings([setting]))


def test_the_table_of_options_has_them_all() -> None:
    """Those of `transfer` have a page of their own, and classes of one task share a row."""
    rows = re.findall(r"^\| (`[^|]*`) \|", (ROOT / "docs" / "training.md").read_text(), re.MULTILINE)
    shown = re.findall(r"`([\w.]+)`", " ".join(rows))
    assert len(shown) == len(set(shown))
    assert set(shown) == {name for name in names(TrainOptions()) if not name.startswith("transfer.")}


def names(options: Any, before: str = "") -> list[str]:
    """Every option with the dotted name that `--set` takes."""
    found = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        inner = dataclasses.is_dataclass(value)
        found += names(value, f"{before}{field.name}.") if inner else [before + field.name]
    return found


@each_page
def test_make_targets_files_and_links_are_there(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in blocks(text) + spans(text):
        if target := re.match(r"make ([\w-]+)", line):
            assert target[1] in targets
    for span in spans(text):
        if re.fullmatch(r"(tests|benchmarks|recipes|examples|docs|src)/[\w./-]+", span):
            assert (ROOT / span).exists() or span in ELSEWHERE, span
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
