"""Drawn figures: training curves, picture grids, large confusion matrices; matplotlib loads on first use."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.ops.colors import IGNORE_COLOR
from pixelwise.report.pictures import Rgb, colored, overlay
from pixelwise.types import IGNORE, ClassSpec, Confusion, Labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["svg", "png"]


@dataclass(frozen=True, eq=False)
class Panel:
    """One image with its truth and its prediction: `rgb` uint8 [H, W, 3], labels uint8 [H, W].

    `score` is the mean IoU of this image alone, NaN if it has none.
    """

    name: str
    rgb: Rgb
    truth: Labels
    prediction: Labels
    score: float = math.nan


def curves_figure(
    rows: Sequence[Mapping[str, Any]],
    classes: Sequence[ClassSpec] = (),
    *,
    dark: bool = False,
    kind: Kind = "svg",
) -> bytes:
    """Loss and validation mean IoU over the minutes of a run, on a transparent ground.

    Args:
        rows: Lines of `metrics.jsonl`: `seconds`, and `loss` or `mean_iou` and `class_iou` or both.
        classes: For thin lines of each class, in its colour.
        dark: For a dark page.
        kind: `svg` or `png`.
    """
    with _figure((9.6, 3.2), dark=dark) as figure:
        left, right = figure.subplots(1, 2)
        _draw_loss(left, [row for row in rows if _number(row.get("loss"))])
        _draw_mean_iou(right, [row for row in rows if _number(row.get("mean_iou"))], classes)
        for axes in (left, right):
            axes.set_xlabel("minutes")
            axes.set_xlim(left=0)
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        return _saved(figure, kind)


def confusion_figure(
    confusion: Confusion, names: Sequence[str], *, dark: bool = False, kind: Kind = "png"
) -> bytes:
    """A confusion matrix as a heat map, each row divided by its sum."""
    matrix = np.asarray(confusion, np.float64)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.full(matrix.shape, math.nan), where=totals > 0)
    side = max(4.0, min(16.0, 0.16 * len(names) + 2))
    with _figure((side + 0.6, side), dark=dark) as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="magma" if dark else "magma_r", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=6)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        figure.colorbar(image, ax=axes, shrink=0.6, label="share of the true class")
        return _saved(figure, kind)


def roc_figure(
    false_rate: Sequence[float],
    true_rate: Sequence[float],
    *,
    name: str,
    dark: bool = False,
    kind: Kind = "svg",
) -> bytes:
    """A ROC curve for the class `name`, with the diagonal of guessing, on a transparent ground."""
    with _figure((4.2, 4.0), dark=dark) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, linestyle="--")
        axes.plot(false_rate, true_rate, color="#3b74d1", linewidth=2)
        axes.set_aspect("equal")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("share of the other images called so, wrongly")
        axes.set_ylabel(f"share of the images of {name} found")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        return _saved(figure, kind)


def reliability_figure(bins: Sequence[Mapping[str, Any]], *, dark: bool = False, kind: Kind = "svg") -> bytes:
    """Share of right pixels over the probability that the network gave, with the diagonal of perfect calibration.

    Args:
        bins: Each with `low`, `high`, `pixels`, `confidence` and `accuracy`; the last two None without pixels.
        dark: For a dark page.
        kind: `svg` or `png`.
    """
    filled = [row for row in bins if row["pixels"]]
    total = sum(row["pixels"] for row in filled)
    with _figure((4.2, 4.6), dark=dark) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        upper.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, linestyle="--")
        for row in filled:
            width = row["high"] - row["low"]
            upper.bar(row["low"], row["accuracy"], width, align="edge", color="#7f9fd6", edgecolor="#3b74d1")
            lower.bar(row["low"], row["pixels"] / total, width, align="edge", color="#7f9fd6")
        upper.plot(
            [row["confidence"] for row in filled],
            [row["accuracy"] for row in filled],
            color="#d1603b",
            marker="o",
            markersize=3,
        )
        upper.set_ylim(0, 1)
        upper.set_ylabel("share that is right")
        lower.set_ylabel("share of\npixels")
        lower.set_xlim(0, 1)
        lower.set_xlabel("probability of the predicted class")
        for axes in (upper, lower):
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        return _saved(figure, kind)


def montage(
    panels: Sequence[Panel],
    classes: Sequence[ClassSpec],
    *,
    alpha: float = 1.0,
    width: float = 9.0,
    legend: bool = True,
) -> bytes:
    """A grid with one row per panel, image, truth and prediction side by side, as PNG.

    Args:
        panels: The rows.
        classes: Colours and names for the labels and the legend.
        alpha: 1 shows plain class colours, less lays them over the image.
        width: Inches; 150 pixels each.
        legend: Name the classes below.
    """
    heights = [3 * panel.rgb.shape[0] / panel.rgb.shape[1] for panel in panels]
    lines = math.ceil((len(classes) + 1) / 6) if legend else 0
    height = width / 9 * sum(heights) + 0.3 + 0.25 * lines
    with _figure((width, height), dark=False) as figure:
        grid = figure.subplots(len(panels), 3, squeeze=False, height_ratios=heights)
        for axes_row, panel in zip(grid, panels, strict=True):
            for axes, picture in zip(axes_row, _triple(panel, classes, alpha), strict=True):
                axes.imshow(picture, interpolation="nearest")
                axes.set_axis_off()
        for axes, title in zip(grid[0], ("image", "truth", "prediction"), strict=True):
            axes.set_title(title, fontsize=11)
        if legend:
            holes = any((panel.truth == IGNORE).any() for panel in panels)
            _legend(figure, classes, ignored=holes and alpha >= 1)  # an overlay leaves them clear
        return _saved(figure, "png", transparent=False)


def _triple(panel: Panel, classes: Sequence[ClassSpec], alpha: float) -> tuple[Rgb, Rgb, Rgb]:
    if alpha >= 1:
        return panel.rgb, colored(panel.truth, classes), colored(panel.prediction, classes)
    layers = (overlay(panel.rgb, labels, classes, alpha) for labels in (panel.truth, panel.prediction))
    return (panel.rgb, *layers)  # type: ignore[return-value]


def _legend(figure: Figure, classes: Sequence[ClassSpec], *, ignored: bool) -> None:
    from matplotlib.patches import Patch

    shown = [*classes, ClassSpec("ignored", IGNORE_COLOR)] if ignored else classes
    patches = [
        Patch(facecolor=spec.color, edgecolor="#666666", linewidth=0.5, label=spec.name) for spec in shown
    ]
    figure.legend(
        handles=patches, loc="outside lower center", ncols=min(6, len(patches)), frameon=False, fontsize=9
    )


def _draw_loss(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    axes.set_title("training loss", loc="left", fontsize=10)
    minutes = np.array([row["seconds"] for row in rows]) / 60
    loss = np.array([row["loss"] for row in rows], np.float64)
    axes.plot(minutes, loss, color="#7f9fd6", linewidth=0.8, alpha=0.6, marker="." if len(rows) == 1 else "")
    if len(rows) > 10:
        axes.plot(minutes, _smooth(loss, max(2, len(rows) // 30)), color="#3b74d1", linewidth=1.8)
    if len(rows) > 1 and loss.min() > 0 and loss.max() > 20 * loss.min():
        axes.set_yscale("log")


def _draw_mean_iou(axes: Axes, rows: Sequence[Mapping[str, Any]], classes: Sequence[ClassSpec]) -> None:
    axes.set_title("validation mean IoU", loc="left", fontsize=10)
    axes.set_ylim(0, 1)
    minutes = [row["seconds"] / 60 for row in rows]
    for index, spec in enumerate(classes):
        values = [(row.get("class_iou") or [None] * len(classes))[index] for row in rows]
        numbers = [math.nan if value is None else value for value in values]
        axes.plot(minutes, numbers, color=spec.color, linewidth=1, alpha=0.7)
    if not rows:
        return
    means = [row["mean_iou"] for row in rows]
    axes.plot(minutes, means, color="#d1603b", linewidth=2.2, marker="o", markersize=3)
    axes.set_title(f"validation mean IoU, best {max(means):.3f}", loc="left", fontsize=10)


def _smooth(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Mean of each value and up to `reach` values on either side."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.minimum(len(values), np.arange(len(values)) + reach + 1)
    starts = np.maximum(0, np.arange(len(values)) - reach)
    smoothed: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return smoothed


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


@contextmanager
def _figure(size: tuple[float, float], *, dark: bool) -> Iterator[Figure]:
    """A figure outside pyplot, so that nothing stays open and no window system is asked for."""
    import matplotlib
    from matplotlib.figure import Figure

    ink = "#d6d9de" if dark else "#30343b"
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style: dict[Any, Any] = {
        "text.parse_math": False,  # a class may be called $x$
        "svg.hashsalt": "pixelwise",  # the same figure gives the same bytes
        "font.size": 9,
        **dict.fromkeys(inked, ink),
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield Figure(figsize=size, layout="constrained")


def _saved(figure: Figure, kind: Kind, *, transparent: bool = True) -> bytes:
    stream = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(stream, format=kind, dpi=150, transparent=transparent, metadata=metadata)
    return stream.getvalue()
