"""The whole way in one go: sample, check, train, evaluate, predict, map a scene. Run by `make demo`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

RECIPE = Path(__file__).parent.parent / "recipes" / "demo" / "train.yaml"


def main(folder: Path) -> int:
    """Run the commands in `folder` and say what came out."""
    shutil.rmtree(folder, ignore_errors=True)
    town, run, report, maps = (folder / name for name in ("town", "run", "report", "maps"))
    commands = {
        "sample": ["sample", str(town)],
        "check": ["check", str(town), "-o", str(folder / "check")],
        "train": ["train", str(town), "-o", str(run), "--config", str(RECIPE)],
        "evaluate": ["evaluate", str(run), str(town), "-o", str(report), "--thorough"],
        "predict": ["predict", str(run), str(town / "images" / "test"), "-o", str(maps), "--label-sets"],
        "scene": ["predict", str(run), str(town / "scene" / "scene.tif"), "-o", str(maps)],
        "vectorize": ["vectorize", str(maps / "labels" / "scene.tif"), "-o", str(maps / "scene.gpkg")],
    }
    seconds = {}
    for name, command in commands.items():
        print(f"\n$ pixelwise {' '.join(command)}", flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, "-m", "pixelwise", *command], check=False).returncode
        seconds[name] = time.monotonic() - began
        if status:
            return status
    scores = json.loads((report / "scores.json").read_text(encoding="utf-8"))
    print(f"\nmean IoU on {scores['images']} images of towns never seen: {scores['mean_iou']:.3f}")
    low, high = scores["mean_iou_interval"]
    print(f"95 % interval   {low:.3f} to {high:.3f} over {scores['interval_units_origin']}")
    print(f"the report      {report / 'report.html'}; the data {folder / 'check' / 'check.html'}")
    print(f"the maps        {maps / 'overlay'}")
    print(f"the scene       {maps / 'labels' / 'scene.tif'}, its polygons {maps / 'scene.gpkg'}")
    print(f"how it trained  {run / 'report.html'}")
    times = ", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items())
    print(f"time            {times}; {sum(seconds.values()) / 60:.1f} minutes in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
