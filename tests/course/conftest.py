"""The scripts of the course as modules."""

import importlib.util
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes" / "course"


@pytest.fixture
def script(monkeypatch):
    """A function from the name of a script in recipes/course to its module."""
    monkeypatch.syspath_prepend(str(RECIPES))  # its neighbours

    def load(name):
        spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load
