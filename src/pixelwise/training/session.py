"""One training in progress: its parts, its position, and what the time allows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from pixelwise.config import dump
from pixelwise.data.dataset import Dataset, Split
from pixelwise.data.loader import Loader
from pixelwise.models.bundle import BundleFacts, TrainingSummary
from pixelwise.models.network import Network
from pixelwise.training.clock import CLOCKS, Clock
from pixelwise.training.correction import PASSES
from pixelwise.training.log import RunLog
from pixelwise.training.optim import WeightAverage
from pixelwise.training.options import TrainOptions
from pixelwise.training.plan import Plan
from pixelwise.training.state import Position
from pixelwise.training.step import Stepper
from pixelwise.training.tasks import Task

VALIDATION_SHARE = 0.04  # of a time budget, for the scores taken on the way
FINAL_SHARE = 0.06  # of a time budget, for the score on the whole validation split at the end
ENOUGH_STEPS = 8  # before the median of measured steps replaces the timing of the plan


@dataclass
class Session:
    """One training in progress."""

    folder: Path
    data: Dataset
    options: TrainOptions
    log: RunLog
    network: Network
    average: WeightAverage | None
    loader: Loader
    stepper: Stepper
    plan: Plan
    position: Position
    dataset_sha256: str
    began: float  # of this process's part
    seconds_before: float = 0.0  # of earlier parts of a resumed run
    timed: dict[bool, float] = field(default_factory=dict)  # seconds per step when the plan was made
    recent: dict[bool, deque[float]] = field(default_factory=dict)  # of the last steps, coarse and full
    validation_cost: float | None = None  # seconds of the last validation

    @property
    def current(self) -> Network:
        """The network as users would get it now: the averaged weights, if there are any."""
        chosen = self.network if self.average is None else self.average.network
        chosen.facts = self.facts({})
        return chosen

    @property
    def clock(self) -> Clock:
        """By which the budget is kept."""
        return CLOCKS[self.options.clock]

    @property
    def task(self) -> Task:
        """What is trained for."""
        return self.stepper.task

    @property
    def validation(self) -> Split:
        """The evenly spaced part of the validation split that is scored on the way."""
        return self.data.val.evenly(self.plan.validate_images)

    @property
    def final_passes(self) -> int:
        """How often the validation split is gone through at the end."""
        return 1 if self.stepper.weights is None else PASSES

    def elapsed(self) -> float:
        """Seconds of training so far, all parts together."""
        return self.seconds_before + self.clock() - self.began

    def cost(self, coarse: bool) -> float:
        """Seconds per step, coarse or full: the median of the last steps once there are enough of them.

        The first steps of a phase are slow, since memory is new; a median takes no notice.
        """
        recent = self.recent.get(coarse, ())
        if len(recent) >= ENOUGH_STEPS or (recent and not self.timed):
            return median(recent)
        return self.timed.get(coarse) or next(iter(self.timed.values()), 1.0)

    def note_cost(self, coarse: bool, seconds: float) -> None:
        """Remember how long a step took."""
        self.recent.setdefault(coarse, deque(maxlen=4 * ENOUGH_STEPS)).append(seconds)

    def note_validation(self, seconds: float) -> None:
        """Take a measured validation into the forecast."""
        self.validation_cost = seconds

    def forecast(self) -> float:
        """Seconds that the steps to come will take at the present speed."""
        step = self.position.step
        return sum(
            (phase.end - max(step, phase.first)) * self.cost(phase.coarse)
            for phase in self.plan.phases
            if phase.end > step
        )

    def seconds_for_steps(self) -> float:
        """What a time budget leaves for steps, after validations and the final score."""
        if self.options.minutes is None:
            return self.forecast()
        per_image = self.plan.seconds_per_validation_image
        one = self.validation_cost
        if one is None:
            one = per_image * self.plan.validate_images
        else:
            per_image = one / max(1, self.plan.validate_images)
        left = self.options.validations - int(
            self.plan.progress(self.position.step) * self.options.validations
        )
        final = (
            min(self.final_passes * per_image * len(self.data.val), FINAL_SHARE * self.options.minutes * 60)
            + 2
        )
        return self.options.minutes * 60 - self.elapsed() - left * one - final

    def seconds_left(self) -> float:
        """Forecast of the time to the end."""
        if self.options.minutes is not None:
            return self.options.minutes * 60 - self.elapsed()
        return self.forecast()

    def facts(self, validation: dict[str, Any]) -> BundleFacts:
        """What the bundle says of this training, with the scores on the validation split."""
        summary = TrainingSummary(
            dataset=self.data.root.name,
            dataset_sha256=self.dataset_sha256,
            images=len(self.data.train),
            steps=self.position.step,
            seconds=round(self.position.seconds, 1),
            seed=self.options.seed,
            options=dump(self.options),
            validation=validation,
        )
        return BundleFacts(
            split=self.data.split_names(),
            precision=self.plan.precision,
            dtype=self.data.dtype,
            table=self.data.table.as_dict(),
            training=summary,
        )
