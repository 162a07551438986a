"""Hand-made features and classical classifiers beside the networks: row 30 of the course.

Histograms of oriented gradients with a support vector machine, nearest neighbours on pixels, and a dense net on
pixels; same split and same test set as the networks, accuracy with Wilson's interval, ROC area (two classes) with a
bootstrap interval over images.

    python recipes/course/classical.py digits --data DATA
    python recipes/course/classical.py xray --data DATA
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import pixelwise as pw
from pixelwise.data.dataset import Split

RESULTS = Path(__file__).resolve().parent.parent / "results"
Array = NDArray[Any]


def hog(image: Array, *, cell: int, bins: int = 9) -> Array:
    """Histograms of oriented gradients of one grey image, cells of `cell` pixels, blocks of 2 x 2 cells.

    Dalal, Triggs: Histograms of Oriented Gradients for Human Detection, 2005. Unsigned directions, each pixel
    votes for its two nearest bins, blocks are normalised by L2.
    """
    rows, columns = np.gradient(image.astype(np.float64))
    size = np.hypot(rows, columns)
    place = np.mod(np.arctan2(rows, columns), np.pi) / np.pi * bins - 0.5
    low = np.floor(place).astype(int)
    share = place - low
    height, width = image.shape[0] // cell, image.shape[1] // cell
    cells = np.zeros((height, width, bins))
    row, column = np.indices(image.shape)
    inside = (row < height * cell) & (column < width * cell)
    where = (row[inside] // cell, column[inside] // cell)
    np.add.at(cells, (*where, low[inside] % bins), (size * (1 - share))[inside])
    np.add.at(cells, (*where, (low[inside] + 1) % bins), (size * share)[inside])
    blocks = [cells[r : r + 2, c : c + 2].ravel() for r in range(height - 1) for c in range(width - 1)]
    return np.concatenate([block / math.sqrt(block @ block + 1e-6) for block in blocks])


def arrays(split: Split) -> tuple[Array, Array]:
    """All images [N, H, W] as grey in 0..1 and targets [N]."""
    pairs = [split.classified(index) for index in range(len(split))]
    images = np.stack([one.image.mean(axis=2) for one in pairs]) / 255
    return images, np.array([one.target for one in pairs])


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return middle - reach, middle + reach


def area_interval(targets: Array, scores: Array, *, rounds: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval of the ROC area over images, seed 0."""
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(rounds):
        drawn = rng.integers(len(targets), size=len(targets))
        if len(np.unique(targets[drawn])) == 2:
            areas.append(roc_auc_score(targets[drawn], scores[drawn]))
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Train each classifier, score it on the test split, store and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=["digits", "xray"])
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    data = pw.open_dataset(given.data / given.dataset)
    train, truth = arrays(data.train)
    test, wanted = arrays(data.test)
    cell = 4 if given.dataset == "digits" else 16
    flat: Callable[[Array], Array] = lambda images: images.reshape(len(images), -1)  # noqa: E731
    edges: Callable[[Array], Array] = lambda images: np.stack([hog(one, cell=cell) for one in images])  # noqa: E731
    scaled = make_pipeline(StandardScaler(), SVC(C=10))
    contenders = {
        "hog and support vector machine": (edges, scaled),
        "nearest neighbours": (flat, KNeighborsClassifier(5)),
        "dense net": (flat, MLPClassifier((256, 128), early_stopping=True, random_state=0, max_iter=60)),
    }
    for name, (features, classifier) in contenders.items():
        began = time.process_time()
        classifier.fit(features(train), truth)
        found = features(test)
        right = int((classifier.predict(found) == wanted).sum())
        result: dict[str, Any] = {
            "experiment": f"{name}@{given.dataset}",
            "shows": "30: hand-made features and classical classifiers",
            "command": f"python recipes/course/classical.py {given.dataset} --data DATA",
            "measure": "accuracy",
            "test": right / len(wanted),
            "interval": wilson(right, len(wanted)),
            "seconds": round(time.process_time() - began, 1),
            "images": len(wanted),
        }
        if len(data.classes) == 2:
            scores = (
                classifier.decision_function(found)
                if hasattr(classifier, "decision_function")
                else classifier.predict_proba(found)[:, 1]
            )
            result["roc_area"] = float(roc_auc_score(wanted, scores))
            result["roc_area_interval"] = area_interval(wanted, scores)
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name.replace(' ', '_')}+{given.dataset}.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(
            f"{name:<32} {result['test']:.4f}  {result.get('roc_area', '')}  {result['seconds']} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
