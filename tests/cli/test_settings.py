"""Which settings of a training hold when the file and the command line say different things."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.cli.settings import training_settings
from pixelwise.errors import OptionError


def test_the_command_line_goes_before_the_file_and_set_before_both(tmp_path: Path) -> None:
    recipe = tmp_path / "config.yaml"
    recipe.write_text("options: {model: unet, minutes: 5, batch: 4, transfer: {strategy: frozen}}\n")
    named = {"model": None, "minutes": None, "epochs": 2.0, "batch": 8}
    found = training_settings(
        recipe, named, transfer={"encoder_weights": "a", "strategy": None}, set_=["batch=16"]
    )
    assert found["model"] == "unet" and found["batch"] == 16
    assert (found["minutes"], found["epochs"]) == (None, 2.0)  # one budget replaces the other
    assert found["transfer"] == {"encoder_weights": "a", "strategy": "frozen"}


def test_without_a_budget_that_of_the_file_stays(tmp_path: Path) -> None:
    recipe = tmp_path / "config.yaml"
    recipe.write_text("epochs: 3\n")
    found = training_settings(recipe, {"minutes": None, "epochs": None}, transfer={}, set_=None)
    assert found == {"epochs": 3}


def test_options_that_are_no_mapping_are_an_error(tmp_path: Path) -> None:
    recipe = tmp_path / "config.yaml"
    for text in ("options:\n", "options: 3\n", "options: [batch]\n"):
        recipe.write_text(text)
        with pytest.raises(OptionError, match="options is"):
            training_settings(recipe, {}, transfer={}, set_=None)
