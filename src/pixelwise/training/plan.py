"""What a run decides before it starts: arithmetic, crop, phases and how many steps fit the time.

Decisions that rest on timing are stored with the run; repeating the run with the stored numbers repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pixelwise.errors import OptionError
from pixelwise.training.options import TrainOptions

Size = tuple[int, int]
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
LARGEST_CROP = 512
DRIFT = 0.02  # share of the budget that the forecast may be off before steps are added or dropped


@dataclass(frozen=True)
class Phase:
    """A stretch of steps at one resolution; progress runs linearly from `start` to `stop` over it."""

    coarse: bool
    size: Size
    first: int
    steps: int
    start: float
    stop: float

    @property
    def end(self) -> int:
        """The first step after this phase."""
        return self.first + self.steps


@dataclass(frozen=True)
class Plan:
    """The whole course of a run."""

    precision: Precision
    phases: tuple[Phase, ...]
    validate_images: int
    seconds_per_validation_image: float

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.phases[-1].end

    def phase(self, step: int) -> Phase:
        """The phase that `step` belongs to."""
        return next(phase for phase in self.phases if step < phase.end)

    def progress(self, step: int) -> float:
        """How much of the run lies behind when `step` begins, 0..1."""
        if step >= self.steps:
            return 1.0
        phase = self.phase(step)
        return phase.start + (phase.stop - phase.start) * (step - phase.first) / phase.steps


def crop_size(sizes: Sequence[Size], options: TrainOptions, stride: int) -> Size:
    """Rows and columns of the crops: as asked for, or the median image up to 512 x 512."""
    if options.size is not None:
        size = options.size
    else:
        middle = len(sizes) // 2
        rows, columns = (sorted(size[axis] for size in sizes)[middle] for axis in (0, 1))
        size = (min(rows, LARGEST_CROP), min(columns, LARGEST_CROP))
    smallest = size if options.coarse == 0 else half(size)
    at_once = options.batch // options.accumulate
    if at_once * -(-smallest[0] // stride) * -(-smallest[1] // stride) < 2:
        parts = f" in {options.accumulate} parts" if options.accumulate > 1 else ""
        raise OptionError(
            f"batch {options.batch}{parts} with crops of {smallest[0]} x {smallest[1]} leaves one value per channel at "
            f"stride {stride}, too few for batch normalisation",
            remedy="raise batch to 2 or more, or size above the stride",
        )
    return size


def half(size: Size) -> Size:
    """Half a size, at least 1 x 1."""
    return max(1, size[0] // 2), max(1, size[1] // 2)


def phases_by_steps(total: int, size: Size, coarse: float) -> tuple[Phase, ...]:
    """`total` steps, the first `coarse` share of them at half resolution."""
    first = min(round(total * coarse), total - 1)
    share = first / total
    phases = [Phase(True, half(size), 0, first, 0.0, share)] if first else []
    return (*phases, Phase(False, size, first, total - first, share, 1.0))


def phases_by_time(
    seconds: float, size: Size, coarse: float, cost: Callable[[bool], float]
) -> tuple[Phase, ...]:
    """As many steps as fit `seconds`, the `coarse` share of the time at half resolution.

    Args:
        seconds: Time for steps alone.
        size: Crop at full resolution.
        coarse: Share of the time at half resolution.
        cost: Seconds per step of the coarse (True) and the full (False) phase.
    """
    phases: list[Phase] = []
    first = 0
    if coarse:
        first = max(1, round(seconds * coarse / cost(True)))
        phases.append(Phase(True, half(size), 0, first, 0.0, coarse))
    steps = max(1, round(seconds * (1 - coarse) / cost(False)))
    phases.append(Phase(False, size, first, steps, coarse, 1.0))
    return tuple(phases)


def revise(plan: Plan, step: int, seconds: float, cost: Callable[[bool], float]) -> Plan:
    """The plan with the steps from `step` on fitted to the `seconds` that are left for them.

    Steps done stay as they were, and the progress reached at `step` is where the new stretch begins.
    """
    current = plan.phase(step)
    progress = plan.progress(step)
    done = [phase for phase in plan.phases if phase.end <= step]
    if step > current.first:
        done.append(replace(current, steps=step - current.first, stop=progress))
    rest = [phase for phase in plan.phases if phase.end > step]
    ahead = [replace(current, first=step, steps=current.end - step, start=progress), *rest[1:]]
    needed = sum(phase.steps * cost(phase.coarse) for phase in ahead)
    factor = max(seconds, 0.0) / needed if needed else 1.0
    revised: list[Phase] = []
    first = step
    for phase in ahead:
        fitted = replace(phase, first=first, steps=max(1, round(phase.steps * factor)))
        revised.append(fitted)
        first = fitted.end
    return replace(plan, phases=(*done, *revised))
