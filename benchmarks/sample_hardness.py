"""How hard is the sample town: random forests on colours and on small patches, against a network.

    python benchmarks/sample_hardness.py [DATA] [--model RUN]

Without DATA the sample is written to a temporary folder. Prints one JSON object: mean IoU and the IoU of
every class of a forest on the three colours of a pixel, of a forest on all values of its 7 x 7 neighbourhood
and, with --model, of a network. One confusion matrix over the pixels of the test tiles in each case.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

from pixelwise.data.sample import CLASSES, write_sample


def read(path: Path) -> np.ndarray:
    """The values of a TIFF or PNG file."""
    if path.suffix == ".tif":
        return tifffile.imread(path)
    with Image.open(path) as image:
        return np.asarray(image)


def sampled(data: Path, split: str, pixels: int, window: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, 3 * window * window] and labels [N] of about `pixels` random places of a split."""
    rng = np.random.default_rng(seed)
    images = sorted(p for p in (data / "images" / split).iterdir() if p.suffix in (".tif", ".png"))
    features, truth, half = [], [], window // 2
    for path in images:
        image, labels = read(path), read(data / "masks" / split / path.name)
        y = rng.integers(half, labels.shape[0] - half, size=pixels // len(images))
        x = rng.integers(half, labels.shape[1] - half, size=pixels // len(images))
        views = np.lib.stride_tricks.sliding_window_view(image, (window, window), axis=(0, 1))
        features.append(views[y - half, x - half].reshape(len(y), -1))
        truth.append(labels[y, x])
    return np.concatenate(features), np.concatenate(truth)


def scores(confusion: np.ndarray) -> dict[str, object]:
    """Mean IoU and IoU per class from counts [K, K], rows truth."""
    hit = np.diag(confusion)
    iou = hit / np.maximum(1, confusion.sum(0) + confusion.sum(1) - hit)
    return {"mean_iou": round(float(iou.mean()), 4)} | {
        spec.name: round(float(value), 4) for spec, value in zip(CLASSES, iou, strict=True)
    }


def forest(data: Path, window: int, pixels: int, trees: int) -> dict[str, object]:
    """Train a forest on windows of train tiles and score it on windows of test tiles."""
    x, y = sampled(data, "train", pixels, window, 0)
    model = RandomForestClassifier(trees, min_samples_leaf=5, max_features="sqrt", random_state=0, n_jobs=1)
    model.fit(x, y)
    x, y = sampled(data, "test", pixels, window, 1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(confusion, (y, model.predict(x)), 1)
    return scores(confusion)


def network(data: Path, model: Path) -> dict[str, object]:
    """Score a bundle or a run folder on the test tiles."""
    from pixelwise.data.dataset import open_dataset
    from pixelwise.evaluation import evaluate
    from pixelwise.models.bundle import load

    return scores(evaluate(load(model), open_dataset(data).test).confusion)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, help="a sample folder; default: write one")
    parser.add_argument("--model", type=Path, help="a bundle or a run folder to score as well")
    parser.add_argument("--pixels", type=int, default=120_000, help="pixels to learn from, and to test on")
    parser.add_argument("--trees", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or write_sample(Path(folder) / "town", scene=0)
        found: dict[str, object] = {}
        for name, window in (("forest_rgb", 1), ("forest_7x7", 7)):
            start = time.perf_counter()
            found[name] = forest(data, window, options.pixels, options.trees)
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        if options.model is not None:
            found["network"] = network(data, options.model)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
