"""The clock by which a time budget is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

ClockName = Literal["wall", "processor"]
Clock = Callable[[], float]

CLOCKS: dict[ClockName, Clock] = {
    "wall": time.monotonic,
    "processor": time.process_time,  # of all threads together, so that a busy machine takes no steps away
}
