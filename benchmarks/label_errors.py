"""Label errors planted into CamVid, and how many of them `pixelwise review labels` finds.

Of the connected regions of at least 200 pixels in the training masks 5 % are drawn (seeded) and given another
class that somebody might have meant. Out-of-fold networks, begun from an ImageNet encoder, judge the images they have
not seen. Precision at the number planted: of as many listed regions as were planted, the share that lies mostly in a
planted one, each planted region counted once. CamVid's own errors count as misses.

    python benchmarks/label_errors.py --data DATA --work WORK --out benchmarks/results/label_errors.json

    python benchmarks/label_errors.py --data DATA --work WORK2 --out FILE --model RUN --split val

The second form plants errors into the masks of another split and judges them by one network that has not seen them,
such as recipes/course/run.py mobilenet_imagenet@camvid_full leaves behind.

DATA holds camvid/ and weights/; WORK gets the copy with planted errors and the networks, and is used again.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

import pixelwise as pw
from pixelwise.config import fill
from pixelwise.data.dataset import Split
from pixelwise.files import write_json
from pixelwise.models.bundle import load_network
from pixelwise.models.encoderfiles import save_encoder_weights
from pixelwise.models.tfjs import convert_tfjs_mobilenet
from pixelwise.ops.objects import Object, objects
from pixelwise.review.audit import AuditOptions, find_label_errors, patch_of
from pixelwise.review.folds import labelled
from pixelwise.review.labels import Evidence, SuspectOptions
from pixelwise.review.patch import Patch, from_runs, read_patch
from pixelwise.review.search import Search, judged
from pixelwise.training.options import TrainOptions

ROOT = Path(__file__).resolve().parent.parent
SHARE, AREA = 0.05, 200
EDGES = [200, 400, 1000, 5000]  # of the sizes in pixels for which recall is told
PLAUSIBLE = {  # what somebody in a hurry might have taken each class for
    "sky": ("building", "tree"),
    "building": ("fence", "tree", "sky"),
    "pole": ("sign_symbol", "tree", "building"),
    "road": ("pavement",),
    "pavement": ("road",),
    "tree": ("building", "fence"),
    "sign_symbol": ("pole", "building"),
    "fence": ("building", "pavement", "tree"),
    "car": ("road", "building"),
    "pedestrian": ("bicyclist", "pole"),
    "bicyclist": ("pedestrian", "car"),
}


OPTIONS = {  # as mobilenet_imagenet@camvid_full of recipes/course, shorter, and with probabilities that are not bent
    "clock": "processor",
    "model": "unet",
    "encoder": "mobilenet_v1",
    "network": {"decoder_channels": [128, 64, 48, 32]},
    "batch": 4,
    "coarse": 0.75,
    "optim": {"method": "muon", "lr": 1e-3},
    "loss": {"overlap_weight": 0.0, "class_weights": "none"},
    "augment": {"flip": True, "scale": [0.75, 1.5], "color": 0.2},
    "transfer": {"strategy": "full", "encoder_lr": 0.3},
}


def main() -> None:
    """Plant, train, rank, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6.0, help="processor time of each fold")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, default=None, help="instead of folds")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="with --model")
    given = parser.parse_args()
    source = pw.open_dataset(given.data / "camvid", classes=ROOT / "recipes" / "camvid" / "classes.yaml")
    parts = {split.name: split for split in source.splits}
    plant(parts[given.split if given.model else "train"], given.work, given.seed)
    data = pw.open_dataset(given.work / "data")
    if given.model:
        patch = by_one(data, given.model)
        how = {"model": given.model.name, "split": given.split}
    else:
        patch = by_folds(data, given)
        how = {"minutes": given.minutes, "folds": given.folds}
    result = judge(patch, given.work) | {"benchmark": "label_errors", "seed": given.seed, **how}
    result["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    write_json(given.out, result)
    print({key: value for key, value in result.items() if key != "listed"})


def by_folds(data: pw.Dataset, given: argparse.Namespace) -> Patch:
    """The patch that `pixelwise review labels` writes."""
    weights = given.work / "mobilenet_v1.safetensors"
    if not weights.exists():
        folder = given.data / "weights" / "mobilenet_v1_1.0_224_tfjs"
        save_encoder_weights(weights, convert_tfjs_mobilenet(folder))
    options = fill(fill(TrainOptions(), OPTIONS), {"minutes": given.minutes, "seed": given.seed})
    options = fill(options, {"transfer": {"encoder_weights": str(weights)}})
    audit = AuditOptions(given.folds, "blocks")
    found = find_label_errors(data, given.work / "review", options=options, audit=audit)
    return read_patch(found.patch)


def by_one(data: pw.Dataset, run: Path) -> Patch:
    """What one network makes of all images."""
    network, images = load_network(run), labelled(data)
    evidence = Evidence.none(len(data.classes))
    for sample, shares in judged(network, images):
        evidence = evidence.plus(Evidence.of(sample.labels, shares))
    search = Search(evidence, SuspectOptions())
    for sample, shares in judged(network, images):
        search.add(sample, shares)
    return patch_of(search.found(images.names), data)


def judge(patch: Patch, work: Path, among: Collection[str] | None = None) -> dict[str, Any]:
    """Precision at the number planted, by kind and size; in the images `among` alone, if not all were judged."""
    truth = json.loads((work / "planted.json").read_text())
    every = dict(enumerate(truth["planted"], 1))
    planted = {number: one for number, one in every.items() if among is None or one["image"] in among}
    found: set[int] = set()
    again, curve, listed = 0, [], []
    for region in patch.regions[: len(planted)]:
        top, left, bottom, right = region.box
        number = np.asarray(PIL.Image.open(work / "planted" / f"{region.image}.png"))[top:bottom, left:right]
        counts = np.bincount(number[from_runs(region.runs, number.shape)])
        which = int(counts[1:].argmax()) + 1 if len(counts) > 1 else 0
        hit = bool(which and counts[which] > counts.sum() / 2)
        again += hit and which in found
        listed.append(which if hit else 0)
        found |= {which} if hit else set()
        curve.append(len(found))
    right = sum(
        region.suggested == planted[which]["true"]
        for region, which in zip(patch.regions, listed, strict=False)
        if which
    )
    kinds = Counter((one["true"], one["given"]) for one in planted.values())
    hits = Counter((planted[which]["true"], planted[which]["given"]) for which in found)
    sizes = {}
    for low, high in zip(EDGES, [*EDGES[1:], None], strict=True):
        inside = {n for n, one in planted.items() if one["area"] >= low and (not high or one["area"] < high)}
        sizes[f"{low} to {high or 'all'}"] = f"{len(inside & found)} of {len(inside)}"
    return {
        "regions": truth["regions"],
        "planted": len(planted),
        "listed_in_all": len(patch.regions),
        "precision_at_planted": len(found) / len(planted),
        "listed_twice": again,
        "suggested_right": right / max(1, len(found) + again),
        "precision_at": {str(n): curve[n - 1] / n for n in (20, 50, 100, 200) if n <= len(curve)},
        "found_by_pixels": sizes,
        "found_by_kind": {f"{k[0]} as {k[1]}": f"{hits[k]} of {count}" for k, count in kinds.most_common()},
        "listed": listed,
    }


def plant(split: Split, out: Path, seed: int) -> None:
    """Copy the images of `split` to `out`, with masks in which 5 % of the regions are wrong, and note which."""
    if (out / "planted.json").exists():  # the last file to be written
        return
    names = [spec.name for spec in split.classes]
    rng = np.random.default_rng(seed)
    found = []
    for index, sample in enumerate(split):
        found += [(index, item) for item in objects(sample.labels, min_area=AREA)]
    count = round(SHARE * len(found))
    chosen = {int(place) for place in rng.choice(len(found), count, replace=False)}
    wrong: dict[int, list[int]] = {}
    for place in sorted(chosen):
        wrong.setdefault(found[place][0], []).append(place)
    planted = []
    for index, sample in enumerate(split):
        labels, number = sample.labels.copy(), np.zeros(sample.labels.shape, np.uint16)
        for place in wrong.get(index, []):
            item = found[place][1]
            top, left, bottom, right = item.box
            inside = _pixels(sample.labels, item)
            to = names.index(str(rng.choice(PLAUSIBLE[names[item.class_index]])))
            labels[top:bottom, left:right][inside] = to
            planted.append(
                {
                    "image": sample.name,
                    "box": item.box,
                    "area": item.area,
                    "true": names[item.class_index],
                    "given": names[to],
                }
            )
            number[top:bottom, left:right][inside] = len(planted)
        stem = Path(sample.name).name
        for kind, values in (("data/images", sample.image), ("data/masks", labels), ("planted", number)):
            path = out / kind / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(values).save(path)
    lines = "".join(f'- {{name: {spec.name}, color: "{spec.color}"}}\n' for spec in split.classes)
    (out / "data" / "classes.yaml").write_text(lines)
    document = {"seed": seed, "regions": len(found), "planted": planted}
    (out / "planted.json").write_text(json.dumps(document, indent=1) + "\n")


def _pixels(labels: np.ndarray, item: Object) -> np.ndarray:
    """The pixels of an object within its box."""
    from scipy import ndimage

    top, left, bottom, right = item.box
    parts, _ = ndimage.label(labels[top:bottom, left:right] == item.class_index, np.ones((3, 3)))
    areas = np.bincount(parts.reshape(-1))
    # the object is the part that touches all four sides of its box and has its area
    for number in np.flatnonzero(areas == item.area):
        rows, columns = np.nonzero(parts == number)
        corners = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        if number and corners == (0, 0, bottom - top, right - left):
            return parts == number
    raise AssertionError("an object is a connected region of its box")


if __name__ == "__main__":
    main()
