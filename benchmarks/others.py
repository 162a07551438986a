"""What else is running: programs of other people, or of ours, that take processor time beside a benchmark."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

LEAST = 0.05  # of a core


def busy(seconds: float = 1.0) -> dict[str, float]:
    """Cores that other programs take while this one sleeps, by name; empty where there is no /proc."""
    before = _ticks()
    time.sleep(seconds)
    per_second = os.sysconf("SC_CLK_TCK") * seconds if before else 1.0
    used: Counter[str] = Counter()
    for process, (name, ticks) in _ticks().items():
        used[name] += ticks - before.get(process, (name, 0))[1]
    return {
        name: round(ticks / per_second, 2)
        for name, ticks in used.most_common()
        if ticks >= LEAST * per_second
    }


def _ticks() -> dict[str, tuple[str, int]]:
    """Name and processor time of every other process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        try:
            name, _, rest = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:  # it has ended
            continue
        user, system = rest.split()[11:13]
        found[folder.name] = (name.partition("(")[2], int(user) + int(system))
    return found
