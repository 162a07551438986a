"""Scenes on the command line: what is announced, how far it is, and what was written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.errors import DataError, OptionError, close_matches

if TYPE_CHECKING:
    from pixelwise.infer.maps import Sureness
    from pixelwise.infer.sceneoptions import SceneProgress, SceneResult
    from pixelwise.infer.spread import SceneOutcome
    from pixelwise.infer.windows import Overlap
    from pixelwise.models.network import Network
    from pixelwise.models.segmenter import Segmenter

EVERY = 30.0  # seconds between lines where standard error is no terminal


def parse_overlap(text: str) -> Overlap:
    """`exact`, `blend` or a number of pixels.

    >>> parse_overlap("exact"), parse_overlap("256")
    ('exact', 256)
    """
    named: dict[str, Overlap] = {"exact": "exact", "blend": "blend"}
    if text in named:
        return named[text]
    if text.isdigit():
        return int(text)
    raise OptionError(f"--overlap {text!r}", remedy="give exact, blend, or a number of pixels such as 256")


def check_spread(spread: str | None, workers: int | None, ray_address: str | None) -> None:
    """What says how scenes are spread, judged before anything is loaded.

    Raises:
        OptionError: an unknown way, or options of a way that was not chosen.
    """
    from pixelwise.infer.spread import PLACES

    if spread is None:
        if workers is not None or ray_address is not None:
            raise OptionError(
                "--workers and --ray-address say how scenes are spread",
                remedy="add --spread local or --spread ray",
            )
    elif spread not in PLACES:
        raise OptionError(f"--spread {spread}", remedy=close_matches(spread, PLACES))


def place_for(device: str, spread: str | None, engine: str) -> str:
    """Where the model is put: scenes are spread over processes that compute on processors, as some engines do.

    Raises:
        OptionError: a card was asked for too.

    >>> place_for("auto", None, "auto"), place_for("auto", "local", "auto"), place_for("auto", None, "openvino")
    ('auto', 'cpu', 'cpu')
    """
    from pixelwise.infer.engine import ON_PROCESSORS

    if spread is not None and device not in ("auto", "cpu"):
        raise OptionError(f"--device {device} with --spread", remedy="leave out one of them")
    ours = spread is not None or (device == "auto" and engine in ON_PROCESSORS)
    return "cpu" if ours else device


@dataclass(frozen=True)
class SceneSettings:
    """What the command line says about scenes."""

    overlap: Overlap
    sureness: Sureness
    resume: bool
    allow_remote: bool
    engine: str
    objects: bool
    spread: str | None = None
    workers: int | None = None
    address: str | None = None
    mosaic: bool = False
    resample: bool = False
    averaging: str = ""  # the option of `Averaging` that was given, if any


def map_all(
    network: Network,
    inputs: Sequence[Path],
    out: Path,
    *,
    settings: SceneSettings,
    map_images: Callable[[Sequence[Path]], list[Path]],
) -> tuple[list[Path], list[SceneOutcome]]:
    """Images by `map_images`, scenes tile by tile: all files written, and what came of the scenes.

    Raises:
        DataError: none of several scenes could be mapped.
        UnreadableError, OptionError, OutputError: see `predict_files` and `predict_scene`.
    """
    from pixelwise.infer.placed import listed, mosaics, place_labels, told_apart
    from pixelwise.models.segmenter import Segmenter

    if not isinstance(network, Segmenter):
        if settings.resample:
            raise OptionError(
                "--resample is for class maps of scenes, which this model does not make",
                remedy="leave it out",
            )
        inputs = listed(inputs)
        return map_images(inputs), []
    if settings.mosaic:
        found = mosaics(inputs)
    else:
        found = told_apart(listed(inputs), out, resample=settings.resample)
    if settings.objects and found.scenes:
        raise OptionError(
            f"--objects is for images, and {Path(found.scenes[0][0]).name} is a scene",
            remedy="map it without, then give its map to pixelwise vectorize",
        )
    if settings.averaging and found.scenes:
        raise OptionError(
            f"{settings.averaging} is for images, and {Path(found.scenes[0][0]).name} is a scene",
            remedy="map it without",
        )
    written: list[Path] = []
    if found.images or not found.scenes:
        written = map_images(found.images)
        for job in found.placed:
            written.append(place_labels(job, network.classes, out / "labels" / f"{job.name}.png"))
    outcomes = map_scenes(network, found.scenes, out, settings)
    for scene in (outcome.result for outcome in outcomes):
        if scene is not None:
            beside = (scene.labels, scene.confidence, scene.sets)
            written += [path for path in beside if path is not None]
    return written, outcomes


def map_scenes(
    model: Segmenter, scenes: Sequence[tuple[str, Path]], out: Path, settings: SceneSettings
) -> list[SceneOutcome]:
    """Map scenes to `out/labels/NAME.tif`; one that cannot be mapped does not stop the others.

    `auto` is the eager engine here: a map that goes on later must not change engines on the way.

    Raises:
        PixelwiseError: the only scene could not be mapped.
        DataError: none of several scenes could.
    """
    if not scenes:
        return []
    from pixelwise.infer import open_engine
    from pixelwise.infer.sceneoptions import SceneOptions
    from pixelwise.infer.spread import SceneJob, open_crew, predict_scenes
    from pixelwise.infer.windows import TileOptions

    engine = "eager" if settings.engine == "auto" else settings.engine
    jobs = []
    for source, name in scenes:
        options = SceneOptions(
            TileOptions(settings.overlap),
            confidence=out / "confidence" / f"{name}.tif" if settings.sureness.confidence else None,
            sets=out / "sets" / f"{name}.tif" if settings.sureness.sets else None,
            resume=settings.resume,
            allow_remote=settings.allow_remote,
            resample=settings.resample,
        )
        jobs.append(SceneJob(source, out / "labels" / f"{name}.tif", options))
    running, crew = None, None
    if settings.spread is not None:
        crew = open_crew(
            model, settings.spread, workers=settings.workers, engine=engine, address=settings.address
        )
    elif engine != "eager":
        running = open_engine(model, engine)
    with ManyLines(alone=crew is None) as lines:
        outcomes = predict_scenes(model, jobs, crew=crew, engine=running, progress=lines)
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(outcomes) == 1 and errors:
        raise errors[0]
    if len(errors) == len(outcomes):
        listed = "".join(f"\n  {error.file}: {error.found}" for error in errors)
        raise DataError(f"none of {len(outcomes)} scenes could be mapped:{listed}")
    return outcomes


def summary(outcomes: Sequence[SceneOutcome]) -> str:
    """One line for each scene: what came of it."""
    names = [Path(outcome.job.source).name for outcome in outcomes]
    width = max(map(len, names))
    lines = []
    for name, outcome in zip(names, outcomes, strict=True):
        told = outcome.error.found.splitlines()[0] if outcome.error is not None else ""
        if outcome.result is not None:
            told = f"{outcome.result.pixels / 1e6:.1f} Mpx in {_clock(outcome.result.seconds)}"
        lines.append(f"{name:{width}}  {'failed' if outcome.error else 'done  '}  {told}")
    return "\n".join(lines)


def scene_dict(scene: SceneResult) -> dict[str, Any]:
    """A finished scene as plain values, for `--json`."""
    beside = {"confidence": scene.confidence, "sets": scene.sets}
    paths = {
        "labels": str(scene.labels),
        **{name: str(path) if path else None for name, path in beside.items()},
    }
    return {**scene.__dict__, **paths, "seconds": round(scene.seconds, 3), "notes": list(scene.notes)}


class ManyLines:
    """Prints how far scenes are: one after the other, or several at a time."""

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone
        self.open: dict[str, Lines] = {}

    def __enter__(self) -> ManyLines:
        return self

    def __exit__(self, *_: object) -> None:
        for lines in self.open.values():
            lines.close()

    def __call__(self, source: str, told: SceneProgress) -> None:
        """Show progress of one scene."""
        if source not in self.open:
            if self.alone:
                self.__exit__()
                self.open = {}
            self.open[source] = Lines(source, terminal=self.alone and sys.stderr.isatty())
        self.open[source](told)


class Lines:
    """Prints what a scene needs before it starts, then how far it is."""

    def __init__(self, source: str, *, terminal: bool) -> None:
        self.name = Path(source).name
        self.terminal = terminal
        self.last = 0.0
        self.announced = False
        self.line = ""

    def close(self) -> None:
        """End the line."""
        if self.terminal and self.announced:
            print(file=sys.stderr)

    def __call__(self, told: SceneProgress) -> None:
        """Show progress: at once on a terminal, now and then elsewhere."""
        if not self.announced:
            self.announced = True
            for note in told.notes:
                print(f"{self.name}: {note}", file=sys.stderr)
            kept = f", {told.done / told.total:.0%} done before" if told.done else ""
            print(
                f"{self.name}: {told.total / 1e6:.1f} Mpx to compute{kept}, at most "
                f"{told.memory / 2**30:.2f} GiB of memory",
                file=sys.stderr,
            )
        now, line = time.monotonic(), f"{self.name}: {progress_line(told)}"
        if line == self.line or (not self.terminal and now - self.last < EVERY and told.done < told.total):
            return
        self.last, self.line = now, line
        if self.terminal:
            print(f"\r{line:<79}", end="", file=sys.stderr)
        else:
            print(line, file=sys.stderr)


def progress_line(told: SceneProgress) -> str:
    """Share, speed and time left.

    >>> from pixelwise.infer.sceneoptions import SceneProgress
    >>> progress_line(SceneProgress("tiles", 50_000_000, 100_000_000, 50_000_000, 25.0, 0, ()))
    ' 50 %, 2.00 Mpx/s, 0:00:25 left'
    """
    if told.stage == "writing":
        return "putting the map together" if told.done < told.total else "done"
    left = "" if told.left is None else f", {_clock(told.left)} left"
    return f"{100 * told.done / told.total:3.0f} %, {told.rate / 1e6:.2f} Mpx/s{left}"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
