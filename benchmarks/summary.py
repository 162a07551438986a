"""One table and one picture of all benchmarks of a machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = {"unet": "U-Net", "deeplabv3plus": "DeepLab v3+", "fcn8s": "FCN-8s"}
SHARE = "share of the floor"
GOAL_OF_HEAD = {"labels": 8.0, "loss": 4.0}  # against torch's best eager way


@dataclass(frozen=True)
class Line:
    """One figure: how many times quicker than a peer, or a share of what is possible, and its goal."""

    bench: str
    what: str
    against: str
    value: float
    goal: float | None = None
    is_share: bool = False

    @property
    def shown(self) -> str:
        """The value for people."""
        return f"{100 * self.value:.0f} %" if self.is_share else f"{self.value:.3g} times"

    @property
    def aim(self) -> str:
        """The goal for people."""
        if self.goal is None:
            return ""
        return f"{100 * self.goal:.0f} %" if self.is_share else f"{self.goal:.3g} times"


def stored(folder: Path) -> dict[str, Any]:
    """Results by the name of the benchmark."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def lines(found: dict[str, Any]) -> Iterator[Line]:
    """Every figure that there is."""
    for row in found.get("inference", {}).get("rows", []):
        what = f"{NAMES[row['model']]}, batch {row['batch']}"
        if row["ratio_to_float32"]:
            goal = 10.0 if row["model"] == "unet" else 7.0
            yield Line("prediction", what, "smp float32", row["ratio_to_float32"], goal)
        if row["ratio_to_best_peer"]:
            yield Line("prediction", what, "best peer", row["ratio_to_best_peer"], 1.15)
    for row in found.get("train_step", {}).get("rows", []):
        what = f"{NAMES[row['model']]}, {row['size'][0]} x {row['size'][1]}"
        yield Line("training step", what, "smp float32", row["ratio_to_smp_float32"], 4.5)
        yield Line("training step", what, "smp bfloat16", row["ratio_to_smp_bfloat16"], 1.5)
    for model, seconds in found.get("loss_in_training", {}).get("seconds", {}).items():
        what = f"step of {NAMES[model]}, low-resolution logits"
        yield Line("head", what, "full-size logits", seconds["full"] / seconds["low"])
    yield from _head(found.get("head", {}))
    for data, counts in found.get("confusion", {}).items():
        if isinstance(counts, dict):
            goal = 20.0 if data.startswith("real") else None
            yield Line("confusion", data, "torchmetrics", counts["times torchmetrics"], goal)
    for row in found.get("feed", {}).get("rows", []):
        what = f"batches of {row['size'][0]} x {row['size'][1]}"
        yield Line("feed", what, "albumentations, 2 workers", row["ratio"], 8)
    for row in found.get("floor", {}).get("rows", []):
        goal = 0.4 if row["what"] == "training" else 0.55
        kind = "training" if row["what"] == "training" else "prediction"
        what = f"{kind}, {NAMES[row['model']]}, batch {row['batch']}"
        yield Line("floor", what, SHARE, row["share_of_floor"], goal, is_share=True)


def _head(found: dict[str, Any]) -> Iterator[Line]:
    for classes, figures in found.items():
        if isinstance(figures, dict):
            for name, value in figures["ratios"].items():
                part, _, peer = name.partition(": times ")
                if part in GOAL_OF_HEAD:
                    goal = GOAL_OF_HEAD[part] if peer == "eager" else None
                    yield Line("head", f"{part}, {classes}", f"torch {peer}", value, goal)


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
            "Written by `python benchmarks/all.py`; ratios above 1 are in our favour.",
            "",
            "| benchmark | what | against | reached | goal |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Load of the machine before each: {loads}.",
            "",
        ]
    )


def draw(folder: Path, picture: Path) -> None:
    """Bars of all figures, and a mark where each should be."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    every = list(lines(stored(folder)))
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
        title = "share of the floor of this machine"
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
        f"{line.bench}: {line.what}" + ("" if line.is_share else f" / {line.against}") for line in every
    ]
    axis.set_yticks(places, labels, fontsize=7)
    axis.set_ylim(len(every) - 0.4, -0.6)
    axis.set_title(title + "; black: goal", fontsize=9, loc="left")
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


_COLORS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377")
