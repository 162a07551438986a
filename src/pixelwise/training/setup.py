"""From options and data to a session: network, loader, plan and everything the loop touches."""

from __future__ import annotations

import ctypes
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pixelwise import __version__
from pixelwise.config import dump, read_yaml
from pixelwise.data.dataset import Dataset, Split
from pixelwise.data.loader import ImageCache, Loader
from pixelwise.data.stats import normalization
from pixelwise.errors import OptionError, TrainingError
from pixelwise.evaluation import evaluate
from pixelwise.models.bundle import BundleFacts, TrainingSummary
from pixelwise.models.segmenter import Segmenter
from pixelwise.models.zoo import build
from pixelwise.training.log import RunLog
from pixelwise.training.optim import WeightAverage, make_optimizer
from pixelwise.training.options import TrainOptions
from pixelwise.training.plan import Plan, Precision, crop_size, half, phases_by_steps, phases_by_time
from pixelwise.training.run import CHECKPOINT, CONFIG, store_config
from pixelwise.training.state import FILE_NAME as STATE
from pixelwise.training.state import Position, load_state
from pixelwise.training.step import Stepper, time_steps

VALIDATION_SHARE = 0.04  # of a time budget, for the scores taken on the way
ENOUGH_STEPS = 8  # before the median of measured steps replaces the timing of the plan
FINAL_SHARE = 0.06  # of a time budget, for the score on the whole validation split at the end


@dataclass
class Session:
    """One training in progress."""

    folder: Path
    data: Dataset
    options: TrainOptions
    log: RunLog
    network: Segmenter
    average: WeightAverage | None
    loader: Loader
    stepper: Stepper
    plan: Plan
    position: Position
    dataset_sha256: str
    began: float  # of this process's part
    seconds_before: float = 0.0  # of earlier parts of a resumed run
    timed: dict[bool, float] = field(default_factory=dict)  # seconds per step when the plan was made
    recent: dict[bool, deque[float]] = field(default_factory=dict)  # of the last steps, coarse and full
    validation_cost: float | None = None  # seconds of the last validation

    @property
    def current(self) -> Segmenter:
        """The network as users would get it now: the averaged weights, if there are any."""
        chosen = self.network if self.average is None else self.average.network
        chosen.facts = self.facts({})
        return chosen

    @property
    def validation(self) -> Split:
        """The evenly spaced part of the validation split that is scored on the way."""
        return self.data.val.evenly(self.plan.validate_images)

    def elapsed(self) -> float:
        """Seconds of training so far, all parts together."""
        return self.seconds_before + time.monotonic() - self.began

    def cost(self, coarse: bool) -> float:
        """Seconds per step, coarse or full: the median of the last steps once there are enough of them.

        The first steps of a phase are slow, since memory is new; a median takes no notice.
        """
        recent = self.recent.get(coarse, ())
        if len(recent) >= ENOUGH_STEPS or (recent and not self.timed):
            return median(recent)
        return self.timed.get(coarse) or next(iter(self.timed.values()), 1.0)

    def note_cost(self, coarse: bool, seconds: float) -> None:
        """Remember how long a step took."""
        self.recent.setdefault(coarse, deque(maxlen=4 * ENOUGH_STEPS)).append(seconds)

    def note_validation(self, seconds: float) -> None:
        """Take a measured validation into the forecast."""
        self.validation_cost = seconds

    def forecast(self) -> float:
        """Seconds that the steps to come will take at the present speed."""
        step = self.position.step
        return sum(
            (phase.end - max(step, phase.first)) * self.cost(phase.coarse)
            for phase in self.plan.phases
            if phase.end > step
        )

    def seconds_for_steps(self) -> float:
        """What a time budget leaves for steps, after validations and the final score."""
        if self.options.minutes is None:
            return self.forecast()
        per_image = self.plan.seconds_per_validation_image
        one = self.validation_cost
        if one is None:
            one = per_image * self.plan.validate_images
        else:
            per_image = one / max(1, self.plan.validate_images)
        left = self.options.validations - int(self.plan.progress(self.position.step) * self.options.validations)
        final = min(per_image * len(self.data.val), FINAL_SHARE * self.options.minutes * 60) + 2
        return self.options.minutes * 60 - self.elapsed() - left * one - final

    def seconds_left(self) -> float:
        """Forecast of the time to the end."""
        if self.options.minutes is not None:
            return self.options.minutes * 60 - self.elapsed()
        return self.forecast()

    def facts(self, validation: dict[str, Any]) -> BundleFacts:
        """What the bundle says of this training, with the scores on the validation split."""
        summary = TrainingSummary(
            dataset=self.data.root.name,
            dataset_sha256=self.dataset_sha256,
            images=len(self.data.train),
            steps=self.position.step,
            seconds=round(self.position.seconds, 1),
            seed=self.options.seed,
            options=dump(self.options),
            validation=validation,
        )
        return BundleFacts(
            split=self.data.split_names(),
            precision=self.plan.precision,
            dtype=self.data.dtype,
            table=self.data.table.as_dict(),
            training=summary,
        )


def prepare(
    folder: Path, data: Dataset, options: TrainOptions, log: RunLog, *, resume: bool, began: float
) -> Session:
    """Build everything; a resumed run takes its plan and position from the checkpoint."""
    for note in data.notes:
        log.say(note)
    keep_memory()
    device = pick_device(options.device)
    cache = ImageCache(data.train, where=options.cache, half=options.coarse > 0)
    values = normalization(data.train)
    torch.manual_seed(options.seed)
    network = build(
        options.model,
        encoder=options.encoder,
        classes=data.classes,
        bands=data.bands,
        normalization=values,
        options=options.network,
    )
    network = network.to(device=device, memory_format=torch.channels_last).train()
    loader = Loader(
        cache, batch=options.batch, normalization=values, augment=options.augment, seed=options.seed
    )
    average = WeightAverage(network) if options.optim.ema else None
    optimizer = make_optimizer(network, options.optim)
    weights = class_weights(cache, data, options)
    digest = data.digest()
    position = Position()
    if resume:
        position, plan = load_state(folder / CHECKPOINT / STATE, network, average, optimizer)
        _check_data(folder, digest)
        log.forget_after(position.step)
        log.event({"event": "resumed", "step": position.step}, f"resumed at step {position.step} of {plan.steps}")
        costs: dict[bool, float] = {}
    else:
        plan, costs = make_plan(network, loader, data, options, time.monotonic() - began)
    stepper = Stepper(network, optimizer, precision=plan.precision, loss=options.loss, weights=weights)
    session = Session(
        folder, data, options, log, network, average, loader, stepper, plan, position, digest, began
    )
    session.timed = costs
    session.seconds_before = position.seconds
    if not resume:
        document = {"pixelwise": __version__, "data": str(data.root), "dataset_sha256": digest}
        document |= {"options": dump(options), "plan": dump(plan), "split": data.split_names()}
        store_config(folder, document)
        _announce(session, weights)
    return session


def make_plan(
    network: Segmenter, loader: Loader, data: Dataset, options: TrainOptions, spent: float
) -> tuple[Plan, dict[bool, float]]:
    """Time a few steps, choose the arithmetic, and fit the run into its budget."""
    began = time.monotonic()
    sizes = [loader.cache.get(index, coarse=False)[1].shape for index in range(len(loader.cache))]
    size = crop_size([(int(h), int(w)) for h, w in sizes], options, network.stride)
    precision = options.precision if options.precision != "auto" else quicker(network, loader, size, options)
    if options.minutes is None:
        steps = max(1, round((options.epochs or 1) * len(loader.cache) / options.batch))
        return Plan(precision, phases_by_steps(steps, size, options.coarse), len(data.val), 0.0), {}
    costs = {}
    for coarse in (True, False) if options.coarse else (False,):
        batch_began = time.monotonic()
        batch = loader.batch(0, half(size) if coarse else size, network.prepare, coarse=coarse)
        making = time.monotonic() - batch_began
        costs[coarse] = making + time_steps(network, batch, precision=precision, loss=options.loss)
    budget = options.minutes * 60
    count, per_image = 0, 0.0
    if len(data.val):
        per_image = _seconds_per_image(network, data.val, precision)
        share = VALIDATION_SHARE * budget / options.validations
        count = min(len(data.val), max(1, int(share / per_image)))
    final = min(per_image * len(data.val), FINAL_SHARE * budget) + 2
    left = budget - spent - (time.monotonic() - began) - count * per_image * options.validations - final
    phases = phases_by_time(max(left, 1.0), size, options.coarse, lambda coarse: costs[coarse])
    return Plan(precision, phases, count, per_image), costs


def quicker(
    network: Segmenter, loader: Loader, size: tuple[int, int], options: TrainOptions
) -> Precision:
    """Time both arithmetics on a small batch of the real shape; bfloat16 wins if it is a tenth quicker."""
    small = Loader(
        loader.cache,
        batch=min(options.batch, 2),
        normalization=loader.normalization,
        augment=loader.augment,
        seed=loader.seed,
    )
    batch = small.batch(0, (max(size[0], 2), max(size[1], 2)), network.prepare)
    if batch.images.shape[0] * -(-size[0] // network.stride) * -(-size[1] // network.stride) < 2:
        return "float32"
    single = time_steps(network, batch, precision="float32", loss=options.loss, repeats=1)
    mixed = time_steps(network, batch, precision="bfloat16", loss=options.loss, repeats=1)
    return "bfloat16" if mixed < 0.9 * single else "float32"


def class_weights(cache: ImageCache, data: Dataset, options: TrainOptions) -> Tensor | None:
    """Weights for the cross-entropy: one over the root of a class's share, so that their mean over pixels is 1."""
    if options.loss.class_weights == "none":
        return None
    counts = np.zeros(256, np.int64)
    for index in range(len(cache)):
        counts += np.bincount(cache.get(index, coarse=False)[1].ravel(), minlength=256)
    shares = counts[: len(data.classes)] / max(1, counts[: len(data.classes)].sum())
    present = shares[shares > 0]
    if options.loss.class_weights == "auto" and present.min(initial=1.0) >= 0.01 / len(data.classes):
        return None
    weights = np.where(shares > 0, 1 / np.sqrt(np.maximum(shares, 1e-4)), 0.0)
    return torch.from_numpy((weights / (weights * shares).sum()).astype(np.float32))


def keep_memory() -> None:
    """Let glibc keep freed blocks instead of giving them back to the system after every step.

    Activations of some hundred MB are freed and asked for again each step; returning them costs a page fault
    per 4 KiB, a fifth of the time of a step at 360 x 480 where it was measured. Elsewhere this does nothing.
    """
    no_mapped_blocks, no_trim = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(no_mapped_blocks, 0)
        libc.mallopt(no_trim, 2**31 - 1)
    except (OSError, AttributeError):
        return


def pick_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"no device is called {name!r}", remedy="give auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"device {name!r} is not there", remedy="give --device cpu")
    return device


def _seconds_per_image(network: Segmenter, split: Split, precision: Literal["float32", "bfloat16"]) -> float:
    network.eval()
    network.facts = BundleFacts(precision=precision)
    evaluate(network, split.evenly(1))
    began = time.monotonic()
    evaluate(network, split.evenly(2))
    network.train()
    return (time.monotonic() - began) / min(2, len(split))


def _check_data(folder: Path, digest: str) -> None:
    stored = read_yaml(folder / CONFIG).get("dataset_sha256")
    if stored != digest:
        raise TrainingError(
            "the dataset has changed since the run began", file=folder, remedy="restore it, or start a new run"
        )


def _announce(session: Session, weights: Tensor | None) -> None:
    plan, data, log = session.plan, session.data, session.log
    parameters = sum(p.numel() for p in session.network.parameters())
    options = session.options
    log.say(f"{options.model} on {options.encoder}: {parameters:,} parameters, {len(data.classes)} classes")
    log.say(f"{len(data.train)} images to train, {len(data.val)} to validate")
    for phase in plan.phases:
        kind = "half resolution" if phase.coarse else "full resolution"
        log.say(f"{phase.steps} steps of {options.batch} crops of {phase.size[0]} x {phase.size[1]} at {kind}")
    device = session.stepper.device.type
    log.say(f"arithmetic: {plan.precision} on {device} ({'timed' if options.precision == 'auto' else 'as asked'})")
    if weights is not None:
        log.say("class weights: " + ", ".join(f"{w:.2f}" for w in weights.tolist()))
