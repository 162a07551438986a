"""What an encoder still knows of its first task after a second one: the other half of row 40 of the course.

The encoder of NEW, which began with that of OLD, is put under the head of OLD and judged on the test images of OLD
(`pixelwise forgetting`). Both are experiments of run.py that have been run.

    python recipes/course/forget.py mobilenet_scratch@camvid_full street_full@xray --data DATA --work course-work
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from run import earlier_run, experiments, opened
from stored import store

from pixelwise.errors import OptionError, PixelwiseError, close_matches
from pixelwise.training.forgetting import forgetting


def measure(old: str, new: str, folder: Path, work: Path) -> dict[str, object]:
    """The score of `old` on its own test images with its encoder and with that of `new`, seed 0."""
    known = experiments()
    for name in (old, new):
        if name not in known:
            raise OptionError(f"no experiment is called {name!r}", remedy=close_matches(name, known))
    runs = [earlier_run(name, work) for name in (old, new)]
    found = forgetting(*runs, opened(known[old], folder, work).test)
    return {
        "experiment": f"{old} after {new}",
        "command": f"python recipes/course/forget.py {old} {new} --data DATA",
        "measure": found.measure,
        "before": round(found.before.headline[1], 5),
        "after": round(found.after.headline[1], 5),
        "lost": round(found.lost, 5),
    }


def main() -> int:
    """Judge, store and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", help="the first experiment, as `run.py --list` names it")
    parser.add_argument("new", help="one that began with its encoder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--work", type=Path, default=Path("course-work"))
    given = parser.parse_args()
    try:
        result = measure(given.old, given.new, given.data, given.work)
    except PixelwiseError as error:
        print(error, file=sys.stderr)
        return 2
    store(f"forgetting-{given.old}-{given.new}".replace("@", "_"), result)
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
