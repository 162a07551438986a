"""The results of the course: written as JSON into recipes/results, each with its machine, and listed as tables."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "recipes" / "results"

Result = dict[str, Any]


def store(name: str, result: Result) -> Path:
    """Write `result` as NAME.json, with the machine and the revision it came from."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    marked = dict(result)  # what is judged again keeps its own
    marked.setdefault("machine", machine())
    marked.setdefault("revision", revision())
    path.write_text(json.dumps(marked, indent=1) + "\n", encoding="utf-8")
    return path


def machine() -> dict[str, Any]:
    """Processor, threads and version of torch; seconds of one machine are not those of another."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def revision() -> str:
    """Of this checkout, as git describes it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def table() -> str:
    """All stored results as Markdown: one row per experiment that ends in a score, then the others."""
    scored: dict[str, list[Result]] = {}
    others = []
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "test" in result:
            scored.setdefault(result["experiment"], []).append(result)
        elif "command" in result:
            others.append(result)
    lines = [
        "| experiment | measure | test | seeds | minutes | steps | parameters | machine |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    ordered = sorted(scored.items(), key=lambda row: (row[0].partition("@")[2], _mean(row[1], "test")))
    for name, results in ordered:
        first = results[0]
        minutes = _mean(results, "minutes") if "minutes" in first else _mean(results, "seconds") / 60
        steps = f"{_mean(results, 'steps'):,.0f}" if "steps" in first else ""
        parameters = f"{first['parameters']:,}" if "parameters" in first else ""
        lines.append(
            f"| {name} | {first['measure'].replace('_', ' ')} | {_score(results)} | {len(results)} | "
            f"{minutes:.1f} | {steps} | {parameters} | {_makers(results)} |"
        )
    if any("]*" in line for line in lines):
        lines += [
            "",
            "\\* so few images hold what this is made of that the interval may miss more often than 1 in 20",
        ]
    lines += ["", "| other results | what came out | machine |", "| --- | --- | --- |"]
    lines += [f"| {_title(one)} | {_outcome(one)} | {_makers([one])} |" for one in others]
    return "\n".join(lines)


def _mean(results: list[Result], key: str) -> float:
    return float(sum(result[key] for result in results) / len(results))


def _makers(results: list[Result]) -> str:
    """Of the processors, and the number of threads where it is not one."""
    found = set()
    for result in results:
        told = result.get("machine", "")
        facts = told if isinstance(told, dict) else {"processor": str(told)}
        maker = facts.get("processor", "").replace("(R)", "").split(" ")[0]
        threads = facts.get("threads", 1)
        if maker:
            found.add(maker if threads == 1 else f"{maker}, {threads} threads")
    return ", ".join(sorted(found))


def _score(results: list[Result]) -> str:
    """The mean over seeds with its range, or one score with its interval over images, and the ROC area."""
    values = [result["test"] for result in results]
    text = f"{sum(values) / len(values):.3f}"
    first = results[0]
    scores = first.get("scores", {})
    if len(values) > 1:
        return f"{text} ({min(values):.3f} to {max(values):.3f})"
    reliable = scores.get("interval_reliable", first.get("interval_reliable", True))
    text += _bounds(first.get("interval") or scores.get(f"{first['measure']}_interval"), reliable)
    roc = scores.get("roc") or {}
    area = first.get("roc_area", roc.get("area"))
    around = first.get("roc_area_interval", roc.get("area_interval"))
    return f"{text}, ROC area {area:.3f}{_bounds(around)}" if area else text


def _bounds(interval: list[float] | None, reliable: bool = True) -> str:
    if not interval:
        return ""
    return f" [{interval[0]:.3f}, {interval[1]:.3f}]" + "*" * (not reliable)


def _title(result: Result) -> str:
    script = result["command"].removeprefix("python recipes/course/").split()[0]
    return str(result.get("experiment", script))


def _outcome(result: Result) -> str:
    """In one phrase: a difference, what was lost, or where each curve begins and ends."""
    if "difference" in result:
        seeds = " and ".join(str(len(listed)) for listed in result["seeds"].values())
        chance = f"p {result['p']:.2g}" if result["p"] >= 0.001 else "p below 0.001"
        return f"{result['difference']:.3f}{_bounds(result['interval'])}, {chance}; {seeds} seeds"
    if "lost" in result:
        measure = result["measure"].replace("_", " ")
        return f"{measure} {result['before']:.3f} before, {result['after']:.3f} after"
    if "rows" in result:
        return f"{len(result['rows'])} networks: {', '.join(row['network'] for row in result['rows'])}"
    curves = result.get("result", {})
    parts = []
    for name, curve in curves.items():
        values = curve.get("validation") if isinstance(curve, dict) else curve
        if isinstance(values, list) and name != "moved by":
            parts.append(f"{name} {values[0]:.3g} to {values[-1]:.3g}")
    return ", ".join(parts)
