"""Boundary scores and scores by the size of objects as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pixelwise.metrics.boundaryscores import BoundaryScores
from pixelwise.metrics.objects import ObjectScores


def render_boundary(scores: BoundaryScores) -> str:
    """Boundary scores as a text table; distances where they were measured.

    >>> import numpy as np
    >>> from pixelwise.metrics.boundary import BoundaryCounter
    >>> counter = BoundaryCounter(["ground", "house"], width=1)
    >>> counter.add(np.eye(3, dtype=np.uint8), np.eye(3, dtype=np.uint8))
    >>> print(render_boundary(counter.scores()))
    class   boundary IoU  boundary F  precision  recall  mean HD95 px  mean ASSD px
    ground         1.000       1.000      1.000   1.000         0.000         0.000
    house          1.000       1.000      1.000   1.000         0.000         0.000
    mean boundary IoU 1.000 (width 1 px)   mean boundary F 1.000 (tolerance 1 px)
    """
    heads = ["class", "boundary IoU", "boundary F", "precision", "recall"]
    if scores.unit:
        heads += [f"mean HD95 {scores.unit}", f"mean ASSD {scores.unit}"]
    rows = []
    for one in scores.classes:
        values = [one.boundary_iou, one.boundary_f, one.boundary_precision, one.boundary_recall]
        if scores.unit:
            values += [one.image_mean_hd95, one.image_mean_assd]
        rows.append([one.name, *(_number(value) for value in values)])
    lines = _table(heads, rows)
    lines.append(
        f"mean boundary IoU {_number(scores.mean_boundary_iou)} (width {_span(*scores.width)} px)"
        f"   mean boundary F {_number(scores.mean_boundary_f)} (tolerance {_span(*scores.tolerance)} px)"
    )
    if scores.undefined:
        lines.append(f"without a contour, left out of the means: {', '.join(scores.undefined)}")
    return "\n".join(lines)


def render_objects(scores: ObjectScores) -> str:
    """Scores by the size of objects as a text table: objects, share found and recall of their pixels.

    >>> import numpy as np
    >>> from pixelwise.metrics.objects import ObjectCounter
    >>> counter = ObjectCounter(["ground", "house"])
    >>> counter.add(np.eye(2, dtype=np.uint8), np.zeros((2, 2), np.uint8))
    >>> print(render_objects(counter.scores()))
    class        small  found  recall  medium  found  recall  large  found  recall
    ground           1  1.000   1.000       0      -       -      0      -       -
    house            1  0.000   0.000       0      -       -      0      -       -
    all classes      2  0.500   0.500       0      -       -      0      -       -
    """
    heads = ["class"]
    for size in ("small", "medium", "large"):
        heads += [size, "found", "recall"]
    named = [*((one.name, one.sizes) for one in scores.classes), ("all classes", scores.sizes)]
    rows = []
    for name, sizes in named:
        cells = [(f"{score.objects:,}", _number(score.found), _number(score.recall)) for score in sizes]
        rows.append([name, *(cell for group in cells for cell in group)])
    return "\n".join(_table(heads, rows))


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True))]
        )
        for row in (head, *rows)
    ]
