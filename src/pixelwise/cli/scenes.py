"""Scenes on the command line: what is announced, how far it is, and what was written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.errors import DataError, OptionError

if TYPE_CHECKING:
    from pixelwise.infer.sceneoptions import SceneProgress, SceneResult
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


@dataclass(frozen=True)
class SceneSettings:
    """What the command line says about scenes."""

    overlap: Overlap
    confidence: bool
    resume: bool
    allow_remote: bool
    engine: str
    objects: bool
    averaging: str = ""  # the option of `Averaging` that was given, if any


def map_all(
    network: Network,
    inputs: Sequence[Path],
    out: Path,
    *,
    settings: SceneSettings,
    map_images: Callable[[Sequence[Path]], list[Path]],
) -> tuple[list[Path], list[SceneResult]]:
    """Images by `map_images`, scenes tile by tile: all files written, and what came of the scenes.

    Raises:
        DataError: some inputs could not be mapped; the others were.
        UnreadableError, OptionError, OutputError: see `predict_files` and `predict_scene`.
    """
    from pixelwise.infer.placed import place_labels, told_apart
    from pixelwise.models.segmenter import Segmenter

    if not isinstance(network, Segmenter):
        return map_images(inputs), []
    found = told_apart(inputs, out)
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
    scenes = map_scenes(network, found.scenes, out, settings)
    for scene in scenes:
        written += [scene.labels] if scene.confidence is None else [scene.labels, scene.confidence]
    return written, scenes


def map_scenes(
    model: Segmenter, scenes: Sequence[tuple[str, Path]], out: Path, settings: SceneSettings
) -> list[SceneResult]:
    """Map scenes one after the other to `out/labels/NAME.tif`; one that cannot be mapped does not stop the others.

    `auto` is the eager engine here: a map that goes on later must not change engines on the way.

    Raises:
        DataError: some scenes could not be mapped; the others were.
    """
    from pixelwise.infer import open_engine
    from pixelwise.infer.scenes import SceneOptions, predict_scene
    from pixelwise.infer.windows import TileOptions

    running = None
    if scenes and settings.engine not in ("auto", "eager"):
        running = open_engine(model, settings.engine)
    done: list[SceneResult] = []
    failures: list[DataError] = []
    for source, name in scenes:
        options = SceneOptions(
            TileOptions(settings.overlap),
            confidence=out / "confidence" / f"{name}.tif" if settings.confidence else None,
            resume=settings.resume,
            allow_remote=settings.allow_remote,
        )
        target = out / "labels" / f"{name}.tif"
        try:
            with Lines(source) as lines:
                done.append(
                    predict_scene(model, source, target, options=options, progress=lines, engine=running)
                )
        except DataError as error:
            error.file = error.file or Path(source)
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        listed = "".join(f"\n  {error.file}: {error.found}" for error in failures)
        raise DataError(f"{len(failures)} of {len(scenes)} scenes could not be mapped:{listed}")
    return done


def scene_dict(scene: SceneResult) -> dict[str, Any]:
    """A finished scene as plain values, for `--json`."""
    paths = {"labels": str(scene.labels), "confidence": str(scene.confidence) if scene.confidence else None}
    return {**scene.__dict__, **paths, "seconds": round(scene.seconds, 3), "notes": list(scene.notes)}


class Lines:
    """Prints what a scene needs before it starts, then how far it is."""

    def __init__(self, source: str) -> None:
        self.name = Path(source).name
        self.terminal = sys.stderr.isatty()
        self.last = 0.0
        self.announced = False
        self.line = ""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
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
