"""Whether 95 % intervals of the accuracy and of the ROC area hold the true value where patients have several images.

Every patient has one class and one to a dozen images. An image scores distance * class + an effect of its patient +
noise, both normal, `likeness` being the patient's share of the variance; so the true accuracy is Phi(distance / 2)
and the true area Phi(distance / sqrt(2)).

    python benchmarks/classification_coverage.py --simulations 1000
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from scipy.special import expit, ndtr

from pixelwise.classification import classification_scores
from pixelwise.evaluation.grouped import with_groups

CASES = {  # patients, mean images of one, likeness, distance
    "351 patients, 1.5 images each": (351, 1.5, 0.8, 3.4),
    "100 patients, 3 images each": (100, 3.0, 0.8, 3.4),
    "100 patients, 3 images each, no likeness": (100, 3.0, 0.0, 3.4),
    "30 patients, 5 images each": (30, 5.0, 0.8, 2.5),
}


def main() -> None:
    """Draw, count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=1000)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    print("percent of intervals that hold the truth     accuracy: patients  images    area: patients  images")
    for case, (patients, mean, likeness, distance) in CASES.items():
        true = float(ndtr(distance / 2)), float(ndtr(distance / math.sqrt(2)))
        held = np.zeros((2, 2))
        for _ in range(given.simulations):
            sizes = np.minimum(rng.geometric(1 / mean, patients), 12)
            of = np.repeat(np.arange(patients), sizes)
            targets = (np.arange(patients) % 2)[of]
            effect = rng.normal(size=patients)[of] * math.sqrt(likeness)
            score = distance * (targets - 0.5) + effect + rng.normal(size=len(of)) * math.sqrt(1 - likeness)
            shares = np.stack([expit(-score), expit(score)], axis=1)
            single = classification_scores(shares, targets, ["normal", "ill"])
            grouped = with_groups(single, shares, targets, [str(one) for one in of])
            for column, scores in enumerate((grouped, single)):
                if scores.roc is None:
                    raise ValueError("one class is missing")
                bounds = scores.accuracy_interval, scores.roc.area_interval
                held[:, column] += [
                    low <= value <= high for value, (low, high) in zip(true, bounds, strict=True)
                ]
        cells = 100 * held / given.simulations
        print(
            f"{case:<45}{cells[0, 0]:>18.1f}{cells[0, 1]:>8.1f}{cells[1, 0]:>18.1f}{cells[1, 1]:>8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
