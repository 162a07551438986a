"""The run folder: what lies where, and what it says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pixelwise.config import dump, fill, read_yaml
from pixelwise.errors import OptionError
from pixelwise.files import write_text
from pixelwise.training.options import TrainOptions

CONFIG = "config.yaml"
CHECKPOINT = "checkpoint"
REPORT = "report.html"


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: Where everything lies.
        model: The bundle with the best weights.
        score: On the validation split; None when there is none.
        measure: What the score is: mean_iou when a class per pixel was trained for.
        steps: How many were made.
        seconds: How long it took.
    """

    folder: Path
    model: Path
    score: float | None
    measure: str
    steps: int
    seconds: float

    @property
    def mean_iou(self) -> float | None:
        """Mean IoU on the validation split; None where there is none, or for another task."""
        return self.score if self.measure == "mean_iou" else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {
            "folder": str(self.folder),
            "model": str(self.model),
            self.measure: self.score,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
        }


def store_config(folder: Path, document: dict[str, Any]) -> None:
    """Write config.yaml: options, decisions and the data they were taken on."""
    write_text(folder / CONFIG, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def stored_options(folder: Path) -> TrainOptions:
    """The options a run was started with."""
    return fill(TrainOptions(), read_yaml(folder / CONFIG).get("options", {}))


def check_same(folder: Path, stored: TrainOptions, given: TrainOptions) -> None:
    """Refuse to resume with other options than the run was started with."""
    before, now = _flat(dump(stored)), _flat(dump(given))
    changed = [f"{key} {before[key]} -> {now[key]}" for key in before if before[key] != now.get(key)]
    if changed:
        raise OptionError(
            f"the run was started with other options: {', '.join(changed)}",
            file=folder,
            remedy="leave these options out, or start a new run",
        )


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def stored_split(folder: Path) -> dict[str, list[str]] | None:
    """The split a run was started with; None if there is no run."""
    if not (folder / CONFIG).exists():
        return None
    split: dict[str, list[str]] | None = read_yaml(folder / CONFIG).get("split")
    return split
