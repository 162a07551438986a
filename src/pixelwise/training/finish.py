"""The end of a run: the best weights, their score on the whole validation split, the report."""

from __future__ import annotations

from typing import Any

from pixelwise.config import dump
from pixelwise.errors import DataError
from pixelwise.evaluation.temperature import calibrated
from pixelwise.files import write_text
from pixelwise.models.bundle import FILE_NAME, load_network, save
from pixelwise.models.calibration import Calibration
from pixelwise.models.fingerprint import Fingerprint
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter
from pixelwise.report.page import training_page
from pixelwise.training.correction import can_undo, undo_weights
from pixelwise.training.fingerprints import affordable, fingerprint_of
from pixelwise.training.log import spoken, stored_course
from pixelwise.training.run import CHECKPOINT, REPORT, Run
from pixelwise.training.session import FINAL_SHARE, Session
from pixelwise.training.tasks import Judged

CALIBRATION_IMAGES = 32  # of the validation split: a fixed number, so that the same run gives the same bytes


def finish(session: Session) -> Run:
    """Score the best weights, write model.safetensors, checkpoint/last.safetensors and report.html."""
    path = session.folder / FILE_NAME
    session.position.seconds = session.elapsed()
    save(session.current, session.folder / CHECKPOINT / "last.safetensors", facts=session.facts({}))
    best_score = session.position.best_score
    scores: dict[str, Any] | None = None
    if best_score is None:
        facts = session.facts({}).model_copy(update={"fingerprint": _fingerprint(session, session.current)})
        save(session.current, path, facts=facts)
    else:
        best = load_network(path).to(session.stepper.device)
        split = session.data.val.evenly(_affordable(session))
        weights = session.stepper.weights
        final: Judged
        if weights is None or not can_undo(best):
            final = session.task.evaluate(best, split)
        else:
            share, final = undo_weights(best, split, weights)
            session.log.say(f"class weights taken back by {share:.0%}, which validates best")
        (measure, best_score), scores = final.headline, final.as_dict()
        session.position.seconds = session.elapsed()
        more = {"calibration": _calibration(session, best), "fingerprint": _fingerprint(session, best)}
        facts = session.facts(scores).model_copy(update=more)
        save(best, path, facts=facts)
        session.log.say(
            f"best weights, of step {session.position.best_step}: validation {spoken(measure)} {best_score:.4f} "
            f"on {len(split)} of {len(session.data.val)} images"
        )
    write_page(session, scores)
    return Run(
        session.folder, path, best_score, session.task.measure, session.position.step, session.elapsed()
    )


def write_page(session: Session, scores: dict[str, Any] | None = None) -> None:
    """Write report.html: the curves, the settings, the scores so far."""
    rows = stored_course(session.folder)
    facts = session.facts({})
    page = training_page(
        rows,
        session.data.classes,
        title=f"{session.network.name} on {session.options.encoder}",
        settings=dump(session.options),
        facts={
            "data": str(session.data.root),
            "images": f"{len(session.data.train)} to train, {len(session.data.val)} to validate",
            "split": session.data.split_origin,
            "arithmetic": facts.precision,
            "steps": session.position.step,
            "minutes": f"{session.position.seconds / 60:.1f}",
            "dataset SHA-256": session.dataset_sha256,
        },
        scores=scores if session.task.name == "segment" else None,
    )
    write_text(session.folder / REPORT, page)


def _calibration(session: Session, best: Network) -> Calibration | None:
    """Temperatures fitted on some of the validation images; None where they say too little."""
    if not isinstance(best, Segmenter):
        return None
    split = session.data.val.evenly(min(CALIBRATION_IMAGES, len(session.data.val)))
    try:
        found = calibrated(best, split, seed=session.options.seed)
    except DataError as error:
        session.log.say(f"confidence is not calibrated: {error.found}")
        return None
    session.log.say(
        f"confidence calibrated on {found.images} images: error {found.ece_before:.4f} -> {found.ece_after:.4f}"
    )
    return found


def _fingerprint(session: Session, best: Network) -> Fingerprint | None:
    """What the training images look like, so that others can be told from them."""
    count = affordable(session.options.minutes, session.plan.seconds_per_validation_image)
    return fingerprint_of(best, session.data, most=count)


def _affordable(session: Session) -> int:
    """How many validation images the rest of a time budget allows, at least those scored on the way."""
    total = len(session.data.val)
    if session.options.minutes is None:
        return total
    left = session.options.minutes * 60 * (1 + FINAL_SHARE / 3) - session.elapsed()
    per_image = session.plan.seconds_per_validation_image
    if session.validation_cost is not None:
        per_image = session.validation_cost / max(1, session.plan.validate_images)
    per_image *= session.final_passes
    return min(total, max(session.plan.validate_images, int(left / max(per_image, 1e-6))))
