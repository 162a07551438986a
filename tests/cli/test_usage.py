"""What the command line says when it is mistyped, and what it says comes next."""

import io
import json
import os
import shlex
import sys

import pytest

from pixelwise.__main__ import main
from pixelwise.cli.app import run
from pixelwise.cli.terms import spell


def test_the_list_of_commands_cuts_no_sentence_short(capsys):
    assert run(["--help"]) == 0
    assert "..." not in capsys.readouterr().out.split("Commands:")[1]


@pytest.mark.parametrize(
    ("arguments", "found", "remedy"),
    [
        (["chek"], "'chek'", "see `pixelwise --help`"),
        (["review", "labelz"], "'labelz'", "see `pixelwise review --help`"),
        (["review", "labels", "--fold=3"], "--fold", "see `pixelwise review labels --help`"),
        (
            ["sample", "x", "--seed", "nine"],
            "--seed 'nine'",
            "give a whole number; see `pixelwise sample --help`",
        ),
        (["vectorize", "m.tif", "-o", "m.gpkg", "--min-area=big"], "--min-area 'big'", "give a number;"),
        (["areas", "m.tif", "--seed=-1"], "--seed '-1'", "give a value greater than or equal to 0; see"),
        (["train", "x", "--set"], "--set", "see `pixelwise train --help`"),
        (["predict", "m", "x", "-o", "y", "--spread", "cloud"], "--spread cloud", "known: local, ray"),
        (["calibrate", "m", "x", "-o", "y", "--share", "2"], "--share is 2", "between 0 and 1"),
        (["predict", "m", "x", "-o", "y", "--device", "gpu"], "'gpu'", "give auto, cpu or cuda"),
        (["evaluate", "m", "x", "-o", "y", "--device", "gpu"], "'gpu'", "give auto, cpu or cuda"),
        (["compare", "m", "n", "x", "--device", "gpu"], "'gpu'", "give auto, cpu or cuda"),
        (["calibrate", "m", "x", "-o", "y", "--device", "gpu"], "'gpu'", "give auto, cpu or cuda"),
        (
            ["predict", "m", "x", "-o", "y", "--device", "cuda", "--spread", "local"],
            "--device cuda with --spread",
            "leave out one of them",
        ),
    ],
)
def test_a_mistyped_command_line_says_what_it_was_and_which_help_to_see(capsys, arguments, found, remedy):
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert found in error
    assert remedy in error
    assert run([*arguments[:1], "--json", *arguments[1:]]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "option"


def test_check_ends_with_a_command_that_the_parser_takes(shapes, capsys):
    assert run(["check", str(shapes), "--splits", "blocks"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    words = shlex.split(last)
    assert words[:4] == ["next", "pixelwise", "train", str(shapes)]
    assert words[-2:] == ["--splits", "blocks"]
    assert run([*words[2:], "--json", "--epochs", "nine"]) == 2
    assert "--epochs" in json.loads(capsys.readouterr().out)["error"]["found"]


def test_names_with_spaces_are_quoted_in_what_comes_next(tmp_path):
    assert shlex.split(spell("check", tmp_path / "a b; c")) == [
        "pixelwise",
        "check",
        str(tmp_path / "a b; c"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_names_that_are_no_utf8_are_printed(shapes, tmp_path, monkeypatch, options):
    """The standard output of a terminal takes UTF-8 alone."""
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.symlink_to(shapes)
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "argv", ["pixelwise", "check", str(folder), *options])
    with pytest.raises(SystemExit, match="0"):
        main()
    out.flush()
    text = out.buffer.getvalue().decode()
    assert str(folder) in (json.loads(text)["root"] if options else text.replace("\\udcff", "\udcff"))
