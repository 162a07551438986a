"""The code in the docs is executed."""

import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import torch

import pixelwise as pw
from pixelwise.models import zoo

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def module_of(code, name, monkeypatch):
    """The code of a page as an importable module."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, name, "exec"), module.__dict__)
    return module


def test_the_network_of_the_page_trains_saves_and_describes_itself(shapes, tmp_path, monkeypatch):
    encoder, decoder = re.findall(r"```python\n(.*?)```", (DOCS / "new_network.md").read_text(), re.DOTALL)
    tiny = module_of(encoder, "tiny", monkeypatch)
    total = module_of(decoder, "total", monkeypatch)
    monkeypatch.setitem(zoo.ENCODERS, "tiny", tiny.Tiny)
    monkeypatch.setitem(zoo.DECODERS, "sum", total.Sum)
    options = pw.TrainOptions(
        model="sum", encoder="tiny", epochs=1, batch=2, size=(32, 32), precision="float32"
    )
    run = pw.train(pw.open_dataset(shapes), out=tmp_path / "run", options=options)
    model = pw.load(run.folder)
    assert (model.name, model.encoder_name) == ("sum", "tiny")
    with torch.inference_mode():
        assert model(torch.randn(1, model.bands, 33, 7)).shape[-2:] == (33, 7)
    facts = pw.describe(model, size=(64, 64))
    assert facts.parameters == sum(p.numel() for p in model.parameters())
    assert {row.name for row in zoo.entries()} >= {"tiny", "sum"}


def added_by_the_page(root):
    """A copy of the package and its tests, with the page's two files and rows."""
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    text = (DOCS / "new_network.md").read_text()
    places = re.findall(r"`(src/pixelwise/models/\S+\.py)`:\n\n```python\n(.*?)```", text, re.DOTALL)
    zoo_file = root / "src/pixelwise/models/zoo.py"
    rows = re.findall(r"under `(\w+)`, with its import:\n\n```\n(.*)\n    (.*)\n```", text)
    assert len(places) == len(rows) == 2
    for place, code in places:
        (root / place).write_text(code)
    for table, line, row in rows:
        code = zoo_file.read_text().replace(
            "from pixelwise.models.segmenter", f"{line}\nfrom pixelwise.models.segmenter", 1
        )
        zoo_file.write_text(
            re.sub(rf"^({table}: .*{{)$", rf"\1\n    {row}", code, count=1, flags=re.MULTILINE)
        )
    return [root / place for place, _ in places]


def test_the_page_is_all_that_the_contract_asks_of_a_new_network(tmp_path):
    files = added_by_the_page(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    checks = [
        (
            "pytest",
            "tests/models",
            "-k",
            "sum or tiny",
            "-m",
            "not slow and not peers",
            "-x",
        ),
        ("ruff", "check", "--config", str(tmp_path / "pyproject.toml"), *map(str, files)),
    ]
    for check in checks:
        done = subprocess.run(
            [sys.executable, "-m", *check],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
