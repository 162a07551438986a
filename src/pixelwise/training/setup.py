"""From options and data to a session: network, loader, plan and everything the loop touches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelwise import __version__
from pixelwise.config import dump, read_yaml
from pixelwise.data.dataset import Dataset, Split
from pixelwise.data.loader import ImageCache, Loader
from pixelwise.errors import TrainingError
from pixelwise.models.bundle import BundleFacts
from pixelwise.models.network import Network
from pixelwise.ops.cards import pick_device
from pixelwise.training.clock import CLOCKS, Clock
from pixelwise.training.correction import PASSES
from pixelwise.training.log import RunLog
from pixelwise.training.machine import keep_memory
from pixelwise.training.optim import WeightAverage, make_optimizer
from pixelwise.training.options import TrainOptions
from pixelwise.training.plan import (
    PRECISIONS,
    Plan,
    Precision,
    crop_size,
    half,
    phases_by_steps,
    phases_by_time,
)
from pixelwise.training.run import CHECKPOINT, CONFIG, store_config
from pixelwise.training.session import FINAL_SHARE, VALIDATION_SHARE, Session
from pixelwise.training.start import new_start, resumed_start
from pixelwise.training.state import FILE_NAME as STATE
from pixelwise.training.state import Position, load_state
from pixelwise.training.step import Stepper, time_steps
from pixelwise.training.tasks import TASKS, Task, build_for


def prepare(
    folder: Path, data: Dataset, options: TrainOptions, log: RunLog, *, resume: bool, began: float
) -> Session:
    """Build everything; a resumed run takes its plan and position from the checkpoint."""
    for note in data.notes:
        log.say(note)
    keep_memory()
    device = pick_device(options.device)
    task = TASKS[options.task]()
    cache = ImageCache(task.samples(data.train), where=options.cache, half=options.coarse > 0)
    if data.task == "segment":
        for index in range(len(data.val)):  # a mask that is wrong should not be found after an hour
            data.val.labels(index)
    if resume:
        start = resumed_start(data, options.transfer, read_yaml(folder / CONFIG))
    else:
        start = new_start(data, options.transfer, log.say)
    values = start.normalization
    torch.manual_seed(options.seed)
    network = build_for(task, data, options, values).to(device).train()
    transfer = start.begin(network, log.say)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loader = Loader(
        cache,
        batch=options.batch,
        normalization=values,
        augment=options.augment,
        seed=options.seed,
        device=device,
    )
    average = WeightAverage(network) if options.optim.ema else None
    optimizer = make_optimizer(network, options.optim, transfer)
    weights = class_weights(cache, data, options) if options.task == "segment" else None
    digest = data.digest()
    position = Position()
    if resume:
        position, plan = load_state(folder / CHECKPOINT / STATE, network, average, optimizer)
        _check_data(folder, digest)
        log.forget_after(position.step)
        log.event(
            {"event": "resumed", "step": position.step}, f"resumed at step {position.step} of {plan.steps}"
        )
        costs: dict[bool, float] = {}
    else:
        passes = 1 if weights is None else PASSES
        plan, costs = make_plan(network, task, loader, data, options, CLOCKS[options.clock]() - began, passes)
    stepper = Stepper(
        network,
        task,
        optimizer,
        precision=plan.precision,
        loss=options.loss,
        weights=weights,
        transfer=transfer,
        accumulate=options.accumulate,
    )
    session = Session(
        folder, data, options, log, network, average, loader, stepper, plan, position, digest, began
    )
    session.timed = costs
    session.seconds_before = position.seconds
    if not resume:
        store_config(folder, _config(session) | start.as_dict())
        _announce(session, weights)
    return session


def make_plan(
    network: Network,
    task: Task,
    loader: Loader,
    data: Dataset,
    options: TrainOptions,
    spent: float,
    passes: int,
) -> tuple[Plan, dict[bool, float]]:
    """Time a few steps, choose the arithmetic, and fit the run into its budget."""
    clock = CLOCKS[options.clock]
    began = clock()
    sizes = [loader.cache.get(index, coarse=False)[1].shape for index in range(len(loader.cache))]
    size = crop_size([(int(h), int(w)) for h, w in sizes], options, network.stride)
    precision = (
        options.precision if options.precision != "auto" else quicker(network, task, loader, size, options)
    )
    if options.minutes is None:
        steps = max(1, round((options.epochs or 1) * len(loader.cache) / options.batch))
        return Plan(precision, phases_by_steps(steps, size, options.coarse), len(data.val), 0.0), {}
    costs = {}
    for coarse in (True, False) if options.coarse else (False,):
        crop = half(size) if coarse else size
        batch = loader.batch(0, crop, coarse=coarse)  # untimed: the first one loads what makes batches
        batch_began = clock()
        loader.batch(0, crop, coarse=coarse)
        making = clock() - batch_began
        costs[coarse] = making + time_steps(
            network, task, batch, options, precision=precision, accumulate=options.accumulate
        )
    budget = options.minutes * 60
    count, per_image = 0, 0.0
    if len(data.val):
        per_image = _seconds_per_image(network, task, data.val, precision, clock)
        share = VALIDATION_SHARE * budget / options.validations
        count = min(len(data.val), max(1, int(share / per_image)))
    final = min(passes * per_image * len(data.val), FINAL_SHARE * budget) + 2
    left = budget - spent - (clock() - began) - count * per_image * options.validations - final
    phases = phases_by_time(max(left, 1.0), size, options.coarse, lambda coarse: costs[coarse])
    return Plan(precision, phases, count, per_image), costs


def quicker(
    network: Network, task: Task, loader: Loader, size: tuple[int, int], options: TrainOptions
) -> Precision:
    """Time both arithmetics on a small batch of the real shape; bfloat16 wins if it is a tenth quicker."""
    small = Loader(
        loader.cache,
        batch=min(options.batch, 2),
        normalization=loader.normalization,
        augment=loader.augment,
        seed=loader.seed,
    )
    batch = small.batch(0, size)
    if batch.images.shape[0] * -(-size[0] // network.stride) * -(-size[1] // network.stride) < 2:
        return "float32"
    single, mixed = (
        time_steps(network, task, batch, options, precision=precision, repeats=1) for precision in PRECISIONS
    )
    return "bfloat16" if mixed < 0.9 * single else "float32"


def class_weights(cache: ImageCache, data: Dataset, options: TrainOptions) -> Tensor | None:
    """Weights of the cross-entropy: one over the root of a class's share, with a mean of 1 over pixels."""
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


def _seconds_per_image(
    network: Network, task: Task, split: Split, precision: Precision, clock: Clock
) -> float:
    network.eval()
    network.facts = BundleFacts(precision=precision)
    task.evaluate(network, split.evenly(1))
    began = clock()
    task.evaluate(network, split.evenly(2))
    network.train()
    return (clock() - began) / min(2, len(split))


def _check_data(folder: Path, digest: str) -> None:
    stored = read_yaml(folder / CONFIG).get("dataset_sha256")
    if stored != digest:
        raise TrainingError(
            "the dataset has changed since the run began",
            file=folder,
            remedy="restore it, or start a new run",
        )


def _config(session: Session) -> dict[str, Any]:
    """What config.yaml says of a new run."""
    data = session.data
    return {
        "pixelwise": __version__,
        "data": str(data.root),
        "dataset_sha256": session.dataset_sha256,
        "options": dump(session.options),
        "plan": dump(session.plan),
        "split": data.split_names(),
    }


def _announce(session: Session, weights: Tensor | None) -> None:
    plan, data, log = session.plan, session.data, session.log
    parameters = sum(p.numel() for p in session.network.parameters())
    options = session.options
    log.say(
        f"{session.network.name} on {options.encoder}: {parameters:,} parameters, {len(data.classes)} classes"
    )
    log.say(f"{len(data.train)} images to train, {len(data.val)} to validate")
    for phase in plan.phases:
        kind = "half resolution" if phase.coarse else "full resolution"
        log.say(
            f"{phase.steps} steps of {options.batch} crops of {phase.size[0]} x {phase.size[1]} at {kind}"
        )
    device = session.stepper.device.type
    log.say(
        f"arithmetic: {plan.precision} on {device} ({'timed' if options.precision == 'auto' else 'as asked'})"
    )
    if weights is not None:
        log.say("class weights: " + ", ".join(f"{w:.2f}" for w in weights.tolist()))
