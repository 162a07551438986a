"""The code in the docs is executed."""

import re
import sys
import types
from pathlib import Path

import torch

import pixelwise as pw
from pixelwise.models import zoo

DOCS = Path(__file__).resolve().parent.parent / "docs"


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
