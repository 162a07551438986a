"""Images per second from files to batches, against PNG + albumentations + torch's DataLoader with two workers.

Zoom, crop, mirror, light and normalisation, batch 8, of one folder of images and masks: CamVid (`--data`), or the
generated town. Both are fed the same pixels as PNG files; ours decodes them once, into its cache, which is timed
apart. Contenders alternate, each in a process of its own with as many threads; medians over the rounds. Means,
spreads and label shares of what comes out are compared, so that both do the same work.

    python benchmarks/feed.py --data CAMVID --out benchmarks/results/feed.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import PIL.Image
import torch
from machine import store

import pixelwise as pw
from pixelwise.data.loader import ImageCache, Loader
from pixelwise.data.transforms import AugmentOptions
from pixelwise.training.machine import keep_memory
from pixelwise.types import Sample

BATCH, SIZES = 8, ((360, 480), (256, 256))
SCALE, STRENGTH = (0.75, 1.5), 0.2
BRIGHTNESS = 0.08  # of 255, which varies as much as STRENGTH standard deviations do
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CLASSES = Path(__file__).parent.parent / "recipes" / "camvid" / "classes.yaml"
CONTENDERS = ("png + albumentations + DataLoader", "pixelwise")
Fed = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    """Alternate the contenders for both sizes and write the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="CamVid; the generated town without it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=24, help="in a round")
    parser.add_argument("--images", type=int, default=None, help="at most so many")
    parser.add_argument(
        "--step", type=float, default=None, help="seconds of a training step, to name the share"
    )
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_pairs(given.data, Path(folder), given.images)
        rows = [compare(Path(folder), size, given.rounds, given.batches) for size in SIZES]
    result: dict[str, Any] = {
        "command": "python benchmarks/feed.py",
        "data": "generated town" if given.data is None else given.data.name,
        "images": pairs,
        "rows": rows,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load_before": load,
    }
    if given.step:
        ours = BATCH / rows[0]["images_per_second"]["pixelwise"]
        result["share_of_a_step"] = round(ours / given.step, 4)
        result["seconds_of_a_step"] = given.step
    print(json.dumps(result, indent=1))
    store(given.out, result)


def write_pairs(data: Path | None, folder: Path, most: int | None) -> int:
    """The training images and labels as PNG files, the labels as class indices; returns how many."""
    if data is None:
        from pixelwise.data.sample import write_sample

        samples = pw.open_dataset(write_sample(folder / "town")).train
    else:
        own = (data / "classes.yaml").exists()
        samples = pw.open_dataset(data, classes=None if own else CLASSES).train
    count = min(len(samples), most or len(samples))
    for index in range(count):
        sample = samples[index]
        PIL.Image.fromarray(sample.image).save(folder / f"{index:04}_image.png")
        PIL.Image.fromarray(sample.labels).save(folder / f"{index:04}_labels.png")
    return count


def compare(folder: Path, size: tuple[int, int], rounds: int, batches: int) -> dict[str, Any]:
    """Images per second of both, and what both made."""
    context = multiprocessing.get_context("spawn")
    pipes, processes, made, ready = {}, [], {}, {}
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    try:
        for name in CONTENDERS:
            pipes[name], end = context.Pipe()
            processes.append(context.Process(target=contend, args=(name, folder, size, end)))
            processes[-1].start()
            end.close()  # so that a contender that fails ends the wait for it
            made[name], ready[name] = pipes[name].recv()
        for _ in range(rounds):
            for name, pipe in pipes.items():
                time.sleep(1)  # workers go on until their queue is full
                pipe.send(batches)
                seconds[name].append(pipe.recv())
        for pipe in pipes.values():
            pipe.send(0)
    except EOFError:
        for process in processes:
            process.terminate()
        raise SystemExit("a contender failed") from None
    speed = {name: batches * BATCH / median(taken) for name, taken in seconds.items()}
    theirs, ours = (made[name] for name in CONTENDERS)
    same = {
        "mean": max(abs(np.subtract(theirs["mean"], ours["mean"]))) < 0.15,
        "spread": max(abs(np.subtract(theirs["spread"], ours["spread"]))) < 0.15,
        "labels": 0.5 * abs(np.subtract(theirs["labels"], ours["labels"])).sum() < 0.08,
    }
    if not all(same.values()):
        raise SystemExit(f"the two do not make the same: {same}\n{made}")
    row = {
        "size": list(size),
        "images_per_second": {name: round(value, 1) for name, value in speed.items()},
        "ratio": round(speed["pixelwise"] / speed[CONTENDERS[0]], 1),
        "seconds_to_decode_all_once": round(ready["pixelwise"], 2),
        "made": made,
    }
    print(json.dumps(row), flush=True)
    return row


def contend(name: str, folder: Path, size: tuple[int, int], pipe: Connection) -> None:
    """Hold one contender; feed as many batches as asked, and say how long that took."""
    began = time.perf_counter()
    feed = (ours if name == "pixelwise" else theirs)(folder, size)
    ready = time.perf_counter() - began
    pipe.send((statistics([feed() for _ in range(75)]), ready))
    while batches := pipe.recv():
        for _ in range(4):  # what the workers prepared while the other one was timed
            feed()
        began = time.perf_counter()
        for _ in range(batches):
            feed()
        pipe.send(time.perf_counter() - began)


def ours(folder: Path, size: tuple[int, int]) -> Callable[[], Fed]:
    """Batches as `pixelwise train` makes them, which keeps freed memory."""
    keep_memory()
    loader = Loader(
        ImageCache(Pairs(folder), half=False),
        batch=BATCH,
        normalization=pw.Normalization(MEAN, STD),
        augment=AugmentOptions(scale=SCALE, color=STRENGTH),
        seed=0,
    )
    steps = iter(range(10**9))

    def feed() -> Fed:
        batch = loader.batch(next(steps), size)
        return batch.images, batch.labels

    return feed


def theirs(folder: Path, size: tuple[int, int]) -> Callable[[], Fed]:
    """A Dataset of PNG files with albumentations, and a DataLoader with two workers that goes on and on."""
    loader = torch.utils.data.DataLoader(
        Albumented(folder, size),
        batch_size=BATCH,
        shuffle=True,
        num_workers=2,
        drop_last=True,
        persistent_workers=True,
    )

    def batches() -> Iterator[Fed]:
        while True:
            yield from loader

    endless = batches()
    return lambda: next(endless)


class Pairs:
    """Images with their labels, decoded when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.images = sorted(folder.glob("*_image.png"))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        image, labels = (pixels(self.images[index], kind) for kind in ("image", "labels"))
        return Sample(self.images[index].stem, image, labels)


class Albumented(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """The same as users of albumentations write it."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        import albumentations as A
        import cv2
        from albumentations.pytorch import ToTensorV2

        cv2.setNumThreads(0)  # as albumentations advises for workers
        self.images = sorted(folder.glob("*_image.png"))
        self.transform = A.Compose(
            [
                A.RandomScale((SCALE[0] - 1, SCALE[1] - 1), p=1),
                A.PadIfNeeded(*size, fill=MEAN, fill_mask=255),
                A.RandomCrop(*size),
                A.HorizontalFlip(p=0.5),
                A.RandomBrightnessContrast(BRIGHTNESS, STRENGTH, p=1),
                A.Normalize([m / 255 for m in MEAN], [s / 255 for s in STD]),
                ToTensorV2(),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Fed:
        import cv2

        image = cv2.cvtColor(cv2.imread(str(self.images[index])), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(self.images[index]).replace("_image", "_labels"), cv2.IMREAD_GRAYSCALE)
        made = self.transform(image=image, mask=mask)
        return made["image"], made["mask"]


def pixels(image: Path, kind: str) -> np.ndarray:
    """One file of a pair."""
    return np.asarray(PIL.Image.open(image.with_name(image.name.replace("_image", f"_{kind}"))))


def statistics(fed: list[Fed]) -> dict[str, list[float]]:
    """Mean and spread of each band where there is a label, and the share of each label; 255 comes last."""
    images = torch.cat([images.float().permute(0, 2, 3, 1).reshape(-1, 3) for images, _ in fed])
    labels = torch.cat([labels.reshape(-1).long() for _, labels in fed])
    inside = images[labels != 255]
    shares = torch.bincount(labels.clamp(max=31), minlength=32) / len(labels)
    return {
        "mean": [round(float(value), 3) for value in inside.mean(0)],
        "spread": [round(float(value), 3) for value in inside.std(0)],
        "labels": [round(float(value), 4) for value in shares],
    }


if __name__ == "__main__":
    main()
