"""One table and one picture of all benchmarks of a machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

NAMES = {"unet": "U-Net", "deeplabv3plus": "DeepLab v3+", "fcn8s": "FCN-8s"}
SHARE = "share of the floor"
GOALS_OF_HEAD = {"labels": {"eager": 8.0}, "loss": {"eager": 4.0, "compiled": 2.0}}  # torch's best layout


@dataclass(frozen=True)
class Line:
    """One figure: how many times quicker than a peer, or a share of what is possible, and its goal.

    `at_most` marks costs, which are better when small; they are in the table alone, and not in the picture.
    """

    bench: str
    what: str
    against: str
    value: float
    goal: float | None = None
    unit: Literal["times", "%", "s"] = "times"
    at_most: bool = False

    @property
    def is_share(self) -> bool:
        """Whether the value is a share."""
        return self.unit == "%"

    @property
    def shown(self) -> str:
        """The value for people."""
        return self._spoken(self.value)

    @property
    def aim(self) -> str:
        """The goal for people."""
        if self.goal is None:
            return ""
        return ("at most " if self.at_most else "") + self._spoken(self.goal)

    def _spoken(self, value: float) -> str:
        return f"{100 * value if self.is_share else value:.3g} {self.unit}"


def stored(folder: Path) -> dict[str, Any]:
    """Results by the name of the benchmark."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def lines(found: dict[str, Any]) -> Iterator[Line]:
    """Every figure that there is."""
    for part in (_prediction, _training, _head, _confusion, _feed, _floor, _whole):
        yield from part(found)


def _prediction(found: dict[str, Any]) -> Iterator[Line]:
    for row in found.get("inference", {}).get("rows", []):
        what = f"{NAMES[row['model']]}, batch {row['batch']}"
        goals = {"float32": 10.0 if row["model"] == "unet" else 7.0, "bfloat16": 2.0, "best_peer": 1.15}
        for peer, goal in goals.items():
            if row[f"ratio_to_{peer}"]:
                against = "best peer" if peer == "best_peer" else f"smp {peer}"
                yield Line("prediction", what, against, row[f"ratio_to_{peer}"], goal)
        if row.get("integers_to_best_peer"):
            yield Line("prediction", f"{what}, integers", "best peer", row["integers_to_best_peer"], 1.15)
            yield Line("prediction", f"{what}, integers", "OpenVINO, NNCF", row["integers_to_integers"])


def _training(found: dict[str, Any]) -> Iterator[Line]:
    for row in found.get("train_step", {}).get("rows", []):
        what = f"{NAMES[row['model']]}, {row['size'][0]} x {row['size'][1]}"
        yield Line("training step", what, "smp float32", row["ratio_to_smp_float32"], 4.5)
        yield Line("training step", what, "smp bfloat16", row["ratio_to_smp_bfloat16"], 1.5)
        if "ratio_to_best_peer" in row:  # in results of before there is none
            yield Line("training step", what, "best peer", row["ratio_to_best_peer"])
    for model, seconds in found.get("loss_in_training", {}).get("seconds", {}).items():
        what = f"step of {NAMES[model]}, low-resolution logits"
        yield Line("head", what, "full-size logits", seconds["full"] / seconds["low"])


def _head(found: dict[str, Any]) -> Iterator[Line]:
    for classes, figures in found.get("head", {}).items():
        if not classes.endswith(" classes"):
            continue
        for name, value in figures["ratios"].items():
            part, _, peer = name.partition(": times ")
            if part in GOALS_OF_HEAD:
                goal = GOALS_OF_HEAD[part].get(peer)
                yield Line("head", f"{part}, {classes}", f"torch {peer}", value, goal)
        for part in GOALS_OF_HEAD:
            share = figures["shares"][f"{part}: share of eager's memory"]
            what = f"{part}, {classes}, extra memory"
            yield Line("head", what, "torch eager", share, 0.125, unit="%", at_most=True)


def _confusion(found: dict[str, Any]) -> Iterator[Line]:
    for data, counts in found.get("confusion", {}).items():
        if data.endswith(" classes"):
            real = data.startswith("real")
            goals = (20.0, 4.0, 0.5) if real else (None, None, None)
            bincount = min(counts["times numpy bincount"], counts["times torch bincount"])
            yield Line("confusion", data, "torchmetrics", counts["times torchmetrics"], goals[0])
            yield Line("confusion", data, "bincount of int64", bincount, goals[1])
            reading = counts["share of read bandwidth"]
            yield Line("confusion", data, "speed of reading", reading, goals[2], unit="%")


def _feed(found: dict[str, Any]) -> Iterator[Line]:
    feed = found.get("feed", {})
    for row in feed.get("rows", []):
        what = f"batches of {row['size'][0]} x {row['size'][1]}"
        yield Line("feed", what, "albumentations, 2 workers", row["ratio"], 8)
    if "share_of_a_step" in feed:
        what = "a batch of 360 x 480"
        yield Line("feed", what, "a step of U-Net", feed["share_of_a_step"], 0.05, unit="%", at_most=True)


def _floor(found: dict[str, Any]) -> Iterator[Line]:
    for row in found.get("floor", {}).get("rows", []):
        goal = 0.4 if row["what"] == "training" else 0.55
        kind = "training" if row["what"] == "training" else "prediction"
        what = f"{kind}, {NAMES[row['model']]}, batch {row['batch']}"
        yield Line("floor", what, SHARE, row["share_of_floor"], goal, unit="%")


def _whole(found: dict[str, Any]) -> Iterator[Line]:
    """Whole commands."""
    course = found.get("time_to_accuracy", {})
    if course.get("seeds"):
        ours, plain = (course["mean_iou"][name] for name in ("ours", "plain"))
        what = f"mean IoU {ours:.3f}, {len(course['seeds'])} seeds"
        peer = f"time of a plain recipe to {plain:.3f}"
        yield Line("time to accuracy", what, peer, course["share_of_the_time"], 0.25, unit="%", at_most=True)
    if start := found.get("start"):
        for what, goal in (("predict one image", 4.0), ("pixelwise --help", 0.5), ("import torch", None)):
            yield Line("start", what, "", start["seconds"][what], goal, unit="s", at_most=True)


def table(folder: Path) -> str:
    """Markdown: every figure with its goal, and what else the machine was doing."""
    found = stored(folder)
    rows = [
        f"| {line.bench} | {line.what} | {line.against} | {line.shown} | {line.aim} |"
        for line in lines(found)
    ]
    loads = ", ".join(
        f"{name} {one['load_before']:.2f}" for name, one in found.items() if "load_before" in one
    )
    return "\n".join(
        [
            f"# {folder.name}",
            "",
            "Written by `python benchmarks/all.py`; times above 1 are in our favour.",
            "",
            "| benchmark | what | against | reached | goal |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Load of the machine before each: {loads}.",
            *_beside(found),
            "",
        ]
    )


def _beside(found: dict[str, Any]) -> Iterator[str]:
    """What other programs took when each began, where it was noted."""
    noted = {name: one["running_before"] for name, one in found.items() if "running_before" in one}
    if noted:
        shown = (
            f"{name} {', '.join(f'{program} {cores:g}' for program, cores in running.items()) or 'nothing'}"
            for name, running in noted.items()
        )
        yield f"Cores that other programs took: {'; '.join(shown)}."


def draw(folder: Path, picture: Path) -> None:
    """Bars of all figures, and a mark where each should be."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    every = [line for line in lines(stored(folder)) if not line.at_most]
    parts = [[line for line in every if line.is_share == is_share] for is_share in (False, True)]
    parts = [part for part in parts if part]
    if not parts:
        return
    heights = [len(part) + 1 for part in parts]
    figure, axes = plt.subplots(
        len(parts),
        figsize=(9, 0.25 * sum(heights) + 0.9 * len(parts)),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    for axis, part in zip(axes[:, 0], parts, strict=True):
        _bars(axis, part)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _bars(axis: Any, every: list[Line]) -> None:
    shares = every[0].is_share
    start = 0.0 if shares else 1.0
    colors = dict(zip(dict.fromkeys(line.bench for line in every), _COLORS, strict=False))
    places = range(len(every))
    axis.barh(
        places,
        [line.value - start for line in every],
        left=start,
        color=[colors[line.bench] for line in every],
        height=0.72,
    )
    for place, line in zip(places, every, strict=True):
        axis.text(1.01, place, line.shown, transform=axis.get_yaxis_transform(), va="center", fontsize=7)
        if line.goal is not None:
            axis.plot([line.goal] * 2, [place - 0.4, place + 0.4], color="black", linewidth=2)
    if shares:
        axis.set_xlim(0, 1)
        axis.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        title = "share of what this machine could do"
    else:
        most = 1.2 * max(max(line.value, line.goal or 1) for line in every)
        axis.set_xscale("log")
        least = min(0.9, *(0.9 * line.value for line in every))
        axis.set_xlim(least, most)
        ticks = [tick for tick in (0.5, *(2**power for power in range(12))) if least < tick < most]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.axvline(1, color="0.3", linewidth=1)
        title = "times as fast as the peer (logarithmic)"
    labels = [
        f"{line.bench}: {line.what}" + ("" if line.against == SHARE else f" / {line.against}")
        for line in every
    ]
    axis.set_yticks(places, labels, fontsize=7)
    axis.set_ylim(len(every) - 0.4, -0.6)
    axis.set_title(title + "; black: goal", fontsize=9, loc="left")
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


_COLORS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377")
