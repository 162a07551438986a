"""The page of the course: every row names tests that exist, and its line runs."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_the_rows_of_the_networks_and_experiments_point_to_what_exists():
    import sys

    sys.path.insert(0, str(ROOT / "recipes" / "course"))
    try:
        from run import experiments
    finally:
        sys.path.pop(0)
    rows = {int(number): rest for number, rest in re.findall(r"^\| (\d+) \|(.*)$", PAGE, re.MULTILINE)}
    assert sorted(rows) == list(range(1, 44))
    text = "".join(rest for number, rest in rows.items() if number >= 20)
    files = re.findall(r"`(tests/[\w/]+(?:\.py)?)`|python (recipes/[\w/]+\.py)", text)
    assert len(files) > 25
    for test, script in files:
        assert (ROOT / (test or script)).exists(), test or script
    names = re.findall(r"\b(\w+@\w+)\b", text)
    assert len(names) > 15
    assert set(names) <= set(experiments())
