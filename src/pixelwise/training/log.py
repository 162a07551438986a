"""What a run tells: a line on the terminal, rows in metrics.jsonl, TensorBoard if asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from pixelwise.errors import MissingExtraError
from pixelwise.files import append_line, write_text

METRICS = "metrics.jsonl"


def stored_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl; a torn last line, left by a kill, is dropped."""
    path, rows = folder / METRICS, []
    if not path.exists():
        return []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def stored_course(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run that a figure of its course shows: without events."""
    return [row for row in stored_rows(folder) if "event" not in row]


class RunLog:
    """Writes each row once, shows progress on standard error."""

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        self.path = folder / METRICS
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._events = _summary_writer(folder) if tensorboard else None
        self._bar: Progress | None = None
        self._last_line = -1e9

    def say(self, text: str) -> None:
        """One line for the reader."""
        self.console.print(text, markup=False)

    def start(self) -> None:
        """Show a progress bar when the terminal can."""
        if self.console.is_terminal:
            columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %  {task.description}"))
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._bar.add_task("", total=1.0)
            self._bar.start()

    def stop(self) -> None:
        """Take the bar away and close the event file."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._events is not None:
            self._events.close()

    def step(self, row: dict[str, Any], left: float, *, store: bool) -> None:
        """A training row: step, progress, seconds, loss, lr, images_per_second; `left` are seconds to go."""
        text = (
            f"step {row['step']}  loss {row['loss']:.3f}  {row['images_per_second']:.1f} images/s  "
            f"{clock(left)} left"
        )
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=row["progress"], description=text)
        elif row["seconds"] - self._last_line >= 30:  # a log file, not a terminal: a line now and then
            self._last_line = row["seconds"]
            self.say(f"{clock(row['seconds'])}  {text}")
        if store:
            self._store(row, ("loss", "lr", "images_per_second"))

    def validation(self, row: dict[str, Any], measure: str, classes: list[str]) -> None:
        """A validation row: step, seconds, images, the score called `measure`, and class_iou if there is one.

        Scores that are not defined are None.
        """
        score = "undefined" if row[measure] is None else f"{row[measure]:.3f}"
        text = f"{clock(row['seconds'])}  step {row['step']}  validation {spoken(measure)} {score} on "
        text += f"{row['images']} images"
        if "class_iou" in row:
            pairs = zip(row["class_iou"], classes, strict=True)
            worst = sorted((iou, name) for iou, name in pairs if iou is not None)
            text += f" (weakest: {', '.join(f'{name} {iou:.2f}' for iou, name in worst[:3])})"
        self.say(text)
        self._store(row, (measure,))

    def event(self, row: dict[str, Any], text: str) -> None:
        """Something worth keeping: a plan revised, a run resumed; `text` is for the reader, if not empty."""
        if text:
            self.say(text)
        self._store(row, ())

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far; see `stored_rows`."""
        return stored_rows(self.path.parent)

    def forget_after(self, step: int) -> None:
        """Drop the rows that a resumed run will write again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def _store(self, row: dict[str, Any], scalars: tuple[str, ...]) -> None:
        append_line(self.path, json.dumps(row, allow_nan=False))
        if self._events is not None:
            for name in scalars:
                if row[name] is not None:
                    self._events.add_scalar(name, row[name], row["step"])


def spoken(measure: str) -> str:
    """The name of a score in a sentence.

    >>> spoken("mean_iou"), spoken("explained_variance")
    ('mean IoU', 'explained variance')
    """
    return measure.replace("_", " ").replace("iou", "IoU")


def clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock(187.4)
    '3:07'
    """
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "TensorBoard is not installed", remedy="pip install 'pixelwise[track]', or leave out tensorboard"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
