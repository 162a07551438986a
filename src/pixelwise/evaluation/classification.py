"""A classifier on a split of images that have one class each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.classification import ClassificationScores, classification_scores
from pixelwise.data.dataset import Split
from pixelwise.data.groups import find_groups
from pixelwise.evaluation.answers import Progress, answers
from pixelwise.evaluation.checks import check_split
from pixelwise.evaluation.grouped import with_groups
from pixelwise.evaluation.report import confusion_csv, split_facts, write_report
from pixelwise.files import locked
from pixelwise.infer.images import classify_all
from pixelwise.models.classifier import Classifier
from pixelwise.report.pictures import display_rgb
from pixelwise.report.tables import csv_text
from pixelwise.report.tasks import Guess, classification_page
from pixelwise.types import Image

SHOWN = 12
"""Images in the report."""

Shares = NDArray[np.float32]  # [N, K]
Targets = NDArray[np.int64]  # [N]


def evaluate_classifier(
    network: Classifier,
    split: Split,
    *,
    out: str | Path | None = None,
    title: str = "",
    progress: Progress | None = None,
) -> ClassificationScores:
    """Classify every image of `split` and compare with its class.

    Args:
        network: Runs on the device it is on, in the precision of its bundle.
        split: Images with a class each.
        out: Folder for `scores.json`, `confusion.csv`, `images.csv` and `report.html`; without it nothing is
            written.
        title: Heading of the report.
        progress: Called with the images done and their number.

    Raises:
        LayoutError: the dataset has a class per pixel.
        ClassesError: network and dataset have other classes.
        DataError: the split is empty, or an image does not suit the network; the file is named.
        OutputError: `out` is in use, full or read-only.
    """
    check_split(network, split)
    if out is None:
        return _scores(network, split, *_ask(network, split, progress))
    with locked(out) as folder:  # before the work: a folder that is in use should not cost an hour
        shares, targets = _ask(network, split, progress)
        scores = _scores(network, split, shares, targets)
        page = classification_page(
            scores.as_dict(),
            network.classes,
            title=title or f"{network.encoder_name} on {split.name}",
            facts=split_facts(network, split, {"images": f"{scores.images:,}"}),
            worst=[_guess(split, index, shares, targets) for index in worst_first(shares, targets)[:SHOWN]],
        )
        names = [spec.name for spec in network.classes]
        tables = {
            "confusion.csv": confusion_csv(scores.confusion, names),
            "images.csv": csv_text(
                ["image", "true", "predicted", *names], _rows(split, names, shares, targets)
            ),
        }
        write_report(folder, scores.as_dict(), page, tables)
    return scores


def worst_first(shares: Shares, targets: Targets) -> list[int]:
    """The images, those first whose true class lies furthest behind the most probable other one.

    >>> worst_first(np.array([[0.4, 0.6], [0.9, 0.1], [0.6, 0.4]], np.float32), np.array([0, 1, 0]))
    [1, 0, 2]
    """
    places = np.arange(len(targets))
    others = shares.copy()
    others[places, targets] = -1
    lead = shares[places, targets] - others.max(axis=1)
    order: list[int] = np.argsort(lead, kind="stable").tolist()
    return order


def _ask(network: Classifier, split: Split, progress: Progress | None) -> tuple[Shares, Targets]:
    def read(index: int) -> tuple[Image, int]:
        one = split.classified(index)
        return one.image, one.target

    def ask(images: Sequence[Image]) -> Sequence[Shares]:
        return list(classify_all(network, images))

    found = [(one.said, one.truth) for one in answers(network, split, read, ask, progress)]
    return np.stack([shares for shares, _ in found]), np.array([target for _, target in found], np.int64)


def _scores(network: Classifier, split: Split, shares: Shares, targets: Targets) -> ClassificationScores:
    scores = classification_scores(shares, targets, [spec.name for spec in network.classes])
    return with_groups(scores, shares, targets, find_groups(split))


def _rows(split: Split, names: Sequence[str], shares: Shares, targets: Targets) -> list[list[object]]:
    return [
        [name, names[target], names[int(share.argmax())], *(f"{value:.6f}" for value in share)]
        for name, target, share in zip(split.names, targets.tolist(), shares, strict=True)
    ]


def _guess(split: Split, index: int, shares: Shares, targets: Targets) -> Guess:
    picture = display_rgb(split.image(index))
    return Guess(split.names[index], picture, int(targets[index]), shares[index].tolist())
