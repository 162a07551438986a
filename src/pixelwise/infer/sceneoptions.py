"""How a scene is mapped, how far it is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.errors import OptionError
from pixelwise.infer.predictor import Precision
from pixelwise.infer.windows import TileOptions, Wanted


@dataclass(frozen=True)
class SceneOptions:
    """How a scene is mapped.

    Attributes:
        tiles: How it is cut.
        confidence: File for the probability of each label (value / 255, 0 where there is no data), if wanted.
        sets: File for the number of classes in each label set (0 where there is no data), if wanted.
        resume: Go on with unfinished work; a finished map of the same scene by the same model stays.
        allow_remote: Scenes may be read over the network.
        precision: `float32` or `bfloat16`; by default what the bundle was checked with.
        resample: Read a scene at the pixel size of the training images; its map has these pixels then.
    """

    tiles: TileOptions = field(default_factory=TileOptions)
    confidence: Path | None = None
    sets: Path | None = None
    resume: bool = False
    allow_remote: bool = False
    precision: Precision | None = None
    resample: bool = False

    def __post_init__(self) -> None:
        if self.sets is not None and self.tiles.overlap == "blend":
            raise OptionError(
                "label sets of tiles that fade into one another: their threshold is not that of single tiles",
                remedy="give --overlap exact or a number of pixels, or leave out --label-sets",
            )

    @property
    def want(self) -> Wanted:
        """What is wanted beside labels."""
        return Wanted(self.confidence is not None, self.sets is not None)


@dataclass(frozen=True)
class SceneProgress:
    """How far a scene is, in pixels that the network has to look at, all passes together.

    Attributes:
        stage: `averages`, `tiles` or `writing`.
        done: Pixels finished.
        total: All of them.
        fresh: Pixels finished since the start; the others come from before an interruption.
        seconds: Since the start.
        memory: Bytes that the process will hold at its peak, as announced before the start.
        notes: What the user should know about this scene.
    """

    stage: str
    done: int
    total: int
    fresh: int
    seconds: float
    memory: int
    notes: tuple[str, ...]

    @property
    def rate(self) -> float:
        """Pixels per second; 0 before the first."""
        return self.fresh / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that are left at this rate."""
        return (self.total - self.done) / self.rate if self.rate else None


@dataclass(frozen=True)
class SceneResult:
    """A finished map.

    Attributes:
        labels: Its file.
        confidence: The file beside it, if asked for.
        sets: The same.
        pixels: Of the scene.
        tiles: Of the plan.
        resumed: Tiles that were finished before.
        skipped: Tiles in which there is no data.
        seconds: That it took.
        memory: Bytes announced.
        notes: What the user should know about this scene.
    """

    labels: Path
    confidence: Path | None
    sets: Path | None
    pixels: int
    tiles: int
    resumed: int
    skipped: int
    seconds: float
    memory: int
    notes: tuple[str, ...]
