"""Image files and folders in, answers of a network out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from pixelwise.data.read import read_image
from pixelwise.errors import DataError, OptionError
from pixelwise.files import locked, write_bytes, write_text
from pixelwise.infer.ahead import ahead
from pixelwise.infer.answers import Answers, Boxes, Copies, Guesses
from pixelwise.infer.augmented import Averaged
from pixelwise.infer.engine import Engine, EngineChoice, open_engine
from pixelwise.infer.jobs import Job, find_jobs, of_one_size
from pixelwise.infer.maps import Maps, ObjectOptions, Sureness
from pixelwise.models.autoencoder import Autoencoder
from pixelwise.models.classifier import Classifier
from pixelwise.models.localizer import Localizer
from pixelwise.models.network import Network
from pixelwise.models.segmenter import Segmenter

__all__ = ["Job", "ObjectOptions", "Sureness", "find_jobs", "predict_files"]


def predict_files(
    model: Network,
    inputs: Sequence[Path],
    out: Path,
    *,
    overlays: bool = True,
    confidence: bool | Sureness = False,
    objects: ObjectOptions | None = None,
    engine: EngineChoice | Averaged | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Answer for image files and folders of them; pictures have the size of the upright image.

    A Segmenter writes `labels/STEM.png` (index image: pixel = class index, palette = class colours),
    `overlay/STEM.png` with `overlays`, `confidence/STEM.png` with `confidence` (grey, value / 255 = probability, with
    a text `calibrated`, true or false),
    and with `objects` `objects.json`, `objects.csv` and `objects/STEM.png` (boxes drawn). A Classifier writes
    `classes.csv`, an Autoencoder `reconstructions/STEM.png` (`.tif` where PNG cannot hold the values), a Localizer
    `boxes.csv` and `boxes/STEM.png`.

    Folders are searched with their subfolders; when two images share a stem, all results keep their subfolders.
    A file that the model cannot answer for does not stop the others.

    Args:
        model: Runs on the device it is on.
        inputs: Image files and folders.
        out: Folder for the results; it may not contain the inputs.
        overlays: Of a Segmenter: also write the class colours laid over each image.
        confidence: Of a Segmenter: also write the probability of the class of each pixel; a `Sureness` asks for
            `sets/STEM.png` too (grey value = classes in the label set of the pixel).
        objects: Of a Segmenter: also write the objects of each class map.
        engine: Of a Segmenter: what computes it, see `open_engine`; `auto` begins at once and changes to something
            quicker where many images are to come. An `Averaged` stands for networks and views of its own, and
            writes `uncertainty/STEM.tif` (entropy, mutual information) if it was asked for.
        progress: Called with the images done and their number.

    Returns:
        The files written: those of each image in natural order of the images, then the tables.

    Raises:
        UnreadableError: an input is missing; nothing is written.
        DataError: no image found, or some images could not be mapped; all others are then written.
        OptionError: an option for another task, or a class that the model does not know.
        OutputError: `out` contains an input, is in use or full, or two images would get one result.
    """
    jobs = find_jobs(inputs, out)
    engine = engine or EngineChoice()
    sureness = confidence if isinstance(confidence, Sureness) else Sureness(confidence)
    if isinstance(model, Segmenter):
        running = _opened(model, engine, sureness, jobs)
        answers: Answers = Maps(model, running, overlays=overlays, sureness=sureness, objects=objects)
    else:
        _refuse_options(model, sureness=sureness, objects=objects, engine=engine)
        answers = _answers(model)
    written: list[Path] = []
    failures: list[DataError] = []
    with locked(out):
        for done, (job, image) in enumerate(ahead(lambda job: read_image(job.image), jobs), start=1):
            try:
                pictures = answers.add(job, image())
            except DataError as error:
                error.file = error.file or job.image
                failures.append(error)
            else:
                for path, data in pictures:
                    write_bytes(out / path, data)
                    written.append(out / path)
            if progress is not None:
                progress(done, len(jobs))
        if len(failures) < len(jobs):
            for name, text in answers.tables().items():
                write_text(out / name, text)
                written.append(out / name)
    if failures:
        raise _joined(failures, len(jobs))
    return written


def _opened(
    model: Segmenter, choice: EngineChoice | Averaged, sureness: Sureness, jobs: Sequence[Job]
) -> Engine:
    if not isinstance(choice, Averaged):
        alike = cache(lambda: of_one_size(jobs))  # which reads the head of every file
        return open_engine(model, choice.name, images=len(jobs), say=choice.say, alike=alike)
    if sureness.sets:
        choice.refuse_sets()
    return choice


def _refuse_options(
    model: Network, *, sureness: Sureness, objects: ObjectOptions | None, engine: EngineChoice | Averaged
) -> None:
    name = "averaged" if isinstance(engine, Averaged) else engine.name
    asked = {
        "confidence": sureness.confidence,
        "label-sets": sureness.sets,
        "objects": objects is not None,
        "engine": name not in ("auto", "eager"),
    }
    for option, given in asked.items():
        if given:
            raise OptionError(
                f"{option} is asked of a model that can {model.task}",
                remedy=f"leave out --{option}, or give a model trained with --task segment",
            )


def _answers(model: Network) -> Answers:
    if isinstance(model, Classifier):
        return Guesses(model)
    if isinstance(model, Autoencoder):
        return Copies(model)
    if isinstance(model, Localizer):
        return Boxes(model)
    raise OptionError(f"a network of type {type(model).__name__}", remedy="give one that pixelwise has built")


def _joined(failures: Sequence[DataError], total: int) -> DataError:
    if len(failures) == 1 and total == 1:
        return failures[0]
    lines = "".join(f"\n  {error.file}: {error.found}" for error in failures)
    remedies = dict.fromkeys(error.remedy for error in failures if error.remedy)
    return DataError(
        f"{len(failures)} of {total} images could not be mapped; the others were written{lines}",
        remedy="; ".join(remedies),
    )
