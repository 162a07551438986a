"""How much confidence means: calibration errors before and after temperatures, and the coverage of label sets.

    python benchmarks/calibration.py DATA --classes FILE --model NAME=BUNDLE --keep DIR --part fit|errors|sets|views

Low-resolution logits are computed once and kept in DIR. `fit` fits temperatures on the validation split, as it is and
perturbed; `errors` measures them on every pixel of the test split, beside temperatures per class taken whether or not
they were better on held-out images, and the one temperature that the test split itself would have chosen (which
nobody can know beforehand). `sets` draws 200 splits
of the validation and test images in two halves, sets the threshold on one and measures the coverage of every image of
the other; and once from validation to test. `views` compares averages over mirrored and scaled views on every ninth
test image. Results are added to benchmarks/results/calibration.json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelwise.data.dataset import Dataset, Split, open_dataset
from pixelwise.evaluation import temperature as fitting
from pixelwise.evaluation.calibration import CalibrationCounter, CalibrationScores
from pixelwise.evaluation.conformal import coverage, set_threshold
from pixelwise.infer.augmented import Averaged, Views
from pixelwise.infer.predictor import Running, computed
from pixelwise.metrics import ScoreCounter
from pixelwise.models.bundle import BundleFacts, load
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.head import confident_labels_from_low
from pixelwise.ops.resize import resize
from pixelwise.ops.temperature import sharpened, tempered
from pixelwise.types import IGNORE

RESULTS = Path(__file__).parent / "results" / "calibration.json"
SPLITS = 200
SHARE = 0.9


class Kept:
    """Low-resolution logits of whole splits, computed once and kept in a folder."""

    def __init__(self, model: Segmenter, name: str, folder: Path) -> None:
        self.model, self.name, self.folder = model, name, folder

    def logits(self, split: Split) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Logits [N, K, h, w] in float16, labels [N, H, W], and the size that the logits span."""
        path = self.folder / f"{self.name}_{split.name}.npz"
        if not path.exists():
            running = Running(self.model)
            low, truth = [], []
            for index in range(len(split)):
                sample = split[index]
                with computed(self.model, [sample.image], running.precision, running._low) as (
                    logits,
                    _,
                    span,
                ):
                    low.append(logits[0].float().numpy().astype(np.float16))
                truth.append(sample.labels)
            np.savez(path, low=np.stack(low), truth=np.stack(truth), span=span)
        with np.load(path) as found:
            return found["low"], found["truth"], (int(found["span"][0]), int(found["span"][1]))

    def pixels(self, split: Split, count: int = fitting.PIXELS) -> fitting.PixelSample:
        """A sample as `sample_pixels` takes it."""
        low, truth, span = self.logits(split)
        share, parts = -(-count // len(low)), []
        for index, labels in enumerate(truth):
            rng = np.random.default_rng([0, index])
            places = np.flatnonzero(labels.ravel() != IGNORE)
            rows, columns = np.divmod(
                rng.choice(places, min(share, len(places)), replace=False), labels.shape[1]
            )
            full = resize(torch.from_numpy(low[index][None].astype(np.float32)), span)[0].numpy()
            parts.append(
                (full[:, rows, columns].T, labels[rows, columns].astype(np.int64), np.full(len(rows), index))
            )
        return fitting.PixelSample(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def fit(model: Segmenter, data: Dataset, kept: Kept) -> dict[str, Any]:
    """Temperatures from the validation split."""
    clean = kept.pixels(data.val)
    shifted = fitting.sample_pixels(model, data.val, perturb=True)
    found = {
        "validation": fitting.fit_calibration(clean, "val"),
        "perturbed": fitting.fit_calibration(shifted, "val, perturbed", per_class=False),
    }
    rows = {name: one.model_dump(mode="json") for name, one in found.items()}
    for name, sample in (("per class, unchecked", clean), ("per class, perturbed, unchecked", shifted)):
        each = fitting.temperatures_by_class(sample, fitting.temperature(sample))
        rows[name] = {"temperatures": [round(float(value), 6) for value in each]}
    return rows


def errors(model: Segmenter, data: Dataset, kept: Kept, fitted: dict[str, Any]) -> dict[str, Any]:
    """Calibration errors on the test split with the temperatures of `fit`."""
    names = [spec.name for spec in model.classes]
    variants: dict[str, list[float] | None] = {"none": None}
    variants |= {name: one["temperatures"] for name, one in fitted.items()}
    variants["of the test split"] = [fitting.temperature(kept.pixels(data.test))]
    counters = {name: CalibrationCounter(names) for name in variants}
    scores = {name: ScoreCounter(names) for name in variants}
    low, truth, span = kept.logits(data.test)
    size = (truth.shape[1], truth.shape[2])
    for one, labels in zip(low, truth, strict=True):
        logits = torch.from_numpy(one[None].astype(np.float32))
        full = resize(logits, span)[..., : size[0], : size[1]]
        for name, given in variants.items():
            each = given if given is None or len(given) > 1 else given * len(names)
            found = confident_labels_from_low(logits, size, span=span, temperatures=each)
            predicted, confidence = found[0][0].numpy(), found[1][0].numpy()
            every = tempered(full, each)[0].numpy() if name in ("none", "validation", "perturbed") else None
            counters[name].add(labels, predicted, confidence, every)
            scores[name].add(labels, predicted)
    rows = {}
    for name, given in variants.items():
        row = _row(counters[name].scores())
        row["mean_iou"] = round(scores[name].scores().mean_iou, 6)
        rows[name] = row | {"temperatures": given}
    return rows


def sets(data: Dataset, kept: Kept) -> dict[str, Any]:
    """Coverage of label sets over many splits of the images that were not trained on."""
    samples = {split.name: kept.pixels(split, 500 * len(split)) for split in (data.val, data.test)}
    found = fitting.fit_calibration(samples["val"], "val")
    images: list[tuple[np.ndarray, np.ndarray]] = []
    for sample in samples.values():
        each = np.array(found.each(sample.logits.shape[1]))[sample.logits.argmax(axis=1)]
        shares = np.exp((sample.logits - sample.logits.max(axis=1, keepdims=True)) / each[:, None])
        shares /= shares.sum(axis=1, keepdims=True)
        images += [
            (shares[sample.image == k].T, sample.truth[sample.image == k]) for k in np.unique(sample.image)
        ]
    true = [shares[truth, np.arange(len(truth))] for shares, truth in images]
    rng = np.random.default_rng(0)
    means, worst, sizes, pooled, thresholds = [], [], [], [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(images))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        thresholds.append(set_threshold([true[k] for k in first], SHARE))
        rows = [coverage(*images[k], thresholds[-1]) for k in second]
        covered = np.array([row[0] for row in rows])
        means.append(covered.mean())
        worst.append(np.quantile(covered, 0.1))
        sizes.append(np.mean([row[1] for row in rows]))
        pooled.append(covered)
    count = len(np.unique(samples["val"].image))
    across = set_threshold(true[:count], SHARE)
    to_test = [coverage(*one, across) for one in images[count:]]
    every = np.concatenate(pooled)
    return {
        "share": SHARE,
        "splits": SPLITS,
        "images": len(images),
        "pixels_per_image": 500,
        "threshold": _spread(thresholds),
        "mean_coverage_of_a_split": _spread(means),
        "splits_at_the_share_or_above": round(float(np.mean(np.array(means) >= SHARE)), 3),
        "coverage_of_an_image": _spread(every),
        "images_at_the_share_or_above": round(float(np.mean(every >= SHARE)), 3),
        "classes_in_a_set": _spread(sizes),
        "validation_to_test": {
            "mean_coverage": round(float(np.mean([row[0] for row in to_test])), 4),
            "classes_in_a_set": round(float(np.mean([row[1] for row in to_test])), 3),
        },
    }


def views(model: Segmenter, data: Dataset, fitted: list[float]) -> dict[str, Any]:
    """Mean IoU and calibration errors of averages over views, on some of the test images."""
    names = [spec.name for spec in model.classes]
    split: Split = replace(data.test, items=data.test.items[::9])
    temperatures = fitted if len(fitted) > 1 else fitted * len(names)
    plain = model.facts if isinstance(model.facts, BundleFacts) else BundleFacts()
    cases = {"one view": Views(), "flips": Views(True), "flips and scales": Views(True, (0.75, 1.0, 1.25))}
    rows: dict[str, Any] = {}
    for name, chosen in cases.items():
        model.facts = plain
        averaged = Averaged([model], chosen)
        ways = {"as it is": None, "tempered after": temperatures}
        counters = {way: CalibrationCounter(names) for way in ways}
        score, began = ScoreCounter(names), time.perf_counter()
        for index in range(len(split)):
            sample = split[index]
            shares = averaged.opinion(sample.image).probabilities
            labels = shares.argmax(axis=0).astype(np.uint8)
            score.add(sample.labels, labels)
            for way, given in ways.items():
                sure = shares.max(axis=0) if given is None else sharpened(shares, given)
                counters[way].add(sample.labels, labels, sure)
        rows[name] = {
            "cost": averaged.cost,
            "seconds_an_image": round((time.perf_counter() - began) / len(split), 3),
            "mean_iou": round(score.scores().mean_iou, 4),
            "ece": {way: round(counter.scores().ece, 4) for way, counter in counters.items()},
        }
    return {"images": len(split), "views": rows}


def _row(scores: CalibrationScores) -> dict[str, Any]:
    return {
        "ece": round(scores.ece, 4),
        "classwise_ece": None if np.isnan(scores.classwise_ece) else round(scores.classwise_ece, 4),
        "confidence": round(scores.confidence, 4),
        "accuracy": round(scores.accuracy, 4),
        "classes": {group.name: round(group.ece, 4) for group in scores.classes},
        "distances": {group.name: round(group.ece, 4) for group in scores.distances},
    }


def _spread(values: Any) -> dict[str, float]:
    quantiles = np.quantile(values, (0.05, 0.5, 0.95))
    named = dict(zip(("5 %", "median", "95 %"), quantiles, strict=True)) | {"mean": np.mean(values)}
    return {name: round(float(value), 4) for name, value in named.items()}


def main() -> None:
    """Measure one part for one model and add it to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--classes", type=Path)
    parser.add_argument("--model", required=True, help="NAME=BUNDLE")
    parser.add_argument("--keep", type=Path, required=True, help="folder for logits, some 400 MB a model")
    parser.add_argument("--part", choices=["fit", "errors", "sets", "views"], default="fit")
    options = parser.parse_args()
    name, _, path = options.model.partition("=")
    model, data = load(path), open_dataset(options.data, classes=options.classes)
    kept = Kept(model, name, options.keep)
    if options.part == "fit":
        measured = fit(model, data, kept)
    elif options.part == "errors":
        measured = errors(model, data, kept, _results()[name]["fit"])
    elif options.part == "sets":
        measured = sets(data, kept)
    else:
        measured = views(model, data, _results()[name]["fit"]["perturbed"]["temperatures"])
    results = _results()  # another part may have been added meanwhile
    results.setdefault(name, {})[options.part] = measured
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(measured, indent=1))


def _results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


if __name__ == "__main__":
    main()
