"""Run the experiments of the course one by one; each stores its result as JSON in recipes/results.

    python recipes/course/run.py --list
    python recipes/course/run.py unet@camvid --data DATA --seed 0
    python recipes/course/run.py cell_full@xray --data DATA --judge
    python recipes/course/run.py --table

DATA holds the datasets by name (camvid, aerial, digits, xray). Prepared copies and run folders go to --work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import stored

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does


@dataclass(frozen=True)
class Experiment:
    """One run: NAME@DATA, what it shows, and its options."""

    name: str
    data: str
    shows: str
    options: dict[str, Any]


def experiments() -> dict[str, Experiment]:
    """All of experiments.yaml by name."""
    document = _document()
    found = {}
    for group in document["groups"].values():
        for name, own in group["runs"].items():
            for data in group["data"]:
                options = _merged(group["all"], own)
                found[f"{name}@{data}"] = Experiment(name, data, group["shows"], options)
    return found


def run(experiment: Experiment, folder: Path, work: Path, seed: int) -> dict[str, Any]:
    """Prepare the data, train, evaluate on the test split; the result as plain values."""
    import pixelwise as pw
    from pixelwise.config import fill
    from pixelwise.models.bundle import load_network
    from pixelwise.training.clock import CLOCKS

    data = opened(experiment, folder, work)
    options = fill(pw.TrainOptions(), {**_with_weights(experiment.options, folder, work), "seed": seed})
    out = work / "runs" / f"{experiment.name}@{experiment.data}-seed{seed}"
    clock = CLOCKS[options.clock]
    began = clock()
    trained = pw.train(data, out=out, options=options)
    minutes = (clock() - began) / 60
    model = load_network(out)
    scores = pw.evaluate(model, data.test, out=out / "test")
    measure, value = scores.headline
    return {
        "experiment": f"{experiment.name}@{experiment.data}",
        "shows": experiment.shows,
        "command": f"python recipes/course/run.py {experiment.name}@{experiment.data} --data DATA --seed {seed}",
        "seed": seed,
        "minutes": round(minutes, 2),
        "steps": trained.steps,
        "parameters": sum(p.numel() for p in model.parameters()),
        "measure": measure,
        "test": round(value, 5),
        "validation": trained.score,
        "scores": scores.as_dict(),
        "options": experiment.options,
    }


def judge(experiment: Experiment, folder: Path, work: Path, seed: int) -> dict[str, Any]:
    """The stored result of a finished run with the scores and intervals that its network gets now."""
    import pixelwise as pw
    from pixelwise.errors import LayoutError
    from pixelwise.models.bundle import load_network

    name = f"{experiment.name}@{experiment.data}-seed{seed}"
    path = stored.RESULTS / f"{name}.json"
    if not path.exists():
        raise LayoutError("there is no result to judge again", file=path, remedy="run the experiment first")
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    scores = pw.evaluate(load_network(work / "runs" / name), opened(experiment, folder, work).test)
    again = {"test": round(scores.headline[1], 5), "scores": scores.as_dict(), "judged": stored.revision()}
    return {**result, **again}


def main() -> int:
    """Parse, run, store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="experiments, as --list names them")
    parser.add_argument("--data", type=Path, help="folder of the datasets")
    parser.add_argument("--work", type=Path, default=Path("course-work"), help="for copies and run folders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true", help="all stored results")
    parser.add_argument("--judge", action="store_true", help="do not train, judge finished runs once more")
    given = parser.parse_args()
    known = experiments()
    if given.table:
        print(stored.table())
        return 0
    if given.list or not given.names:
        for name, experiment in known.items():
            print(f"{name:<32} {experiment.shows}")
        return 0
    unknown = [name for name in given.names if name not in known]
    if unknown or given.data is None:
        print(f"unknown: {', '.join(unknown)}; see --list" if unknown else "give --data", file=sys.stderr)
        return 2
    from pixelwise.errors import PixelwiseError

    for name in given.names:
        try:
            result = (judge if given.judge else run)(known[name], given.data, given.work, given.seed)
        except PixelwiseError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        path = stored.store(f"{name}-seed{given.seed}", result)
        print(f"{name}  {result['measure']} {result['test']:.4f}  {path}")
    return 0


def opened(experiment: Experiment, folder: Path, work: Path) -> Any:
    """The dataset of an experiment, prepared if it has to be."""
    from prepare import prepare

    import pixelwise as pw

    facts = _document()["data"][experiment.data]
    source = folder / facts["from"]
    classes = stored.ROOT / facts["classes"] if "classes" in facts else None
    split = f"{source}/{facts['splits']}" if "splits" in facts else None
    data = pw.open_dataset(source, classes=classes, split=split)
    if "size" in facts or "tiles" in facts:
        copy = prepare(data, work / "data" / experiment.data, size=facts.get("size"), cut=facts.get("tiles"))
        data = pw.open_dataset(copy)
    return replace(data, train=data.train.evenly(facts["train"])) if "train" in facts else data


def _with_weights(options: dict[str, Any], folder: Path, work: Path) -> dict[str, Any]:
    """The options with a file or run in the place of {mobilenet} and {run:NAME@DATA}."""
    named = options.get("transfer", {}).get("encoder_weights", "")
    if named == "{mobilenet}":
        path = _imagenet_encoder(folder, work)
    elif named.startswith("{run:"):
        path = earlier_run(named.removeprefix("{run:").removesuffix("}"), work)
    else:
        return options
    return {**options, "transfer": {**options["transfer"], "encoder_weights": str(path)}}


def _imagenet_encoder(folder: Path, work: Path) -> Path:
    """The file of the converted encoder, written when first asked for."""
    from pixelwise.models.encoderfiles import save_encoder_weights
    from pixelwise.models.tfjs import convert_tfjs_mobilenet

    path = work / "mobilenet_v1.safetensors"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        save_encoder_weights(path, convert_tfjs_mobilenet(folder / "weights" / "mobilenet_v1_1.0_224_tfjs"))
    return path


def earlier_run(name: str, work: Path) -> Path:
    """The folder of the finished run of experiment `name` with seed 0."""
    from pixelwise.errors import BundleError

    path = work / "runs" / f"{name}-seed0"
    if not (path / "test").exists():  # what a run writes last
        raise BundleError(
            f"the encoder of {name} is needed, and that run is not there or not finished",
            file=path,
            remedy=f"python recipes/course/run.py {name} --data DATA --work {work} --seed 0",
        )
    return path


def _document() -> dict[str, Any]:
    import yaml

    document: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "experiments.yaml").read_text())
    return document


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return merged


if __name__ == "__main__":
    sys.exit(main())
