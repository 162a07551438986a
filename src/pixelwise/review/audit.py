"""From a labelled dataset to a page and a patch of probable label errors; from a model to images worth labelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.dataset import Dataset, Split
from pixelwise.data.read import read_image
from pixelwise.errors import OptionError
from pixelwise.evaluation.answers import Progress
from pixelwise.files import locked, write_text
from pixelwise.infer.jobs import find_jobs
from pixelwise.infer.predictor import predict
from pixelwise.models.bundle import load_network
from pixelwise.models.segmenter import Segmenter
from pixelwise.ops.cards import pick_device
from pixelwise.report.pictures import display_rgb
from pixelwise.report.review import (
    Suspect,
    Unlabelled,
    label_errors_page,
    next_images_page,
    surroundings,
)
from pixelwise.report.tables import csv_text
from pixelwise.review.choice import Chosen, choose, entropy_of
from pixelwise.review.folds import Cutting, Fold, Say, labelled, out_of_fold
from pixelwise.review.labels import Evidence, Region, SuspectOptions
from pixelwise.review.patch import Correction, Patch, write_patch
from pixelwise.review.search import Search, judged
from pixelwise.training.options import TrainOptions

EVIDENCE = "evidence.npz"
PAGE, PATCH = "report.html", "patch.json"


@dataclass(frozen=True)
class AuditOptions:
    """How a dataset is gone through.

    Attributes:
        folds: So many networks.
        by: What keeps images in one fold, see `out_of_fold`.
        split: Whose labels: all, train, val or test.
        shown: Regions on the page at most.
    """

    folds: int = 3
    by: Cutting = "groups"
    split: str = "all"
    shown: int = 100


@dataclass(frozen=True)
class Found:
    """What was found: regions, the images they are in, the images that were judged, and the files written."""

    regions: int
    images: int
    judged: int
    page: Path
    patch: Path

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {
            "regions": self.regions,
            "images": self.images,
            "judged": self.judged,
            "report": str(self.page),
            "patch": str(self.patch),
        }


def find_label_errors(
    data: Dataset,
    out: str | Path,
    *,
    options: TrainOptions,
    audit: AuditOptions | None = None,
    suspects: SuspectOptions | None = None,
    say: Say = print,
    progress: Progress | None = None,
) -> Found:
    """Train out-of-fold networks, and write what they contradict: report.html and patch.json.

    Images are read one by one; a few numbers per class are kept of each fold, and the outline of each region.
    A call that was interrupted goes on with the fold it was in.

    Args:
        data: A dataset with a class per pixel.
        out: Folder for the page, the patch and the runs of the folds.
        options: Of each training.
        audit: How the dataset is gone through.
        suspects: What counts as a region.
        say: Told what is decided and done.
        progress: Called with the images judged and their number.

    Raises:
        OptionError: an option out of range, or fewer groups than folds.
        OutputError: `out` is in use, or was begun with other data or options.
        DataError: an image or a mask cannot be read.
    """
    audit, suspects = audit or AuditOptions(), suspects or SuspectOptions()
    images = labelled(data, audit.split)
    with locked(out) as folder:
        done = _Count(2 * len(images), progress)
        evidence, folds = Evidence.none(len(data.classes)), []
        for fold in out_of_fold(
            data, images, folder, count=audit.folds, by=audit.by, options=options, say=say
        ):
            evidence = evidence.plus(_evidence(fold, options.device, len(data.classes), done))
            folds.append(fold)
        search = Search(evidence, suspects)
        for fold in folds:
            for sample, shares in judged(_network(fold, options.device), fold.unseen):
                search.add(sample, shares)
                done.one()
        regions = search.found(images.names)
        write_patch(folder / PATCH, patch_of(regions, data))
        write_text(folder / PAGE, _page(regions[: audit.shown], len(regions), folds, data, options, folder))
    in_images = len({region.image for region in regions})
    return Found(len(regions), in_images, len(images), folder / PAGE, folder / PATCH)


def choose_images(
    model: str | Path,
    images: Sequence[Path],
    out: str | Path,
    *,
    count: int = 20,
    device: str = "auto",
    progress: Progress | None = None,
) -> Chosen:
    """Choose the images to label next and write next.csv and next.html; see `review.choice`.

    Raises:
        OptionError: the model is no segmenter, or `count` is not positive.
        DataError: there is no image, or one cannot be read or does not suit the model.
    """
    network = load_network(model)
    if not isinstance(network, Segmenter):
        raise OptionError(
            f"a model that can {network.task}", remedy="give one trained with --task segment", file=model
        )
    network.to(pick_device(device))
    with locked(out) as folder:
        chosen = choose(network, find_jobs(images, folder), count, progress=progress)
        rows = [
            [place, one.name, f"{one.uncertainty:.6f}", f"{one.distance:.6f}"]
            for place, one in enumerate(chosen.choices, 1)
        ]
        write_text(folder / "next.csv", csv_text(["rank", "image", "uncertainty", "distance"], rows))
        facts = {
            "model": str(model),
            "images": f"{chosen.images:,}, of which {len(chosen.choices)} were chosen",
            "mean uncertainty of all": f"{chosen.mean_uncertainty:.3f}",
        }
        shown = []
        for one in chosen.choices:
            image = read_image(one.image)
            entropy = entropy_of(network, image)
            shown.append(Unlabelled(one.name, one.uncertainty, one.distance, display_rgb(image), entropy))
        write_text(folder / "next.html", next_images_page(shown, title="Images to label next", facts=facts))
    return chosen


class _Count:
    """Images judged over all folds and passes."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def one(self, count: int = 1) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)


def _network(fold: Fold, device: str) -> Segmenter:
    return fold.network().to(pick_device(device))


def _evidence(fold: Fold, device: str, classes: int, done: _Count) -> Evidence:
    """What the network of a fold makes of its labels, from the file of an earlier call if there is one."""
    path = fold.folder / EVIDENCE
    if path.exists():
        done.one(len(fold.unseen))
        return Evidence.read(path)
    evidence, model = Evidence.none(classes), _network(fold, device)
    for sample, shares in judged(model, fold.unseen):
        evidence = evidence.plus(Evidence.of(sample.labels, shares))
        done.one()
    evidence.write(path)
    return evidence


def patch_of(regions: Sequence[Region], data: Dataset) -> Patch:
    """Ranked regions as a patch of which nothing is accepted."""
    names = [spec.name for spec in data.classes]
    corrections = [
        Correction(
            rank=rank,
            image=region.image,
            box=region.box,
            runs=list(region.runs),
            given=names[region.given],
            suggested=names[region.suggested],
            score=round(region.score, 4),
        )
        for rank, region in enumerate(regions, 1)
    ]
    return Patch(dataset=data.root.name, classes=names, regions=corrections)


def _page(
    first: Sequence[Region],
    total: int,
    folds: Sequence[Fold],
    data: Dataset,
    options: TrainOptions,
    folder: Path,
) -> str:
    shown: list[Suspect] = []
    # each network is loaded once more: keeping the pictures of all images would fill the memory
    for fold in folds:
        model = _network(fold, options.device)
        places = {name: index for index, name in enumerate(fold.unseen.names)}
        for rank, region in enumerate(first, 1):
            if region.image in places:
                shown.append(_suspect(rank, region, model, fold.unseen, places[region.image]))
    budget = f"{options.epochs:g} epochs" if options.epochs else f"{options.minutes or 20:g} minutes"
    network = f"{options.model} on {options.chosen_encoder}"
    facts = {
        "data": str(data.root),
        "networks": f"{len(folds)}, {network}, {budget} each; every image was judged by "
        "the one that had not seen it",
        "images": f"{sum(len(fold.unseen) for fold in folds):,}",
        "regions": f"{total:,} in the patch",
    }
    return label_errors_page(
        sorted(shown, key=lambda one: one.rank),
        data.classes,
        title=f"Label errors in {data.root.name}",
        facts=facts,
        total=total,
        command=f"pixelwise review apply {folder / PATCH} {data.root} -o CORRECTED",
    )


def _suspect(rank: int, region: Region, model: Segmenter, split: Split, index: int) -> Suspect:
    sample = split[index]
    around = surroundings(region.box, sample.labels.shape)
    shape = np.zeros(sample.labels.shape, np.bool_)
    top, left, bottom, right = region.box
    shape[top:bottom, left:right] = region.shape
    return Suspect(
        rank=rank,
        name=region.image,
        box=region.box,
        area=region.area,
        given=region.given,
        suggested=region.suggested,
        score=region.score,
        rgb=display_rgb(sample.image)[around],
        labels=sample.labels[around],
        prediction=predict(model, sample.image)[around],
        shape=shape[around],
    )
