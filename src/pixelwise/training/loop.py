"""The training loop, from an opened dataset to a run folder."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pixelwise.data.dataset import Dataset
from pixelwise.errors import LayoutError, OutputError, TrainingError
from pixelwise.files import locked
from pixelwise.metrics import Scores
from pixelwise.models.bundle import FILE_NAME, save
from pixelwise.ops.rates import or_none
from pixelwise.training.clock import CLOCKS
from pixelwise.training.finish import finish, write_page
from pixelwise.training.log import RunLog
from pixelwise.training.optim import learning_rate
from pixelwise.training.options import TrainOptions
from pixelwise.training.plan import DRIFT, revise
from pixelwise.training.run import CHECKPOINT, CONFIG, Run, check_same, stored_options
from pixelwise.training.session import Session
from pixelwise.training.setup import prepare
from pixelwise.training.state import FILE_NAME as STATE
from pixelwise.training.state import save_state
from pixelwise.training.stop import StopRequest, stop_on_signals
from pixelwise.training.tasks import TASKS


def train(
    data: Dataset,
    *,
    out: str | Path,
    options: TrainOptions | None = None,
    model: str | None = None,
    encoder: str | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    resume: bool = False,
) -> Run:
    """Train a network on `data.train`, choose its best weights on `data.val`, write a run folder.

    Args:
        data: From `open_dataset`.
        out: The run folder: model.safetensors, config.yaml, metrics.jsonl, report.html, checkpoint/.
        options: Everything that can be set; the next four stand in for its fields of the same names.
        model: Decoder.
        encoder: Encoder.
        minutes: Wall-clock budget.
        epochs: Passes over the training images, instead of minutes.
        resume: Go on with the run in `out`, exactly; its stored options hold.

    Raises:
        OutputError: `out` holds a run already, is in use, or cannot be written to.
        TrainingError: a loss that is not finite, with the names of the images of that batch.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the run was saved first and can be resumed.
    """
    given = {"model": model, "encoder": encoder, "minutes": minutes, "epochs": epochs}
    given = {name: value for name, value in given.items() if value is not None}
    if not resume:  # before anything is written; the task of a run to resume is in its folder
        _check_trainable(data, options or TrainOptions())
    with locked(out) as folder, stop_on_signals() as stop:
        options = _settle_options(folder, options, given, resume=resume)
        if resume:
            _check_trainable(data, options)
        log = RunLog(folder, tensorboard=options.tensorboard)
        try:
            began = CLOCKS[options.clock]()
            session = prepare(folder, data, options, log, resume=resume, began=began)
            log.start()
            _loop(session, stop)
        finally:
            log.stop()
        return finish(session)


def _check_trainable(data: Dataset, options: TrainOptions) -> None:
    TASKS[options.task]().check(data)
    if len(data.train) == 0:
        raise LayoutError("the training split is empty", file=data.root, remedy="see `pixelwise check`")


def _settle_options(
    folder: Path, options: TrainOptions | None, given: dict[str, Any], *, resume: bool
) -> TrainOptions:
    """The options of a new run, or the stored ones of a run to resume."""
    exists = (folder / CONFIG).exists()
    if resume and not exists:
        raise OutputError("no run to resume", file=folder, remedy="leave out --resume")
    if exists and not resume:
        raise OutputError(
            "holds a run already", file=folder, remedy="choose another folder with -o, or go on with --resume"
        )
    if "minutes" in given or "epochs" in given:  # naming one budget takes back the other
        given = {"minutes": None, "epochs": None, **given}
    chosen = replace(options or TrainOptions(), **given)
    if chosen.minutes is None and chosen.epochs is None:
        chosen = replace(chosen, minutes=20.0)
    chosen = replace(chosen, encoder=chosen.chosen_encoder)
    if not resume:
        return chosen
    stored = stored_options(folder)
    if options is not None or given:
        check_same(folder, stored, chosen)
    return stored


def _loop(session: Session, stop: StopRequest) -> None:
    """Step, log, validate, save; every decision in sight."""
    options, log = session.options, session.log
    position, loader, stepper = session.position, session.loader, session.stepper
    validations = _Milestones(options.validations, session.plan.progress(position.step))
    saved = time.monotonic()
    while position.step < session.plan.steps:
        step_began = session.clock()
        step = position.step
        phase = session.plan.phase(step)
        progress = session.plan.progress(step)
        rate = learning_rate(progress, options.optim)
        torch.manual_seed(_step_seed(options.seed, step))  # dropout depends on them alone, like the batch
        batch = loader.batch(step, phase.size, coarse=phase.coarse)
        loss = stepper.run(batch, lr=rate, progress=progress)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of step {step} is {loss}; its images were {', '.join(batch.names)}",
                file=session.folder,
                remedy="look at these images and masks with `pixelwise check`, or lower optim.lr; the run up to "
                "its last checkpoint can be resumed",
            )
        if session.average is not None:
            session.average.update(session.network, step, options.optim.ema * session.plan.steps)
        position.step = step + 1
        position.seconds = session.elapsed()
        session.note_cost(phase.coarse, session.clock() - step_began)
        row = {
            "step": position.step,
            "progress": round(session.plan.progress(position.step), 5),
            "seconds": round(position.seconds, 2),
            "loss": round(loss, 5),
            "lr": float(f"{rate:.4g}"),
            "images_per_second": round(options.batch / session.cost(phase.coarse), 2),
        }
        last = position.step == session.plan.steps
        log.step(row, session.seconds_left(), store=last or position.step % 10 == 0)
        if validations.passed(session.plan.progress(position.step)) and len(session.data.val):
            _validate(session)
        if stop.requested or last or time.monotonic() - saved >= options.checkpoint_seconds:
            save_run(session)
            saved = time.monotonic()
        if stop.requested:
            log.say(f"stopped at step {position.step}; go on with --resume")
            if not (session.folder / FILE_NAME).exists():
                save(session.current, session.folder / FILE_NAME, facts=session.facts({}))
            write_page(session)
            raise KeyboardInterrupt(stop.signal)
        if position.step % max(5, session.plan.steps // 40) == 0 and not last:
            _keep_to_the_clock(session)


class _Milestones:
    """True each time the progress passes one of `count` evenly spaced marks."""

    def __init__(self, count: int, progress: float) -> None:
        self.count = count
        self.reached = int(progress * count + 1e-9)

    def passed(self, progress: float) -> bool:
        now = int(progress * self.count + 1e-9)
        new = now > self.reached
        self.reached = max(now, self.reached)
        return new


def _validate(session: Session) -> None:
    """Score the averaged weights on the validation subset with the code that users run; keep the best."""
    position = session.position
    began = session.clock()
    scores = session.task.evaluate(session.current, session.validation)
    measure, value = scores.headline[0], or_none(scores.headline[1])
    session.note_validation(session.clock() - began)
    position.seconds = session.elapsed()
    row: dict[str, Any] = {
        "step": position.step,
        "seconds": round(position.seconds, 2),
        measure: value,
        "images": len(session.validation),
    }
    if isinstance(scores, Scores):
        row["class_iou"] = [or_none(item.iou) for item in scores.classes]
    session.log.validation(row, measure, [spec.name for spec in session.data.classes])
    if value is not None and (position.best_score is None or value > position.best_score):
        position.best_score, position.best_step = value, position.step
        save(session.current, session.folder / FILE_NAME, facts=session.facts(scores.as_dict()))


def save_run(session: Session) -> None:
    """Write the state from which `--resume` goes on."""
    path = session.folder / CHECKPOINT / STATE
    network, average = session.network, session.average
    save_state(path, session.position, session.plan, network, average, session.stepper.optimizer)


def _keep_to_the_clock(session: Session) -> None:
    """Add or drop steps when a run on a time budget has drifted from its forecast."""
    if session.options.minutes is None:
        return
    available = session.seconds_for_steps()
    forecast = session.forecast()
    if abs(forecast - available) <= DRIFT * session.options.minutes * 60:
        return
    before = session.plan.steps
    session.plan = revise(session.plan, session.position.step, available, session.cost)
    event = {
        "event": "plan revised",
        "step": session.position.step,
        "seconds": round(session.elapsed(), 2),
        "steps": session.plan.steps,
    }
    large = abs(session.plan.steps - before) > 0.1 * before  # small ones only go to metrics.jsonl
    text = f"plan revised to keep the time: {before} -> {session.plan.steps} steps"
    session.log.event(event, text if large else "")


def _step_seed(seed: int, step: int) -> int:
    return seed * 1_000_003 + step
