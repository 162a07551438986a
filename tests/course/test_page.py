"""The page of the course: every row names tests that exist, and its line runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import typer

import pixelwise as pw
from pixelwise.cli.app import app
from pixelwise.config import fill, parse_settings
from pixelwise.models.catalogue import sketched
from pixelwise.models.zoo import DECODERS, ENCODERS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "course.md").read_text()


def test_the_rows_of_the_operations(capsys):
    names = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], names)
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    shown = {int(row[0]): row for row in rows if int(row[0]) < 20}
    assert sorted(shown) == list(range(1, 20))
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    printed = {}
    for number, (_, _, test, line) in shown.items():
        assert test == f"`row_{number:02}`"
        assert f"\ndef test_row_{number:02}_" in tests
        exec("print(" + line.strip("`") + ")", names)
        printed[number] = capsys.readouterr().out
        assert printed[number].strip() not in ("", "None")
    assert printed[1] == "[[ 2 -5]\n [-2  1]]\n"
    assert printed[12].startswith("[[1 1 2 2]\n")


ROWS = {int(number): rest for number, rest in re.findall(r"^\| (\d+) \|(.*)$", PAGE, re.MULTILINE)}
LATER = {number: rest for number, rest in ROWS.items() if number >= 20}


def test_the_rows_of_the_networks_and_experiments_point_to_what_exists(script):
    assert sorted(ROWS) == list(range(1, 44))
    text = "".join(LATER.values())
    files = re.findall(r"`(tests/[\w/]+(?:\.py)?)`|python (recipes/[\w/]+\.py)", text)
    assert len(files) > 25
    for test, name in files:
        assert (ROOT / (test or name)).exists(), test or name
    names = re.findall(r"\b(\w+@\w+)\b", text)
    assert len(names) > 15
    assert set(names) <= set(script("run").experiments())


def test_every_row_names_a_test_and_the_published_numbers_are_in_it():
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    last = ""
    for number, row in sorted(LATER.items()):
        test = row.split(" | ")[1]
        files = re.findall(r"`(tests/[\w/]+)(?:\.py)?`", test)
        if "the same file" in test:
            files = [last, *files]
        own = re.findall(r"`row_(\d\d)`", test)
        assert files or own, number
        assert all(f"\ndef test_row_{name}_" in here for name in own)
        written = "".join(
            (ROOT / f"{file}.py").read_text() for file in files if (ROOT / f"{file}.py").exists()
        )
        for count in re.findall(r"\d{1,3}(?: \d{3})+", test):
            assert count.replace(" ", "_") in written, (number, count)
        last = files[0] if files else last


def test_the_lines_of_the_networks_print_the_numbers_of_their_rows(capsys):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    checked = 0
    for number, row in LATER.items():
        claimed = re.findall(r"\d{1,3}(?: \d{3})+|\d+ to \d+", row.split(" | ")[1])
        lines = re.findall(r"`([^`]*\bcount\([^`]+)`", row)
        assert bool(claimed) == bool(lines), number
        printed = ""
        for line in lines:
            exec(f"print({line})", names)
            printed += capsys.readouterr().out
        found = re.findall(r"\d+", printed)
        for one in claimed:
            wanted = one.partition(" to ")[2] or one.replace(" ", "")
            assert wanted in found, (number, one, printed)
            checked += 1
    assert checked == 17


def test_every_command_of_the_page_can_be_given(script):
    """Options and names are known; scripts list the call in their own description."""
    program = typer.main.get_command(app)
    spans = re.findall(r"`(pixelwise [^`]+)`", PAGE)
    assert len(spans) > 10
    for span in spans:
        command, *words = shlex.split(span)[1:]
        known = {option for p in program.commands[command].params for option in (*p.opts, *p.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= known, span
        if command == "describe":
            if words[0] in DECODERS:
                encoder = words[words.index("--encoder") + 1] if "--encoder" in words else "resnet18"
                sketched(words[0], encoder=encoder, classes=2, bands=3)
            else:
                assert words[0] in ENCODERS and "--encoder" not in words, span
    given = {span: re.findall(r"--set ([\w.]+=\w+)", span) for span in re.findall(r"`([^`\n]+)`", PAGE)}
    assert sum(map(len, given.values())) > 3
    for settings in given.values():
        fill(pw.TrainOptions(), parse_settings(settings))
    scripts = set(re.findall(r"python recipes/course/(\w+)\.py ?([a-z]*)", PAGE))
    assert {name for name, _ in scripts} == {
        "small",
        "classical",
        "cost",
        "forget",
        "figure",
        "compare",
        "run",
    }
    for name, word in scripts:
        text = (ROOT / "recipes" / "course" / f"{name}.py").read_text()
        assert f"recipes/course/{name}.py {word}".strip() in text, (name, word)
