"""Hand-made features and classical classifiers beside the networks: row 30 of the course.

Histograms of oriented gradients, and the pixels themselves, each given to a support vector machine (histograms only),
nearest neighbours and a dense net; same split and same test set as the networks, with 95 % intervals of the accuracy
and, for two classes, of the ROC area. Images of one patient count as one finding (docs/intervals.md).

    python recipes/course/classical.py digits --data DATA
    python recipes/course/classical.py xray --data DATA
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from stored import store

import pixelwise as pw
from pixelwise.classification import roc_curve, wilson_interval
from pixelwise.data.dataset import Split
from pixelwise.data.groups import find_groups
from pixelwise.evaluation.grouped import area_estimate, share_estimate
from pixelwise.evaluation.units import Units, units_of

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


def contenders(cell: int) -> dict[str, tuple[Callable[[Array], Array], Any]]:
    """Features and classifier by name; histograms of cells of `cell` pixels."""

    def flat(images: Array) -> Array:
        return images.reshape(len(images), -1)

    def edges(images: Array) -> Array:
        return np.stack([hog(one, cell=cell) for one in images])

    def dense() -> MLPClassifier:
        return MLPClassifier((256, 128), early_stopping=True, random_state=0, max_iter=60)

    return {
        "hog and support vector machine": (edges, make_pipeline(StandardScaler(), SVC(C=10))),
        "hog and nearest neighbours": (edges, KNeighborsClassifier(5)),
        "hog and dense net": (edges, make_pipeline(StandardScaler(), dense())),
        "nearest neighbours": (flat, KNeighborsClassifier(5)),
        "dense net": (flat, dense()),
    }


def judged(right: Array, units: Units, positive: Array | None, scores: Array | None) -> dict[str, Any]:
    """Accuracy of images that are `right` [N], and the ROC area of `scores` [N], with intervals over `units`."""
    alone = units.origin == "images"
    share = share_estimate(right, units)
    found: dict[str, Any] = {
        "test": share.value,
        "interval": wilson_interval(int(right.sum()), len(right)) if alone else share.interval,
    }
    if positive is not None and scores is not None:
        area = area_estimate(scores, positive, units)
        around = roc_curve(scores, positive, "").area_interval if alone else area.interval
        found |= {"roc_area": area.value, "roc_area_interval": around}
    return {**found, "images": len(right), "units": units.count, "units_origin": units.origin}


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
    units = units_of(find_groups(data.test))
    two = len(data.classes) == 2
    for name, (features, classifier) in contenders(4 if given.dataset == "digits" else 16).items():
        began = time.process_time()
        classifier.fit(features(train), truth)
        found = features(test)
        right = classifier.predict(found) == wanted
        scores = None
        if two:
            ranked = hasattr(classifier, "decision_function")
            scores = classifier.decision_function(found) if ranked else classifier.predict_proba(found)[:, 1]
        result: dict[str, Any] = {
            "experiment": f"{name}@{given.dataset}",
            "shows": "30: hand-made features and classical classifiers",
            "command": f"python recipes/course/classical.py {given.dataset} --data DATA",
            "measure": "accuracy",
            **judged(right, units, wanted == 1 if two else None, scores),
            "seconds": round(time.process_time() - began, 1),
        }
        store(f"{name.replace(' ', '_')}+{given.dataset}", result)
        print(
            f"{name:<32} {result['test']:.4f}  {result.get('roc_area', '')}  {result['seconds']} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
